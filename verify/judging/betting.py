"""How strongly a sample speaks against a mean over the whole split, values drawn without replacement.

Somebody who doubts that the mean is at most m bets on every next value being larger than it then would be on average.
If the mean is at most m, the bets are fair or worse, so the wealth, 1 at the start and never negative, keeps its mean
or loses: it is an e-value against "at most m" after any number of examples, and the probability that it ever reaches
1/α is at most α (Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", Journal of the Royal
Statistical Society B 86, 2024; without replacement: NeurIPS 2020, arXiv 2006.04347).

Only values far below the average can ruin the player, so a lower bound of the values is all that is needed to show that
their mean is large, and an upper bound to show that it is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from verify.judging.martingale import ROUNDING, Guess

Floats = NDArray[np.float64]

FRACTIONS = 0.9 * 0.5 ** np.arange(12.0)
"""How boldly is bet: the share of the wealth that a value at the lower bound costs. The wealth is split among them."""

_BOLDEST = 0.9
_STEPS = 20
"""Halvings of the range in which an end of an interval is sought, which may come out too wide by a millionth of it."""


def wealth(values: Floats, population: int, mean: float, lower: float) -> float:
    """Return the wealth after the ``values`` [n], bet against a mean of all ``population`` values of at most ``mean``.

    No value lies below ``lower``. Infinite if the values seen rule such a mean out. A bet costs its share of the wealth
    if a value lies at the lower bound. Bets grow as the examples run out, because the fewer are left, the further from
    the average they must lie to make up for those seen. They depend on the past alone. The wealth falls as ``mean``
    grows. O(n) time.
    """
    rounding = ROUNDING * max(1.0, abs(mean), abs(lower))
    if population * (mean - lower) - float((values - lower).sum()) < -rounding * population:
        return math.inf
    left = population - np.arange(len(values), dtype=np.float64)
    average = (population * mean - np.cumsum(values) + values) / left
    share = population / left / max(mean - lower, rounding)
    limit = _BOLDEST / np.maximum(average - lower, rounding)
    gain = values - average
    grown = [float(np.log1p(np.minimum(fraction * share, limit) * gain).sum()) for fraction in FRACTIONS]
    highest = max(grown)
    total = highest + math.log(sum(math.exp(one - highest) for one in grown) / len(grown))
    return math.exp(min(total, 700.0))


@dataclass(frozen=True)
class Means:
    """The ``values`` [n] of the first examples in random order, and bounds that hold for all of ``population``.

    What is known of the mean over all examples. A bound may be infinite: then nothing can be shown in that direction
    before the last example.
    """

    values: Floats
    lower: float
    upper: float
    population: int

    processes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.values, self.population)
        if len(self.values):
            least, most = float(self.values.min()), float(self.values.max())
            slack = ROUNDING * max(1.0, abs(least), abs(most))
            if not self.lower - slack <= least <= most <= self.upper + slack:
                raise ValueError(f"values from {least} to {most} do not lie in [{self.lower}, {self.upper}]")

    @property
    def n(self) -> int:
        return len(self.values)

    def against_at_most(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the mean over all examples is ``bound`` or less"; the guess is not needed."""
        if self.n == self.population:
            return math.inf if self.values.mean() > bound + ROUNDING * max(1.0, abs(bound)) else 0.0
        return wealth(self.values, self.population, bound, self.lower) if math.isfinite(self.lower) else 1.0

    def against_at_least(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the mean over all examples is ``bound`` or more"; the guess is not needed."""
        return Means(-self.values, -self.upper, -self.lower, self.population).against_at_most(-bound)

    def interval(self, alpha: float, guess: Guess | None = None) -> tuple[float, float]:
        """Return the means over all examples that neither direction rejects, each at the level ``alpha`` / 2."""
        if self.n == 0:
            return self.lower, self.upper
        total, left = float(self.values.sum()), self.population - self.n
        ends = [
            (total + left * bound) / self.population if left else total / self.n for bound in (self.lower, self.upper)
        ]
        return _not_rejected(self, alpha, ends[0], total / self.n, ends[1])

    def continued(self, n: int) -> Means:
        """Return what would be known after ``n`` examples, no fewer than now, if the rest were like those seen."""
        return Means(np.resize(self.values, n), self.lower, self.upper, self.population) if self.n else self


@dataclass(frozen=True)
class Ratios:
    """What is known of the sum of ``above`` divided by that of ``below`` over all of ``population`` examples.

    Such are micro-F1 and WER. Both [n], none negative, hold the first examples in random order. The ratio is at least t
    just where the mean of above − t · below is at least 0. ``most`` is the largest ``below`` that any example of the
    split can have, and ``is_share`` says that ``above`` exceeds ``below`` in none. For F1 they are 2 · right and
    predicted + actual.
    """

    above: Floats
    below: Floats
    most: float
    is_share: bool
    population: int

    processes: ClassVar[int] = 2

    def __post_init__(self) -> None:
        _check(self.above, self.population)
        _check(self.below, self.population)
        if len(self.above) != len(self.below):
            raise ValueError(f"{len(self.above)} numerators and {len(self.below)} denominators")
        if len(self.above) and (min(self.above.min(), self.below.min()) < 0 or self.below.max() > self.most):
            raise ValueError(f"a numerator or denominator is negative, or larger than the largest, {self.most}")
        if self.is_share and (self.above > self.below * (1 + ROUNDING)).any():
            raise ValueError("a share is larger than 1")

    @property
    def n(self) -> int:
        return len(self.above)

    def against_at_most(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the ratio over all examples is ``bound`` or less"."""
        if bound < -ROUNDING:
            return math.inf
        return self._against(max(bound, 0.0)).against_at_most(0.0)

    def against_at_least(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the ratio over all examples is ``bound`` or more"."""
        if self.is_share and bound > 1 + ROUNDING:
            return math.inf
        return self._against(max(bound, 0.0)).against_at_least(0.0)

    def interval(self, alpha: float, guess: Guess | None = None) -> tuple[float, float]:
        """Return the ratios over all examples that neither direction rejects, each at the level ``alpha`` / 2."""
        farthest = 1.0 if self.is_share else math.inf
        above, below = float(self.above.sum()), float(self.below.sum())
        if below == 0:
            return 0.0, farthest
        rest = (self.population - self.n) * self.most if self.n < self.population else 0.0
        low = 0.0 if math.isinf(rest) else above / (below + rest)
        is_open = rest > 0 and (math.isinf(rest) or not self.is_share)
        high = farthest if is_open else (above + rest) / (below + rest)
        return _not_rejected(self, alpha, low, above / below, high)

    def continued(self, n: int) -> Ratios:
        """Return what would be known after ``n`` examples, no fewer than now, if the rest were like those seen."""
        if self.n == 0:
            return self
        above, below = np.resize(self.above, n), np.resize(self.below, n)
        return Ratios(above, below, self.most, self.is_share, self.population)

    def _against(self, bound: float) -> Means:
        lower = -bound * self.most if bound else 0.0
        upper = (1 - bound) * self.most if self.is_share and bound < 1 else 0.0 if self.is_share else math.inf
        return Means(self.above - bound * self.below, lower, upper, self.population)


def _check(values: Floats, population: int) -> None:
    if values.ndim != 1 or len(values) > population or population < 1 or not np.isfinite(values).all():
        raise ValueError(f"values of shape {values.shape} are not those of finitely many of {population} examples")


def _not_rejected(
    seen: Means | Ratios, alpha: float, lowest: float, middle: float, highest: float
) -> tuple[float, float]:
    """The ends of what is not rejected, between what is possible at all and what was seen."""
    needed = 2 / alpha
    low = _end(middle, lowest, lambda value: seen.against_at_most(value) >= needed)
    high = _end(middle, highest, lambda value: seen.against_at_least(value) >= needed)
    return low, high


def _end(inside: float, outside: float, rejected: Callable[[float], bool]) -> float:
    """Where rejection begins on the way from ``inside`` to ``outside``, from its rejected side."""
    if inside == outside or math.isinf(outside):
        return outside
    for _ in range(_STEPS):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if rejected(middle) else (middle, outside)
    return outside
