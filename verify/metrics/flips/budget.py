"""The flip budget: how far a score may move between two sound configurations of the same run.

Batch size, padding, kernels and dtype change the last bits of the logits. A predicted label flips only where two
classes are nearly tied, and such a flip is as likely to help as to hurt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import EngineError
from verify.metrics.additive import Additive, effect_of_one
from verify.metrics.additive import measure as measure_sums
from verify.metrics.families.answers import BestThreshold
from verify.metrics.families.classification import LABEL_METRICS, ClassCounts, class_counts, column_labels
from verify.metrics.flips.rate import allowed_flips
from verify.metrics.flips.weighted import of_threshold
from verify.metrics.names import METRICS
from verify.metrics.registry import Applied, applicable, measure
from verify.store.predictions import (
    AnswerPredictions,
    LabelPredictions,
    LabelSetPredictions,
    Predictions,
    TagPredictions,
    TextPredictions,
    subset,
    with_rows,
)
from verify.types import Score, Setting

NEAR_TIES = 50
"""The number of smallest-margin examples from which the effect of one flip is estimated."""

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


def top_two(logits: NDArray[np.float32]) -> tuple[Indices, Indices, NDArray[np.float32]]:
    """Return the columns of the largest and second largest logit and the margin between them, each [N].

    The first column wins a tie. With a single column both are column 0 and the margin is infinite.
    """
    rows, first = np.arange(len(logits)), logits.argmax(axis=1)
    if logits.shape[1] < 2:
        return first, first, np.full(len(logits), np.inf, np.float32)
    others = logits.copy()
    others[rows, first] = -np.inf
    second = others.argmax(axis=1)
    return first, second, logits[rows, first] - logits[rows, second]


def flip_budget(
    predictions: Predictions,
    probe: Predictions,
    scores: Mapping[str, Score],
    settings: Mapping[str, Setting] | None = None,
    applied: Applied | None = None,
) -> tuple[dict[str, float], int]:
    """Return the budget of each score (in the score's own unit), and the number F of predictions the probe changed.

    ``probe`` holds m of the run's N examples, run a second time in another configuration: where predictions are
    decisions those with the smallest margin, for numbers (a regression, similarities, likelihoods) a random share.

    *Decisions.* Having seen F flips, :func:`verify.metrics.flips.rate.allowed_flips` are allowed in one direction, of s
    each: the root mean square of the change in the metric when one example's prediction changes, over the ``NEAR_TIES``
    smallest margins: to its runner-up where that is known (classes), else to the average example
    (:func:`verify.metrics.additive.effect_of_one`), else by leaving the example out. For top5_accuracy the near ties
    are those of fifth and sixth place; the probe is not aimed at them, so all examples count as flipped whose margin
    there is within the largest change of a margin that the probe showed.

    *Values.* Every metric is also measured with the probed rows replaced by the probe's. Twice the change, scaled by
    sqrt(N / m) from the probed rows to all, is the budget of real-valued metrics, and ``FLOAT_NOISE`` at least. For
    decisions the probe already holds every row that can flip, so the change itself is taken, where it is larger. A
    correlation that the replacement leaves undefined counts as 0.

    Without a probe (m = 0) F is 0, and real-valued metrics have no budget. Scores by other names than those known
    (those of foreign modules) get none. O(N·C) time for classes, whatever the number of metrics. ``applied`` is what
    :func:`verify.metrics.registry.applicable` gives for the run, where it is at hand.

    Raises:
        EngineError: if the probe holds an example that the run lacks, or another number of outputs.
    """
    rows = _rows(predictions, probe)
    wanted = [name for name in scores if name in METRICS]
    budgets = dict.fromkeys(wanted, 0.0)
    margins = predictions.margins()
    if applied is None:
        is_used = margins is not None and not isinstance(predictions, LabelPredictions)
        applied = applicable(predictions, settings or {}, wanted) if is_used else ({}, {})
    additive, others = applied
    if len(rows):
        # metrics of tags ask for nothing but the tags, and reading entities off all of them anew is costly
        is_same = isinstance(predictions, TagPredictions) and (decisions(predictions, rows) == decisions(probe)).all()
        again = scores if is_same else _again(predictions, rows, probe, settings or {}, wanted, additive)
        scale = 2 * math.sqrt(len(predictions) / len(rows))
        for name in wanted:
            change = abs((again[name].value if name in again else 0.0) - scores[name].value)
            is_decision = margins is not None and name not in VALUES
            budgets[name] = change if is_decision else max(scale * change, FLOAT_NOISE * abs(scores[name].value))
    if margins is None:
        return budgets, 0
    flips = int((decisions(predictions, rows) != decisions(probe)).sum()) if len(rows) else 0
    if isinstance(predictions, LabelPredictions):
        effects = _label_effects(predictions, column_labels(predictions.label_of_logit or ()), wanted)
    else:
        effects = _effects(predictions, margins, wanted, additive, others)
    for name, effect in effects.items():
        budgets[name] = max(budgets[name], allowed_flips(flips, len(predictions)) * effect)
    if isinstance(predictions, LabelPredictions) and isinstance(probe, LabelPredictions) and "top5_accuracy" in wanted:
        labels = column_labels(predictions.label_of_logit or ())
        budgets["top5_accuracy"] = max(budgets["top5_accuracy"], _top5_budget(predictions, probe, rows, labels))
    return budgets, flips


def draft_budget(
    predictions: Predictions,
    draft: Predictions,
    sample: Indices,
    scores: Mapping[str, Score],
    settings: Mapping[str, Setting] | None = None,
) -> dict[str, float]:
    """Return what low precision may add to the budget of each score (in the score's own unit), none where it adds 0.

    ``draft`` holds the same examples as the run, from a low-precision pass, and some of the run's rows were taken over
    from it because their decisions are certain. ``sample`` lists examples, a random choice, that are not. Low precision
    errs in one direction as easily as in two, so errors add up: each quarter of the sample shows how far its rows move
    a real-valued score, and twice the largest such change for each row is allowed for every row taken over. The places
    below the first, which top5_accuracy counts, are not certain either: they get the flips that the whole draft shows.
    """
    forms = LabelPredictions | LabelSetPredictions
    if not isinstance(predictions, forms) or not isinstance(draft, forms):
        return {}
    taken = int((predictions.logits == draft.logits).all(axis=1).sum())
    wanted = [name for name in scores if name in VALUES]
    budgets = dict.fromkeys(wanted, 0.0)
    for quarter in np.array_split(np.intersect1d(sample, predictions.example), _QUARTERS):
        if not len(quarter) or not wanted:
            continue
        rows = np.searchsorted(predictions.example, quarter)
        chosen = subset(draft, np.isin(draft.example, quarter))
        again, _ = measure(with_rows(predictions, rows, chosen), settings, only=wanted)
        for name in wanted:
            change = abs((again[name].value if name in again else 0.0) - scores[name].value)
            budgets[name] = max(budgets[name], 2 * change * taken / len(quarter))
    if isinstance(predictions, LabelPredictions) and "top5_accuracy" in scores and taken:
        budgets["top5_accuracy"] = flip_budget(predictions, draft, scores, settings)[0]["top5_accuracy"]
    return budgets


_QUARTERS = 4

FLOAT_NOISE = 1e-6
"""The least relative budget of a real-valued metric: a few roundings in float32, even if the probe shows none."""

VALUES = frozenset({"loss", "roc_auc_micro", "roc_auc_macro", "pr_auc"})
"""Metrics of classifiers that every bit of a logit moves."""

_LEFT_OUT = 20
"""The number of smallest-margin examples that are left out in turn for a metric that is no sum over examples."""


def decisions(predictions: Predictions, rows: Indices | None = None) -> NDArray[np.object_]:
    """What was predicted for each row (or the ``rows`` given), in a form in which equal means not flipped, [N]."""
    found: list[Any]
    if isinstance(predictions, LabelPredictions):
        found = list(column_labels(predictions.label_of_logit or ())[predictions.logits.argmax(axis=1)])
    elif isinstance(predictions, LabelSetPredictions):
        found = [row.tobytes() for row in predictions.predicted()]
    elif isinstance(predictions, TagPredictions):
        found = ["\0".join(row) for row in predictions.tags]
    elif isinstance(predictions, AnswerPredictions | TextPredictions):
        found = list(predictions.texts)
    else:
        raise TypeError(f"{type(predictions).__name__} holds numbers and no decisions")
    chosen = np.array(found, dtype=object)
    return chosen if rows is None else chosen[rows]


def _again(
    predictions: Predictions,
    rows: Indices,
    probe: Predictions,
    settings: Mapping[str, Setting],
    wanted: list[str],
    additive: Mapping[str, Additive],
) -> dict[str, Score]:
    """The scores with ``rows`` replaced by the probe's; ``additive`` are the metrics of the run that are sums."""
    if not isinstance(predictions, TextPredictions):
        return measure(with_rows(predictions, rows, probe), settings, only=wanted)[0]
    # The statistics of a text depend on nothing but the text and its references, and are costly.
    probed, _ = applicable(probe, settings, wanted)
    replaced = {}
    for name in wanted:
        statistics = additive[name].statistics.copy()
        statistics[rows] = probed[name].statistics
        replaced[name] = replace(additive[name], statistics=statistics)
    return measure_sums(replaced)[0]


def _effects(
    predictions: Predictions,
    margins: Floats,
    wanted: list[str],
    additive: Mapping[str, Additive],
    others: Mapping[str, object],
) -> dict[str, float]:
    """Return s for each metric of decisions among ``wanted``: the root mean square change for one flip."""
    nearest = np.argsort(margins, kind="stable")
    effects = {
        name: effect_of_one(additive[name], nearest[:NEAR_TIES])
        for name in wanted
        if name in additive and name not in VALUES
    }
    n = len(predictions)
    for name in wanted:
        other = others.get(name)
        if isinstance(other, BestThreshold) and n > 1:
            left = nearest[:_LEFT_OUT]
            weights = np.ones((len(left) + 1, n))
            weights[np.arange(len(left)), left] = 0
            *without, whole = of_threshold(other).scores(weights)
            effects[name] = _root_mean_square(np.array(without) - whole)
    return effects


def _rows(predictions: Predictions, probe: Predictions) -> Indices:
    if isinstance(predictions, LabelPredictions) and isinstance(probe, LabelPredictions):
        outputs = (predictions.logits.shape[1:], predictions.label_of_logit)
        if len(probe) and outputs != (probe.logits.shape[1:], probe.label_of_logit):
            raise EngineError("The second run of the probed examples has other outputs than the run. Run both again.")
    rows = np.searchsorted(predictions.example, probe.example)
    known = predictions.example[rows.clip(max=len(predictions.example) - 1)] == probe.example
    if not known.all():
        raise EngineError(
            f"{int((~known).sum())} of {len(rows)} probed examples are not part of the run, so their flips say nothing "
            "about it. Run both again."
        )
    return rows


def _label_effects(predictions: LabelPredictions, labels: Indices, metrics: list[str]) -> dict[str, float]:
    """Return s for each label metric among ``metrics``: root mean square change for one flip to the runner-up."""
    first, second, margin = top_two(predictions.logits)
    nearest = np.argsort(margin, kind="stable")[:NEAR_TIES]
    reference = predictions.reference.astype(np.int64)
    counts = class_counts(labels[first], reference, also=labels)

    each = np.arange(len(nearest))
    old = np.searchsorted(counts.labels, labels[first[nearest]])
    new = np.searchsorted(counts.labels, labels[second[nearest]])
    truth = np.searchsorted(counts.labels, reference[nearest])
    hits, predicted = np.tile(counts.hits, (len(each), 1)), np.tile(counts.predicted, (len(each), 1))
    predicted[each, old] -= 1
    predicted[each, new] += 1
    hits[each, old] -= old == truth
    hits[each, new] += new == truth
    flipped = ClassCounts(counts.labels, hits, predicted, np.tile(counts.actual, (len(each), 1)))
    return {
        name: _root_mean_square(LABEL_METRICS[name](flipped) - LABEL_METRICS[name](counts))
        for name in metrics
        if name in LABEL_METRICS
    }


def _top5_budget(predictions: LabelPredictions, probe: LabelPredictions, rows: Indices, labels: Indices) -> float:
    logits, n = predictions.logits, len(predictions.example)
    six = np.argpartition(logits, -6, axis=1)[:, -6:]
    order = np.take_along_axis(logits, six, axis=1).argsort(axis=1)
    sixth, fifth = (np.take_along_axis(six, order[:, place : place + 1], axis=1)[:, 0] for place in (0, 1))
    each = np.arange(n)
    margin = logits[each, fifth] - logits[each, sixth]
    nearest = np.argsort(margin, kind="stable")[:NEAR_TIES]
    reference = predictions.reference[nearest]
    change = (labels[sixth[nearest]] == reference).astype(np.float64) - (labels[fifth[nearest]] == reference)

    near = 0
    if len(rows):
        largest_change = np.ptp(probe.logits - logits[rows], axis=1).max()
        near = int((margin <= largest_change).sum())
    return allowed_flips(near, n) * _root_mean_square(change) / n


def _root_mean_square(changes: Floats) -> float:
    return float(np.sqrt(np.mean(changes**2)))
