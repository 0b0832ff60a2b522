"""The numbers that a claim allows."""

from __future__ import annotations

from verify.types import Claim, Interval

_ROUNDING = 1e-9


def allowed(claim: Claim, budget: float) -> Interval:
    """The claim's print interval widened by ``budget`` (a fraction, or raw), in the claim's unit."""
    return claim.interval.widened(budget * claim.scale)


def contains(interval: Interval, value: float) -> bool:
    """Whether a measured value lies in an interval, its ends included: the last digit may be rounded either way."""
    slack = _ROUNDING * max(1.0, abs(value))
    return interval.low - slack <= value <= interval.high + slack


def if_cut(claim: Claim) -> Interval:
    """What the printed digits allow if the card cut the number instead of rounding it: 0.91 → [0.91, 0.92]."""
    unit = claim.interval.high - claim.interval.low
    return Interval(claim.value, claim.value + unit) if claim.value >= 0 else Interval(claim.value - unit, claim.value)
