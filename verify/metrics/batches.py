"""The mean over batches of a score: what a loop reports that scores each batch and averages.

Of a mean over examples it is nearly the same number, since only the last batch is smaller. Of a ratio, such as F1 or a
word error rate, it is another number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats
from verify.metrics.families.classification import LABEL_METRICS, ClassCounts, predicted_labels
from verify.metrics.families.embedding import SIMILARITIES
from verify.metrics.families.regression import moments
from verify.store.predictions import LabelPredictions, Predictions, SimilarityPredictions

Labels = NDArray[np.int64]

_CELLS = 1 << 20  # counts of batches and classes held at a time


def means_over_batches(
    predictions: Predictions, additive: Mapping[str, Additive], names: Collection[str], size: int
) -> dict[str, float]:
    """Return the mean over batches of ``size`` consecutive rows of each score among ``names`` (a fraction, or raw).

    ``additive`` holds those that are sums over examples. A score that some batch has no value of is left out, as are
    those that only a whole run has (an area under a curve, the best threshold).
    """
    found = {name: _mean(metric, size) for name, metric in additive.items() if name in names}
    others = [name for name in names if name not in found]
    for name, (one, other) in _ranked(predictions, others).items():
        found[name] = _mean(moments(_ranks(one, size), _ranks(other, size)), size)
    if isinstance(predictions, LabelPredictions) and predictions.label_of_logit is not None:
        labelled = {name: LABEL_METRICS[name] for name in others if name in LABEL_METRICS}
        predicted = predicted_labels(predictions.logits, predictions.label_of_logit)
        found |= _of_classes(predicted, predictions.reference.astype(np.int64), labelled, size)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _mean(metric: Additive, size: int) -> float:
    sums = np.add.reduceat(metric.statistics, np.arange(0, len(metric.statistics), size), axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(metric.value(sums).mean())


def _ranked(predictions: Predictions, names: Collection[str]) -> dict[str, tuple[Floats, Floats]]:
    """The two sides of each rank correlation among ``names``."""
    if isinstance(predictions, SimilarityPredictions):
        sides = {f"{prefix}spearman": predictions.similarity[:, column] for prefix, column in SIMILARITIES.items()}
        return {name: (values, predictions.reference) for name, values in sides.items() if name in names}
    if isinstance(predictions, LabelPredictions) and predictions.is_regression and "spearman" in names:
        return {"spearman": (predictions.logits[:, 0].astype(np.float64), predictions.reference.astype(np.float64))}
    return {}


def _ranks(values: Floats, size: int) -> Floats:
    """The rank of each value within its batch, ties at their mean rank."""
    from scipy.stats import rankdata

    whole = len(values) - len(values) % size
    parts = [rankdata(values[:whole].reshape(-1, size), axis=1).reshape(-1), rankdata(values[whole:])]
    return np.concatenate(parts)


def _of_classes(
    predicted: Labels, reference: Labels, metrics: Mapping[str, Callable[[ClassCounts], Floats]], size: int
) -> dict[str, float]:
    if not metrics:
        return {}
    labels, index = np.unique(np.concatenate([predicted, reference]), return_inverse=True)
    of_prediction, of_reference = index[: len(predicted)], index[len(predicted) :]
    values: dict[str, list[Floats]] = {name: [] for name in metrics}
    rows = size * max(1, _CELLS // len(labels))
    for start in range(0, len(predicted), rows):
        block = slice(start, start + rows)
        counts = _counts(labels, of_prediction[block], of_reference[block], size)
        for name, metric in metrics.items():
            values[name].append(metric(counts))
    return {name: float(np.concatenate(parts).mean()) for name, parts in values.items()}


def _counts(labels: Labels, predicted: Labels, actual: Labels, size: int) -> ClassCounts:
    """Counts [B, K] of each batch, from places in ``labels``."""
    shape = (-(-len(predicted) // size), len(labels))
    cells = np.arange(len(predicted)) // size * len(labels)
    right = predicted == actual
    hits, of_predicted, of_actual = (
        np.bincount(chosen, minlength=shape[0] * shape[1]).reshape(shape)
        for chosen in ((cells + actual)[right], cells + predicted, cells + actual)
    )
    return ClassCounts(labels, hits, of_predicted, of_actual)
