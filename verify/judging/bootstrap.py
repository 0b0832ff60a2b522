"""Intervals for scores of any form, by the bootstrap: a resample is a vector of counts, never a list of examples.

The intervals are Efron's BCa, bias-corrected and accelerated ("Better bootstrap confidence intervals", Journal of the
American Statistical Association 82, 1987), in the form of Efron & Tibshirani, "An introduction to the bootstrap",
section 14.3, which is also scipy's. They suit scores that are no mean, and are skewed near their bounds as scores are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Floats
from verify.metrics.flips.weighted import Indices, Weighted, weighted
from verify.store.predictions import Predictions
from verify.types import Interval, Setting

LEVEL, REPETITIONS = 0.95, 2000

BLOCKS = 500
"""The most parts of a run that the jackknife leaves out in turn.

Leaving out parts of a random partition in place of single units changes the acceleration by a standard error of
√6 / (6 · BLOCKS) = 0.0008, which moves an end of a 95 % interval by less than 0.004 of its standard deviations.
"""

_DEFINED = 0.95
"""The least share of resamples in which the score must have a value."""

_CELLS = 1 << 19  # numbers held at a time: 4 MiB for each array, which stays in the cache
_FEW = 8  # examples for each kind of them, from which drawing counts is faster than drawing examples

_NORMAL = NormalDist()


def interval(
    predictions: Predictions,
    metric: str,
    settings: Mapping[str, Setting],
    *,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    seed: int = 0,
    clusters: NDArray[np.int64] | None = None,
    population: int | None = None,
) -> Interval | None:
    """The interval of one metric of one run, on the scale of its score (a fraction, or a raw number).

    Two questions have such an interval, and they must not be mixed up:

    *How would the model score on other data of the same kind?* (``population`` None.) The examples at hand count as a
    sample of endlessly many. A complete split has this interval too, but it is no excuse for a claim about that very
    split: the score on the split has no sampling error. ``clusters`` int64 [N] holds equal numbers for examples that
    came together (questions about one context, sentences of one document, recordings of one speaker): other data would
    bring other clusters, so clusters are what is drawn, and intervals are as much wider as examples of a cluster are
    alike.

    *How does the model score on the whole split, of which only these n examples were run?* (``population`` is the size
    N of the split.) The examples are a simple random sample without replacement, and both ends move towards the score
    by the finite-population correction √(1 − n/N): exact for the variance of a mean, of first order for other metrics.
    At n = N nothing is left to know, and both ends are the score. Examples were drawn one by one, so the clusters of
    the split make no difference, and ``clusters`` are not used.

    None where the metric is not measured on these predictions, where it has no value in more than one resample of
    twenty, and where no resample differs from the run (an accuracy of exactly 1): the bootstrap is blind there.

    Raises:
        ValueError: if the population is smaller than the run, ``clusters`` do not fit, or ``level`` is no fraction.
    """
    if population is not None and population < len(predictions):
        raise ValueError(f"{len(predictions)} examples cannot be a sample of {population}")
    if clusters is not None and len(clusters) != len(predictions):
        raise ValueError(f"{len(clusters)} clusters are given for {len(predictions)} examples")
    if len(predictions) == 0:
        return None
    form = weighted(predictions, metric, settings, clusters if population is None else None)
    if form is None:
        return None
    found = interval_of(form, level=level, repetitions=repetitions, seed=seed)
    if found is None or population is None:
        return found
    score = observed(form)
    left = math.sqrt(1 - len(predictions) / population)
    return Interval(score - left * (score - found.low), score + left * (found.high - score))


def interval_of(
    metric: Weighted, *, level: float = LEVEL, repetitions: int = REPETITIONS, seed: int = 0
) -> Interval | None:
    """The BCa interval of a metric whose units are drawn with replacement; the same for the same ``seed``.

    None where there is none (see :func:`interval`). Raises ValueError if ``level`` is no fraction between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, not at {level}")
    generator = np.random.default_rng(seed)
    scores = replicates(metric, repetitions, generator)
    return bca(observed(metric), scores, *left_out(metric, generator), level=level)


def observed(metric: Weighted) -> float:
    """The score of the run itself."""
    return float(metric.scores(metric.counts[None].astype(np.float64))[0])


def replicates(metric: Weighted, repetitions: int, generator: np.random.Generator) -> Floats:
    """The scores of so many resamples [repetitions], each of as many units as the run has."""
    return _scored(metric, _drawn(metric, repetitions, generator), repetitions)


def left_out(metric: Weighted, generator: np.random.Generator) -> tuple[Floats, Indices]:
    """The scores [J] of the run without one of its parts, and how many parts each of them stands for [J].

    A part is one unit of each kind, which stands for all units of its kind; of more than ``BLOCKS`` kinds it is one of
    so many random parts of the run, nearly equal in size.
    """
    kinds = len(metric.counts)
    if kinds <= BLOCKS:
        parts, times = np.eye(kinds, dtype=np.int64), metric.counts
    else:
        owner = generator.permutation(np.repeat(np.arange(kinds), metric.counts))
        block = np.arange(len(owner)) * BLOCKS // len(owner)
        parts = np.bincount(block * kinds + owner, minlength=BLOCKS * kinds).reshape(BLOCKS, kinds)
        times = np.ones(BLOCKS, np.int64)
    size = max(1, _CELLS // max(metric.cells, kinds))
    whole = (metric.counts - parts[start : start + size] for start in range(0, len(parts), size))
    return _scored(metric, whole, len(parts)), times


def bca(score: float, replicates: Floats, left_out: Floats, times: Indices, *, level: float) -> Interval | None:
    """The interval of a ``score`` with these bootstrap ``replicates`` [R] and jackknife scores ``left_out`` [J].

    ``times`` [J] is how often each jackknife score occurs. Resamples without a score (NaN) are left out. None where the
    score or more than a twentieth of the replicates have no value, or all replicates lie on one side of the score.
    """
    known = replicates[np.isfinite(replicates)]
    if not math.isfinite(score) or len(known) < max(2, _DEFINED * len(replicates)):
        return None
    below = float((known < score).mean() + (known <= score).mean()) / 2
    if not 0 < below < 1 or known.min() == known.max():
        return None
    bias, acceleration = _NORMAL.inv_cdf(below), _acceleration(left_out, times)
    shares = []
    for side in ((1 - level) / 2, (1 + level) / 2):
        moved = bias + _NORMAL.inv_cdf(side)
        stretch = 1 - acceleration * moved
        if stretch <= 0:
            return None
        shares.append(_NORMAL.cdf(bias + moved / stretch))
    low, high = np.quantile(known, shares)
    return Interval(float(low), float(high))


def _acceleration(left_out: Floats, times: Indices) -> float:
    """How fast the standard error changes with the score: a sixth of the skewness of the jackknife's influences."""
    known = np.isfinite(left_out)
    values, weights = left_out[known], times[known]
    if len(values) == 0:
        return 0.0
    influence = (weights * values).sum() / weights.sum() - values
    spread = float((weights * influence**2).sum())
    return float((weights * influence**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0


def _drawn(metric: Weighted, repetitions: int, generator: np.random.Generator) -> Iterator[Indices]:
    """Blocks of weights int64 [≤ R, G]; the numbers drawn do not depend on the size of the blocks."""
    counts, units, kinds = metric.counts, int(metric.counts.sum()), len(metric.counts)
    by_kind = kinds * _FEW <= units
    size = max(1, _CELLS // max(metric.cells, kinds if by_kind else units))
    owner = None if by_kind or kinds == units else np.repeat(np.arange(kinds), counts)
    for start in range(0, repetitions, size):
        rows = min(size, repetitions - start)
        if by_kind:
            yield generator.multinomial(units, counts / units, rows)
            continue
        drawn = generator.integers(0, units, (rows, units))
        drawn = drawn if owner is None else owner[drawn]
        drawn += kinds * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * kinds).reshape(rows, kinds)


def _scored(metric: Weighted, blocks: Iterator[Indices], repetitions: int) -> Floats:
    scores, done = np.empty(repetitions), 0
    for weights in blocks:
        scores[done : done + len(weights)] = metric.scores(weights.astype(np.float64))
        done += len(weights)
    return scores
