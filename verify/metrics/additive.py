"""Metrics that are a function of sums over examples, which most are: accuracy, exact match, entity F1, BLEU, WER.

One such metric is a matrix of statistics, a row for each example, and the function that turns sums into the score. The
score, the effect of one changed prediction and an interval by resampling all follow from the matrix, without going
through the texts again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verify.metrics.undefined import UndefinedScoreError, defined
from verify.types import Score

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Additive:
    """``statistics`` float64 [N, K]; ``value`` maps sums [..., K] to scores [...] (a fraction, or a raw number).

    ``is_share`` marks a plain share: the two statistics are then hits and what is counted (1 for each example, or its
    words), and the score has an exact count. ``is_mean`` marks a mean of one value for each example: the second
    statistic is then 1 in every row, also in those not seen yet.
    """

    statistics: Floats
    value: Callable[[Floats], Floats]
    is_share: bool = False
    is_mean: bool = False

    @property
    def is_quotient(self) -> bool:
        """Whether the score is the sum of the first statistic divided by that of the second."""
        return self.value in (ratio, ratio_or_zero)

    def score(self, name: str) -> Score:
        """The score over all rows. Raises UndefinedScoreError where it is not a finite number."""
        total = self.statistics.sum(axis=0)
        if self.is_share:
            if total[1] == 0:
                raise UndefinedScoreError(f"{name} is undefined: there is nothing to count.")
            return defined(name, float(total[0] / total[1]), int(total[1]), int(total[0]))
        with np.errstate(divide="ignore", invalid="ignore"):
            return defined(name, float(self.value(total)), len(self.statistics))


def ratio(sums: Floats) -> Floats:
    """The first statistic's sum divided by the second's: a mean, or a rate such as WER. NaN without a denominator."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1], dtype=np.float64)


def ratio_or_zero(sums: Floats) -> Floats:
    """The same, but 0 without a denominator: ``zero_division=0`` in scikit-learn."""
    above, below = sums[..., 0], sums[..., 1]
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=below != 0)


def mean_of(values: Floats) -> Additive:
    """The mean of one value for each example [N]."""
    return Additive(np.stack([np.asarray(values, np.float64), np.ones(len(values))], axis=1), ratio, is_mean=True)


def share_of(hits: NDArray[np.bool_]) -> Additive:
    """The share of examples that are hits [N]."""
    statistics = np.stack([hits.astype(np.float64), np.ones(len(hits))], axis=1)
    return Additive(statistics, ratio, is_share=True, is_mean=True)


def measure(metrics: Mapping[str, Additive]) -> tuple[dict[str, Score], tuple[str, ...]]:
    """Every score that has a value, and a sentence for each that has none."""
    scores: dict[str, Score] = {}
    notes: list[str] = []
    for name, metric in metrics.items():
        try:
            scores[name] = metric.score(name)
        except UndefinedScoreError as undefined:
            notes.append(str(undefined))
    return scores, tuple(notes)


def effect_of_one(metric: Additive, rows: NDArray[np.int64]) -> float:
    """How far one changed prediction among ``rows`` moves the score: the root mean square, in the score's own unit.

    What a changed prediction would look like is not known, so each row is replaced by the average row (a jackknife): a
    row that scores as the average does moves nothing, and a hit or a miss moves a share by about 1/N.
    """
    total = metric.statistics.sum(axis=0)
    average = total / len(metric.statistics)
    with np.errstate(divide="ignore", invalid="ignore"):
        changed = metric.value(total - metric.statistics[rows] + average)
        moved = changed - metric.value(total)
    moved = moved[np.isfinite(moved)]
    return float(np.sqrt(np.mean(moved**2))) if len(moved) else 0.0
