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


def agrees_if_cut(claim: Claim, value: float) -> bool:
    """Whether the card prints ``value`` if it cut the digits off instead of rounding: 0.91 for 0.91 up to below 0.92.

    ``value`` is in the claim's unit. A number is cut towards zero.
    """
    unit = claim.interval.high - claim.interval.low
    size, claimed = abs(value), abs(claim.value)
    slack = _ROUNDING * max(1.0, size)
    return value * claim.value >= 0 and claimed - slack <= size < claimed + unit - slack
