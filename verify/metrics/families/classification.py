"""Metrics of single-label classifiers, computed from exact counts.

Every label metric here is a ratio of the diagonal and the margins of the confusion matrix, so :class:`ClassCounts` is
all that it needs. The counts may carry leading batch axes, which lets the flip budget move one example at a time
without counting again. The values equal scikit-learn's, which the tests hold them to; importing it would cost more time
than all the counting.

The class set is scikit-learn's default: every label that occurs in the reference or among the predictions. A ratio
without a denominator is 0 (``zero_division=0``). The positive label of the binary averages is label id 1.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, mean_of, ratio_or_zero, share_of
from verify.metrics.undefined import UndefinedScoreError, defined
from verify.types import Score

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

POSITIVE_LABEL = 1
AVERAGES = ("binary", "macro", "micro", "weighted")

_BLOCK = 1 << 20  # logits turned into float64 at a time, which bounds the memory of a 1,000-class model


def column_labels(label_of_logit: tuple[int, ...]) -> Labels:
    """Return the label that predicting each logit column stands for, int64 [C].

    A column whose class the data set lacks (-1) becomes -2 - column: below every label id, distinct for each column,
    and never the -1 that many data sets use for "no label". It therefore always counts as wrong, and as a class of its
    own wherever classes are averaged.
    """
    labels = np.asarray(label_of_logit, np.int64)
    absent = -2 - np.arange(len(labels), dtype=np.int64)
    return np.where(labels >= 0, labels, absent)


def predicted_labels(logits: NDArray[np.float32], label_of_logit: tuple[int, ...]) -> Labels:
    """Return the label of each row's largest logit, int64 [N]; the first column wins a tie, as in numpy and torch."""
    labels: Labels = column_labels(label_of_logit)[logits.argmax(axis=1)]
    return labels


@dataclass(frozen=True)
class ClassCounts:
    """The diagonal (``hits``) and the margins of a confusion matrix, int64 [..., K] over ``labels`` [K]."""

    labels: Labels
    hits: Labels
    predicted: Labels
    actual: Labels

    @property
    def n(self) -> int:
        return int(self.actual.sum(axis=-1).flat[0])


def class_counts(predicted: Labels, reference: Labels, also: Labels | None = None) -> ClassCounts:
    """Count label ids [N]; labels in ``also`` get a row of zeros where they do not occur, which changes no metric."""
    n = len(reference)
    extra = np.empty(0, np.int64) if also is None else also
    labels, index = np.unique(np.concatenate([predicted, reference, extra]), return_inverse=True)
    of_prediction, of_reference = index[:n], index[n : 2 * n]
    size = len(labels)
    return ClassCounts(
        labels,
        np.bincount(of_prediction[of_prediction == of_reference], minlength=size),
        np.bincount(of_prediction, minlength=size),
        np.bincount(of_reference, minlength=size),
    )


def _ratio(numerator: NDArray[np.generic], denominator: NDArray[np.generic]) -> Floats:
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


def _averaged(numerator: Labels, denominator: Labels, counts: ClassCounts, average: str) -> Floats:
    if average == "binary":
        positive = counts.labels == POSITIVE_LABEL
        return _ratio(numerator[..., positive].sum(-1), denominator[..., positive].sum(-1))
    if average == "micro":
        return _ratio(numerator.sum(-1), denominator.sum(-1))
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {average!r}")
    weight = counts.actual if average == "weighted" else (counts.predicted + counts.actual > 0).astype(np.int64)
    return _ratio((_ratio(numerator, denominator) * weight).sum(-1), weight.sum(-1))


def accuracy(counts: ClassCounts) -> Floats:
    """Return the share of examples whose predicted label is the reference, [...], a fraction."""
    return _ratio(counts.hits.sum(-1), counts.actual.sum(-1))


def precision(counts: ClassCounts, average: str) -> Floats:
    """Return hits per prediction of a class, averaged, [...], a fraction.

    ``average``: "binary" (label 1 alone), "macro" (classes weigh the same), "micro" (counts summed over all classes,
    which is the accuracy) or "weighted" (by the number of reference labels).
    """
    return _averaged(counts.hits, counts.predicted, counts, average)


def recall(counts: ClassCounts, average: str) -> Floats:
    """Return hits per reference label of a class, averaged as in :func:`precision`, [...], a fraction."""
    return _averaged(counts.hits, counts.actual, counts, average)


def f1(counts: ClassCounts, average: str) -> Floats:
    """Return 2·hits / (predictions + references) of a class, averaged as in :func:`precision`, [...], a fraction."""
    return _averaged(2 * counts.hits, counts.predicted + counts.actual, counts, average)


def matthews_correlation(counts: ClassCounts) -> Floats:
    """Return the multi-class Matthews correlation, [...], in -1..1.

    Gorodkin's R_K (Computational Biology and Chemistry 28, 2004). 0 where the predictions or the reference hold a
    single class: scikit-learn's convention, and so what cards print.
    """
    n = counts.actual.sum(-1)
    covariance = counts.hits.sum(-1) * n - (counts.predicted * counts.actual).sum(-1)
    spread_predicted = n**2 - (counts.predicted**2).sum(-1)
    spread_actual = n**2 - (counts.actual**2).sum(-1)
    # Two roots, not the root of the product: the product of two squares of n overflows int64 from n = 55,000 on.
    return _ratio(covariance, np.sqrt(spread_predicted) * np.sqrt(spread_actual))


LABEL_METRICS: Mapping[str, Callable[[ClassCounts], Floats]] = {
    "accuracy": accuracy,
    **{f"f1_{average}": partial(f1, average=average) for average in AVERAGES},
    **{f"precision_{average}": partial(precision, average=average) for average in AVERAGES},
    **{f"recall_{average}": partial(recall, average=average) for average in AVERAGES},
    "matthews_correlation": matthews_correlation,
}
"""The metrics that depend on predicted labels alone, by canonical name."""

_BINARY = frozenset({"f1_binary", "precision_binary", "recall_binary"})
_HITS_PER_EXAMPLE = frozenset({"accuracy", "f1_micro", "precision_micro", "recall_micro"})


def label_score(metric: str, counts: ClassCounts) -> Score:
    """Return one label metric of one run, with the exact count of hits where the metric is hits per example."""
    count = int(counts.hits.sum()) if metric in _HITS_PER_EXAMPLE else None
    return defined(metric, float(LABEL_METRICS[metric](counts)), counts.n, count)


def _reference_columns(logits: NDArray[np.float32], labels: Labels, reference: Labels) -> Labels:
    """Return the column of each row's reference: -1 where there is none, the one with the larger logit of several."""
    known, first = np.unique(labels, return_index=True)
    place = np.searchsorted(known, reference).clip(max=len(known) - 1)
    columns = np.where(known[place] == reference, first[place], -1)
    rows = np.arange(len(reference))
    for column in sorted(set(range(len(labels))) - set(first.tolist())):
        larger = (labels[column] == reference) & (logits[:, column] > logits[rows, columns])
        columns = np.where(larger, column, columns)
    return columns


def top5_hits(logits: NDArray[np.float32], label_of_logit: tuple[int, ...], reference: Labels) -> NDArray[np.bool_]:
    """Return whether each row's reference is among its five largest logits, [N].

    Columns with equal logits rank by column number, so that first place is always the predicted label (libraries
    differ here: scikit-learn ranks later columns first, and ``torch.topk`` promises no order). A reference that no
    column stands for is a miss.
    """
    columns = _reference_columns(logits, column_labels(label_of_logit), reference)
    own = logits[np.arange(len(reference)), columns][:, None]
    earlier = np.arange(logits.shape[1]) < columns[:, None]
    rank = (logits > own).sum(axis=1) + ((logits == own) & earlier).sum(axis=1)
    hits: NDArray[np.bool_] = (rank < 5) & (columns >= 0)
    return hits


def top5_accuracy(logits: NDArray[np.float32], label_of_logit: tuple[int, ...], reference: Labels) -> Score:
    """Return the share of :func:`top5_hits`, a fraction with its exact count."""
    hits = int(top5_hits(logits, label_of_logit, reference).sum())
    return defined("top5_accuracy", hits / len(reference), len(reference), hits)


def losses(logits: NDArray[np.float32], label_of_logit: tuple[int, ...], reference: Labels) -> Floats:
    """Return each row's cross-entropy in nats, over all of the model's classes, [N].

    Raises:
        UndefinedScoreError: if a reference has no logit, or two logits stand for the same class.
    """
    return np.concatenate(list(_blocks_of_losses(logits, label_of_logit, reference)))


def loss(logits: NDArray[np.float32], label_of_logit: tuple[int, ...], reference: Labels) -> Score:
    """Return the mean of :func:`losses`: what the Trainer reports as the loss. Raises as they do."""
    total = 0.0
    for block in _blocks_of_losses(logits, label_of_logit, reference):
        total += float(block.sum())
    return defined("loss", total / len(reference), len(reference))


def _blocks_of_losses(
    logits: NDArray[np.float32], label_of_logit: tuple[int, ...], reference: Labels
) -> Iterator[Floats]:
    known = [label for label in label_of_logit if label >= 0]
    if len(set(known)) < len(known):
        raise UndefinedScoreError("loss is undefined: several of the model's classes stand for the same label.")
    columns = _reference_columns(logits, column_labels(label_of_logit), reference)
    if (columns < 0).any():
        missing = ", ".join(str(label) for label in np.unique(reference[columns < 0])[:5])
        raise UndefinedScoreError(
            f"loss is undefined: {int((columns < 0).sum())} of {len(reference)} examples have a label that the model "
            f"has no class for (label ids {missing})."
        )
    step = max(1, _BLOCK // logits.shape[1])
    for start in range(0, len(reference), step):
        block = logits[start : start + step].astype(np.float64)
        block -= block.max(axis=1, keepdims=True)
        own = block[np.arange(len(block)), columns[start : start + step]]
        yield np.log(np.exp(block).sum(axis=1)) - own


def additive(
    logits: NDArray[np.float32],
    label_of_logit: tuple[int, ...],
    reference: Labels,
    only: Collection[str] | None = None,
) -> dict[str, Additive]:
    """Return the metrics that are a mean over examples, or those named in ``only``.

    They are the accuracy and the micro averages, which equal it; of more than five logits top5_accuracy; and the loss
    where it has a value. Where ``only`` names them, also the binary F1, precision and recall, which are quotients.
    """
    wanted = {*_HITS_PER_EXAMPLE, "top5_accuracy", "loss"} if only is None else set(only)
    found: dict[str, Additive] = {}
    if named := sorted(_HITS_PER_EXAMPLE & wanted):
        found |= dict.fromkeys(named, share_of(predicted_labels(logits, label_of_logit) == reference))
    if binary := sorted(_BINARY & wanted):
        predicted = predicted_labels(logits, label_of_logit) == POSITIVE_LABEL
        actual = reference == POSITIVE_LABEL
        right, both = 1.0 * (predicted & actual), 1.0 * predicted + actual
        parts = {"f1": (2 * right, both), "precision": (right, 1.0 * predicted), "recall": (right, 1.0 * actual)}
        pairs = {name: np.stack(parts[name.removesuffix("_binary")], axis=1) for name in binary}
        found |= {name: Additive(pair, ratio_or_zero) for name, pair in pairs.items()}
    if "top5_accuracy" in wanted and logits.shape[1] > 5:
        found["top5_accuracy"] = share_of(top5_hits(logits, label_of_logit, reference))
    if "loss" in wanted:
        with contextlib.suppress(UndefinedScoreError):
            found["loss"] = mean_of(losses(logits, label_of_logit, reference))
    return found
