"""Causes that lie in which class a number stands for: another order, classes that the data lack, classes merged.

A wrong label order is the largest error seen in the wild: transformers#5141 took bart-large-mnli from 0.35 to 0.90.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import cast

import numpy as np
from numpy.typing import NDArray

from verify.judging.cases import Case, Trial, each_reading, standard_reading
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.families.classification import LABEL_METRICS, ClassCounts, column_labels, predicted_labels
from verify.metrics.registry import measure
from verify.store.predictions import Family, LabelPredictions

Integers = NDArray[np.int64]

FEW = 5
"""The number of classes up to which every order is tried."""


@dataclass(frozen=True)
class _Confusion:
    """``counts`` int64 [L, L] of reference × prediction over ``labels`` [L], of which ``known`` are the data's."""

    labels: Integers
    counts: Integers

    @classmethod
    def of(cls, predictions: LabelPredictions) -> _Confusion:
        predicted = predicted_labels(predictions.logits, _mapping(predictions))
        reference = predictions.reference.astype(np.int64)
        labels = np.unique(np.concatenate([reference, column_labels(_mapping(predictions))]))
        cells = np.searchsorted(labels, reference) * len(labels) + np.searchsorted(labels, predicted)
        return cls(labels, np.bincount(cells, minlength=len(labels) ** 2).reshape(len(labels), len(labels)))

    @property
    def known(self) -> Integers:
        """Places of the classes that the data have."""
        return np.flatnonzero(self.labels >= 0)

    def counted_as(self, sources: Integers) -> ClassCounts:
        """The counts if predictions of the class at place ``sources[…, k]`` counted as that at place k [..., L]."""
        actual = np.broadcast_to(self.counts.sum(axis=1), sources.shape)
        return ClassCounts(
            self.labels, self.counts[np.arange(len(self.labels)), sources], self.counts.sum(axis=0)[sources], actual
        )

    def merged(self, first: int, second: int) -> ClassCounts:
        """The counts if the classes at two places were one, in predictions and references."""
        joined = self.counts.copy()
        joined[first] += joined[second]
        joined[:, first] += joined[:, second]
        kept = np.delete(np.delete(joined, second, axis=0), second, axis=1)
        labels = np.delete(self.labels, second)
        return ClassCounts(labels, kept.diagonal(), kept.sum(axis=0), kept.sum(axis=1))


def _by_number(case: Case) -> Iterator[Trial]:
    """The author may have compared the place of the largest logit with the data's label ids, whatever the names."""
    predictions = _predictions(case)
    classes = 1 + max(*_mapping(predictions), int(predictions.reference.max()))
    numbers = tuple(column if column < classes else -1 for column in range(len(_mapping(predictions))))
    if numbers != _mapping(predictions):
        words = ", ".join(
            f"output {column} is {_name(case, number)}"
            for column, number in list(enumerate(numbers))[:FEW]
            if number >= 0
        )
        yield from _read_as(case, numbers, words + (" …" if len(numbers) > FEW else ""), "class_numbers")


def _orders(case: Case) -> Iterator[Trial]:
    confusion = _Confusion.of(_predictions(case))
    classes = len(confusion.known)
    return _every_order(case, confusion) if classes <= FEW else _likely_orders(case, confusion)


def _every_order(case: Case, confusion: _Confusion) -> Iterator[Trial]:
    """All K! orders in one pass over the confusion matrix; orders that give the same numbers are one trial."""
    known = confusion.known
    orders = np.array(list(permutations(range(len(known))))[1:], np.int64).reshape(-1, len(known))
    sources = np.tile(np.arange(len(confusion.labels)), (len(orders), 1))
    sources[:, known] = known[orders]
    counts = confusion.counted_as(sources)
    values = {name: LABEL_METRICS[name](counts) for name in _label_metrics(case)}
    if "loss" in case.measurement.scores and any(claim.metric == "loss" for claim in case.claims):
        values["loss"] = _losses(case, confusion.labels, sources)
    seen: set[tuple[float, ...]] = set()
    for number, order in enumerate(orders.tolist()):
        for trial in _trials(case, {name: float(of[number]) for name, of in values.items()}, "", "label_order"):
            key = tuple(round(value, 9) for value in trial.values.values())
            if key not in seen:
                seen.add(key)
                names = [_name(case, int(confusion.labels[place])) for place in known]
                yield replace(trial, setting=_cycles(names, order) + trial.setting)


def _losses(case: Case, labels: Integers, sources: Integers) -> NDArray[np.float64]:
    """The mean cross-entropy of each order [B, L]: only the logit of each reference changes, not their normaliser."""
    predictions = _predictions(case)
    columns = column_labels(_mapping(predictions))
    column_of = {int(label): column for column, label in enumerate(columns)}
    changes = np.zeros(len(sources))
    for place in np.flatnonzero(labels >= 0):
        logits = predictions.logits[predictions.reference == labels[place]].sum(axis=0, dtype=np.float64)
        own = np.array([logits[column_of[int(label)]] for label in labels])
        changes += own[place] - own[sources[:, place]]
    return case.measurement.scores["loss"].value + changes / len(predictions)


def _likely_orders(case: Case, confusion: _Confusion) -> Iterator[Trial]:
    """Of more classes than can be tried in every order: the orders that mistakes lead to, and the best assignment.

    The best assignment fits itself to the data, so of classes that a model merely confuses it makes a score slightly
    better than the one measured. It is tried only where it halves the number of wrong predictions.
    """
    from scipy.optimize import linear_sum_assignment

    labels = confusion.labels[confusion.known].tolist()
    size = len(labels)
    agreeing = confusion.counts[np.ix_(confusion.known, confusion.known)].T
    places, best = linear_sum_assignment(-agreeing)
    errors, errors_left = (agreeing.sum() - agreeing[places, order].sum() for order in (places, best))
    if 2 * errors_left > errors:
        best = places
    as_text = sorted(range(size), key=str)
    by_name = sorted(range(size), key=lambda place: _name(case, labels[place]))
    orders: Mapping[str, Sequence[int | None]] = {
        "the order in which they agree best with the data": best.tolist(),
        "reversed": list(range(size))[::-1],
        "numbered from 1 and not from 0": [*range(1, size), None],
        "numbered from 0 and not from 1": [None, *range(size - 1)],
        "numbers sorted as text (0, 1, 10, 11, … 2)": as_text,
        "sorted by name": by_name,
    }
    mapping, seen = _mapping(_predictions(case)), {_mapping(_predictions(case))}
    for words, order in orders.items():
        moved = {labels[place]: -1 if to is None else labels[to] for place, to in enumerate(order)}
        numbers = tuple(moved.get(label, -1) for label in mapping)
        if numbers not in seen:
            seen.add(numbers)
            yield from _read_as(case, numbers, words, "label_order")


def _known_only(case: Case) -> Iterator[Trial]:
    """The author may have looked at the logits of the data's own classes alone."""
    predictions = _predictions(case)
    kept = np.flatnonzero(np.asarray(_mapping(predictions)) >= 0)
    if 2 <= len(kept) < len(_mapping(predictions)):
        numbers = tuple(_mapping(predictions)[column] for column in kept)
        chosen = replace(predictions, logits=predictions.logits[:, kept], label_of_logit=numbers)
        yield from _scored(case, chosen, f"the choice is among {_listed(case, numbers)}", "known_classes_only")


def _absent_as_known(case: Case) -> Iterator[Trial]:
    """Three-way inference models on two-way data: neutral and contradiction both count as "not entailment"."""
    mapping = _mapping(_predictions(case))
    known = sorted({label for label in mapping if label >= 0})
    if len(known) == 2 and -1 in mapping:
        for label in known:
            numbers = tuple(label if number < 0 else number for number in mapping)
            yield from _read_as(case, numbers, _name(case, label), "absent_classes_counted")


def _merged(case: Case) -> Iterator[Trial]:
    """Of three classes two may have counted as one: entailment or not, positive or not."""
    confusion = _Confusion.of(_predictions(case))
    if len(confusion.known) != 3:
        return
    for first, second in combinations(confusion.known.tolist(), 2):
        counts = confusion.merged(first, second)
        names = _listed(case, [int(confusion.labels[place]) for place in (first, second)])
        values = {
            name: float(LABEL_METRICS[name](counts)) for name in _label_metrics(case) if not name.endswith("_binary")
        }
        yield from _trials(case, values, names, "classes_merged")


def _read_as(case: Case, numbers: tuple[int, ...], words: str, hypothesis: str) -> Iterator[Trial]:
    yield from _scored(case, replace(_predictions(case), label_of_logit=numbers), words, hypothesis)


def _scored(case: Case, predictions: LabelPredictions, words: str, hypothesis: str) -> Iterator[Trial]:
    scores, _ = measure(predictions, case.settings, only=_metrics(case))
    yield from _trials(case, {name: score.value for name, score in scores.items()}, words, hypothesis)


def _trials(case: Case, scores: Mapping[str, float], words: str, hypothesis: str) -> Iterator[Trial]:
    for average, values in each_reading(case, scores):
        yield Trial(hypothesis, words + (f", averaged {average}" if average else ""), values)


def _metrics(case: Case) -> set[str]:
    """The metrics that the claims of the case can mean."""
    measured = case.measurement.scores
    averages = {name for name in measured if name.partition("_")[0] in ("f1", "precision", "recall")}
    return averages | {name for claim in case.claims if (name := standard_reading(claim.metric, measured))}


def _label_metrics(case: Case) -> list[str]:
    return sorted(_metrics(case) & LABEL_METRICS.keys())


def _predictions(case: Case) -> LabelPredictions:
    return cast(LabelPredictions, case.predictions)


def _mapping(predictions: LabelPredictions) -> tuple[int, ...]:
    return cast("tuple[int, ...]", predictions.label_of_logit)


def _name(case: Case, label: int) -> str:
    names = case.task.labels or case.measurement.provenance.get("data_labels") or ()
    return str(names[label]) if 0 <= label < len(names) else f"class {label}"


def _listed(case: Case, labels: Iterable[int]) -> str:
    return " and ".join(_name(case, label) for label in labels)


def _cycles(names: Sequence[str], order: Sequence[int]) -> str:
    """A permutation in words: ``order[k]`` is the class whose predictions count as class k."""
    parts, done = [], set()
    for start, source in enumerate(order):
        if start in done or source == start:
            continue
        cycle = [start]
        while order[cycle[-1]] != start:
            cycle.append(order[cycle[-1]])
        done.update(cycle)
        if len(cycle) == 2:
            parts.append(f"{names[cycle[0]]} and {names[cycle[1]]} exchanged")
        else:
            parts.append(
                ", ".join(
                    f"{names[one]} read as {names[as_]}" for one, as_ in zip(cycle[1:] + cycle[:1], cycle, strict=True)
                )
            )
    return "; ".join(parts)


_FAMILIES = frozenset({Family.CLASSIFICATION})

HYPOTHESES = (
    Hypothesis(
        "class_numbers",
        "the model's outputs are taken for the data's classes by number, whatever their names ({setting})",
        _FAMILIES,
        _by_number,
        weight=3.0,
    ),
    Hypothesis(
        "label_order", "the classes of model and data are in another order ({setting})", _FAMILIES, _orders, weight=2.0
    ),
    Hypothesis(
        "known_classes_only",
        "the model may only choose a class that the data have ({setting})",
        _FAMILIES,
        _known_only,
        weight=2.0,
    ),
    Hypothesis(
        "absent_classes_counted",
        "a prediction of a class that the data lack counts as {setting}",
        _FAMILIES,
        _absent_as_known,
        weight=2.0,
    ),
    Hypothesis("classes_merged", "two classes count as one ({setting})", _FAMILIES, _merged, weight=0.5),
)
"""The hypotheses on classes, the most common first."""
