"""How strongly a sample speaks against a number of hits in the whole split, hits and misses drawn without replacement.

The prior of a number K of hits among N examples, divided by its posterior, is 1 at the start and never negative, and
if K is the truth it has no tendency to grow, whatever the order of the examples (Waudby-Smith & Ramdas, "Confidence
sequences for sampling without replacement", NeurIPS 2020, arXiv 2006.04347). So its value after any number of examples
is an e-value against K, and the probability that it ever reaches 1/α is at most α (Ville's inequality), however often
one looks and whatever the prior.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

ROUNDING = 1e-9
"""What a share may be off by through floating point alone, as in :mod:`verify.judging.intervals`."""

_EVENLY = 0.1
"""The weight of the part of the prior that holds every number of hits equally likely."""


@dataclass(frozen=True)
class Guess:
    """Where a value is expected before anything is seen, and how far off it may be, in the value's own unit.

    A good guess brings an answer sooner. No guess makes an answer less reliable.
    """

    centre: float
    spread: float


@dataclass(frozen=True)
class _Beta:
    """One part of the prior: a beta-binomial distribution of the number of hits, with its log weight."""

    log_weight: float
    a: float
    b: float

    def log_evidence(self, hits: int, misses: int) -> float:
        """Log of weight times the probability of one sequence with so many hits and misses."""
        return self.log_weight + _log_beta(self.a + hits, self.b + misses) - _log_beta(self.a, self.b)


@dataclass(frozen=True)
class Shares:
    """``hits`` of the first ``n`` examples, in random order, of ``population``: what is known of a share of hits."""

    hits: int
    n: int
    population: int

    processes: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.hits <= self.n <= self.population or self.population < 1:
            raise ValueError(f"{self.hits} hits among {self.n} of {self.population} examples cannot be")

    def e_value(self, total: int, guess: Guess | None = None) -> float:
        """Return the e-value against "``total`` of all examples are hits"; infinite where it cannot be.

        If it is so, its mean over the random order is exactly 1 as long as the rest of the split may still hold both
        hits and misses, and never more. O(1).
        """
        if not self.hits <= total <= self.population - (self.n - self.hits):
            return math.inf
        evidence = [part.log_evidence(self.hits, self.n - self.hits) for part in _prior(guess, self.population)]
        highest = max(evidence)
        log_mixture = highest + math.log(sum(math.exp(one - highest) for one in evidence))
        log_sequence = _log_choose(self.population - self.n, total - self.hits) - _log_choose(self.population, total)
        return math.exp(min(log_mixture - log_sequence, 700.0))

    def against(self, least: float, most: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the share of hits of all examples is from ``least`` to ``most``" (fractions).

        It is the smallest of those against the counts in that range. The e-value is log-convex in the count and least
        at the likeliest one, so only that or the end of the range nearest to it is looked at.
        """
        slack = ROUNDING * self.population
        low = max(math.ceil(least * self.population - slack) if least > 0 else 0, self.hits)
        high = math.floor(most * self.population + slack) if most < 1 else self.population
        high = min(high, self.population - (self.n - self.hits))
        if low > high:
            return math.inf
        return self.e_value(min(max(self._likeliest(), low), high), guess)

    def against_at_least(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the share of all examples is ``bound`` or more"."""
        return self.against(bound, 1.0, guess) if bound <= 1 + ROUNDING else math.inf

    def against_at_most(self, bound: float, guess: Guess | None = None) -> float:
        """Return the e-value against "the share of all examples is ``bound`` or less"."""
        return self.against(0.0, bound, guess) if bound >= -ROUNDING else math.inf

    def interval(self, alpha: float, guess: Guess | None = None) -> tuple[float, float]:
        """Return the smallest and largest share of all examples against which the e-value stays below 1/``alpha``."""
        likeliest = self._likeliest()
        low = _first(self.hits, likeliest, lambda total: self.e_value(total, guess) < 1 / alpha)
        farthest = self.population - (self.n - self.hits)
        high = _first(0, farthest - likeliest, lambda back: self.e_value(farthest - back, guess) < 1 / alpha)
        return low / self.population, (farthest - high) / self.population

    def continued(self, n: int) -> Shares:
        """Return what would be known after ``n`` examples, no fewer than now, if the rest were like those seen."""
        more = round(self.hits / self.n * (n - self.n)) if self.n else 0
        return Shares(self.hits + more, n, self.population)

    def _likeliest(self) -> int:
        """The number of hits in the whole split that makes what was seen likeliest."""
        if self.n == 0:
            return self.population // 2
        most = self.population - (self.n - self.hits)
        return min(max((self.population + 1) * self.hits // self.n, self.hits), most)


@lru_cache(maxsize=256)
def _prior(guess: Guess | None, population: int) -> tuple[_Beta, ...]:
    """A part spread evenly, and the rest about the guess."""
    if guess is None:
        return (_Beta(0.0, 1.0, 1.0),)
    return _Beta(math.log(_EVENLY), 1.0, 1.0), _about(math.log(1 - _EVENLY), guess, population)


def _about(log_weight: float, guess: Guess, population: int) -> _Beta:
    """A beta distribution with the mean and, as far as there is one, the standard deviation of the guess."""
    edge = 1 / (population + 2)
    centre = min(max(guess.centre, edge), 1 - edge)
    weight = max(centre * (1 - centre) / max(guess.spread, edge) ** 2 - 1, 1.0)
    return _Beta(log_weight, centre * weight, (1 - centre) * weight)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The smallest number from ``low`` to ``high`` that ``holds``, which once true stays so and is true of ``high``."""
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
