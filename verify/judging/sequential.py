"""What a part of a split, its examples in random order, shows of the score on the whole split.

Every statement is made in e-values: numbers whose mean is at most 1 where the statement that they speak against is
true, however often one looks and whenever one stops. One that reaches 1/α refutes its statement at the level α.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from verify.judging.betting import Means, Ratios
from verify.judging.martingale import ROUNDING, Guess, Shares
from verify.metrics.additive import Additive
from verify.metrics.names import METRICS
from verify.types import Unit

_UNBOUNDED = frozenset({"wer", "cer", "ter"})
"""Rates that exceed 1 where more is wrong than there is."""

_OF_SOME = frozenset({"has_answer_exact_match", "has_answer_f1", "no_answer_exact_match", "no_answer_f1"})
"""Means over some of the examples: each counts once or not at all."""


class Seen(Protocol):
    """The first ``n`` examples, in random order, of ``population``, and what they say against values of the whole.

    ``processes`` is 1 if one process of evidence speaks in both directions, and 2 if each direction has its own.
    """

    @property
    def n(self) -> int: ...

    @property
    def population(self) -> int: ...

    @property
    def processes(self) -> int: ...

    def against_at_most(self, bound: float, guess: Guess | None = None) -> float: ...

    def against_at_least(self, bound: float, guess: Guess | None = None) -> float: ...

    def interval(self, alpha: float, guess: Guess | None = None) -> tuple[float, float]: ...

    def continued(self, n: int) -> Seen: ...


class Answer(StrEnum):
    """Where the value of the whole split was shown to lie."""

    BELOW = "below"
    ABOVE = "above"
    INSIDE = "inside"


ANSWERS = frozenset(Answer)
OUTSIDE = frozenset({Answer.BELOW, Answer.ABOVE})

_WIDE, _NARROW = 3.0, 0.3
"""How far from the claim the value may be, in half widths of the range: if it lies outside of it, and if inside. Chosen
so that simulated runs end soon, at either kind of answer; see scripts/benchmarks/judge/simulations.py."""

_STEP = 1.1


@dataclass(frozen=True)
class Standing:
    """The e-values for a range from low to high in which the value of the whole split may lie.

    ``below`` speaks against "at least low" and ``above`` against "at most high". If the value lies in the range, the
    probability that either of them ever reaches 1/α is at most α, both directions together. ``inside`` is the smaller
    of the evidence against "less than low" and "more than high": when it reaches 1/α, the value is shown to lie in the
    range at the level α (two one-sided tests).
    """

    below: float
    above: float
    inside: float

    @property
    def outside(self) -> float:
        """The e-value against "the value lies in the range", which :mod:`verify.judging.many` asks for."""
        return max(self.below, self.above)

    def answer(self, alpha: float, answers: Collection[Answer] = ANSWERS) -> Answer | None:
        """Return which of the ``answers`` is shown at the level ``alpha`` (a fraction), if any is."""
        evidence = {Answer.BELOW: self.below, Answer.ABOVE: self.above, Answer.INSIDE: self.inside}
        shown = [answer for answer in Answer if answer in answers and evidence[answer] >= 1 / alpha]
        return max(shown, key=lambda answer: evidence[answer], default=None)


def standing(seen: Seen, low: float, high: float, claim: float) -> Standing:
    """What is known of whether the value of the whole split lies from ``low`` to ``high``.

    All three are on the scale of :class:`verify.types.Score`. ``claim`` is where the value is expected; it decides how
    soon there is an answer, never whether it is right. When every example is seen the answer is certain: what is shown
    has an infinite e-value. O(n) time.
    """
    wide, narrow = expected(low, high, claim), Guess(claim, _NARROW * (high - low) / 2)
    below, above = seen.against_at_least(low, wide), seen.against_at_most(high, wide)
    less, more = seen.against_at_most(_beyond(low, -1), narrow), seen.against_at_least(_beyond(high, 1), narrow)
    return Standing(below / seen.processes, above / seen.processes, min(less, more))


def expected(low: float, high: float, claim: float) -> Guess:
    """Where :func:`standing` looks for a value outside of the range; an interval from this guess agrees with it."""
    return Guess(claim, _WIDE * (high - low) / 2)


def how_many_more(
    seen: Seen, low: float, high: float, claim: float, alpha: float, answers: Collection[Answer] = ANSWERS
) -> int:
    """About how many more examples bring one of the ``answers``, if the rest of the split is like what was seen.

    0 if there is one already; the whole rest of the split if it takes that, or nothing was seen yet. The split
    continues as it may, so this is an estimate for a reader and no promise. Arguments are those of :func:`standing` and
    :meth:`Standing.answer`.
    """
    n = seen.n
    while 0 < n < seen.population:
        if standing(seen.continued(n), low, high, claim).answer(alpha, answers):
            return n - seen.n
        n = max(n + 1, math.ceil(n * _STEP))
    return seen.population - seen.n


def seen_of(name: str, metric: Additive, population: int, most: float = math.inf) -> Seen | None:
    """The first examples of a run of ``population``, for the metric of this canonical name.

    None for a metric that is no mean and no ratio of sums, about which only the whole split says anything. The rows of
    ``metric`` stand in the seeded order. ``most`` is the largest denominator that any example of the split
    can have, such as its words in WER; without it a ratio can be shown to lie nowhere before the last example.
    """
    is_bounded = name in METRICS and METRICS[name].unit is not Unit.RAW and name not in _UNBOUNDED
    first, second = metric.statistics[:, 0], metric.statistics[:, 1]
    if metric.is_mean and metric.is_share:
        return Shares(int(first.sum()), len(first), population)
    if metric.is_mean:
        lower = 0.0 if name in METRICS else -math.inf
        return Means(first, lower, 1.0 if is_bounded else math.inf, population)
    if metric.is_quotient:
        most = 1.0 if name in _OF_SOME else most
        return Ratios(first, second, most, is_bounded, population)
    return None


def _beyond(value: float, way: int) -> float:
    """The nearest value that is not taken for the same one."""
    return value + way * 2 * ROUNDING * max(1.0, abs(value))
