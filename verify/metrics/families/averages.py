"""Precision, recall and F1 where an example holds any number of items of several classes: entities, labels, words.

All of them follow from three counts for each example and class: ``counts`` float64 [N, 3, K] holds how many items of
the class are right, are predicted, and are there. A ratio without a denominator is 0 (``zero_division=0`` in
scikit-learn, the default of seqeval). Scores are fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats, ratio_or_zero

Integers = NDArray[np.int64]


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(above.shape), where=below != 0)


def precision(right: Floats, predicted: Floats, actual: Floats) -> Floats:
    """Right items per predicted item, elementwise."""
    return _ratio(right, predicted)


def recall(right: Floats, predicted: Floats, actual: Floats) -> Floats:
    """Right items per item that is there, elementwise."""
    return _ratio(right, actual)


def f1(right: Floats, predicted: Floats, actual: Floats) -> Floats:
    """The harmonic mean of precision and recall, elementwise."""
    return _ratio(2 * right, predicted + actual)


RATIOS: Mapping[str, Callable[[Floats, Floats, Floats], Floats]] = {"f1": f1, "precision": precision, "recall": recall}


def counted(examples: Sequence[int] | Integers, classes: Sequence[int] | Integers, shape: tuple[int, int]) -> Floats:
    """Return how often each pair of example and class occurs, [N, K] = ``shape``."""
    n, size = shape
    cells = np.asarray(examples, np.int64) * size + np.asarray(classes, np.int64)
    return np.bincount(cells, minlength=n * size).reshape(shape).astype(np.float64)


def averaged(counts: Floats, average: str, suffix: str, every_class: bool = False) -> dict[str, Additive]:
    """Return F1, precision and recall, named ``f1`` + ``suffix`` …, under one average over classes.

    ``average`` is "micro" (counts summed over classes), "macro" (the mean over the classes that are predicted or there;
    over all, with ``every_class``; NaN if that is none) or "weighted" (the mean weighted by the items that are there; 0
    if there are none).
    """
    if average == "micro":
        right, predicted, actual = counts.sum(axis=2).T
        parts = {"f1": (2 * right, predicted + actual), "precision": (right, predicted), "recall": (right, actual)}
        return {name + suffix: Additive(np.stack(pair, axis=1), ratio_or_zero) for name, pair in parts.items()}
    statistics = counts.reshape(len(counts), 3 * counts.shape[2])
    return {
        name + suffix: Additive(statistics, partial(_average, ratio, average, every_class))
        for name, ratio in RATIOS.items()
    }


def _average(
    ratio: Callable[[Floats, Floats, Floats], Floats], average: str, every_class: bool, sums: Floats
) -> Floats:
    right, predicted, actual = np.moveaxis(sums.reshape(*sums.shape[:-1], 3, sums.shape[-1] // 3), -2, 0)
    ratios = ratio(right, predicted, actual)
    if average == "weighted":
        return _ratio((ratios * actual).sum(axis=-1), actual.sum(axis=-1))
    weight = np.ones(ratios.shape) if every_class else (predicted + actual > 0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((ratios * weight).sum(axis=-1) / weight.sum(axis=-1), dtype=np.float64)


def by_samples(counts: Floats) -> dict[str, Floats]:
    """Return each example's own F1, precision and recall over its items of all classes, [N] each."""
    right, predicted, actual = counts.sum(axis=2).T
    return {name: ratio(right, predicted, actual) for name, ratio in RATIOS.items()}
