"""Metrics of models that predict one number: predicted and reference values, float [N]."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, mean_of
from verify.metrics.undefined import UndefinedScoreError, defined
from verify.types import Score

Floats = NDArray[np.float64]


def _correlation(metric: str, function: str, predicted: Floats, reference: Floats) -> Score:
    from scipy import stats

    n = len(reference)
    if n < 2:
        raise UndefinedScoreError(f"{metric} is undefined: a correlation needs two examples, and there is {n}.")
    for name, values in (("predictions", predicted), ("references", reference)):
        if np.ptp(values) == 0:
            raise UndefinedScoreError(f"{metric} is undefined: all {n} {name} are {values[0]:g}.")
    with warnings.catch_warnings():
        warnings.simplefilter("error", stats.DegenerateDataWarning)
        try:
            result: Any = getattr(stats, function)(predicted, reference)
        except stats.DegenerateDataWarning as warning:
            raise UndefinedScoreError(f"{metric} is undefined: the values hardly vary ({warning}).") from None
    return defined(metric, float(result.statistic), n)


def pearson(predicted: Floats, reference: Floats, name: str = "pearson") -> Score:
    """Return Pearson's correlation, in -1..1 (``scipy.stats.pearsonr``).

    ``name`` is for messages.

    Raises:
        UndefinedScoreError: if there are fewer than two examples, or one side is constant.
    """
    return _correlation(name, "pearsonr", predicted, reference)


def spearman(predicted: Floats, reference: Floats, name: str = "spearman") -> Score:
    """Return Spearman's rank correlation, ties at their mean rank, in -1..1 (``scipy.stats.spearmanr``).

    ``name`` is for messages.

    Raises:
        UndefinedScoreError: if there are fewer than two examples, or one side is constant.
    """
    return _correlation(name, "spearmanr", predicted, reference)


def mse(predicted: Floats, reference: Floats) -> Score:
    """Return the mean squared error, in squared units of the reference."""
    with np.errstate(over="ignore"):  # an overflow is reported as an undefined score
        return defined("mse", float(np.mean((predicted - reference) ** 2)), len(reference))


def mae(predicted: Floats, reference: Floats) -> Score:
    """Return the mean absolute error, in units of the reference."""
    return defined("mae", float(np.mean(np.abs(predicted - reference))), len(reference))


def loss(predicted: Floats, reference: Floats) -> Score:
    """Return the mean squared error, which is the loss that the Trainer reports for a single output."""
    return defined("loss", mse(predicted, reference).value, len(reference))


REGRESSION_METRICS: Mapping[str, Callable[[Floats, Floats], Score]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mse": mse,
    "mae": mae,
    "loss": loss,
}


def additive(predicted: Floats, reference: Floats) -> dict[str, Additive]:
    """Return the metrics that are a function of sums over examples: all but spearman.

    The values are those of :data:`REGRESSION_METRICS` but for the last bits.
    """
    squares = mean_of((predicted - reference) ** 2)
    return {
        "pearson": moments(predicted, reference),
        "mse": squares,
        "mae": mean_of(np.abs(predicted - reference)),
        "loss": squares,
    }


def moments(predicted: Floats, reference: Floats) -> Additive:
    """Return Pearson's correlation as a function of sums; NaN where one side is constant."""
    sides = [(values - values.mean()) / (values.std() or 1.0) for values in (predicted, reference)]
    one, other = sides
    return Additive(np.stack([np.ones(len(one)), one, other, one * one, other * other, one * other], 1), _correlated)


_CONSTANT = 1e-12
"""The variance, as a share of that of all examples, below which only rounding is left."""


def _correlated(sums: Floats) -> Floats:
    n, one, other, one_squared, other_squared, product = np.moveaxis(sums, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = one_squared / n - (one / n) ** 2
        other_spread = other_squared / n - (other / n) ** 2
        correlation = (product / n - one / n * (other / n)) / np.sqrt(spread * other_spread)
        return np.where((spread > _CONSTANT) & (other_spread > _CONSTANT), correlation, np.nan)
