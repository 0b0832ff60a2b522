"""The one way in which a metric says that it has no value on the data at hand."""

from __future__ import annotations

import math

from verify.errors import VerifyError
from verify.types import Score


class UndefinedScoreError(VerifyError):
    """A metric has no value here, as a correlation with a constant: no number is better than a made-up one."""


def defined(metric: str, value: float, n: int, count: int | None = None) -> Score:
    """Return the score, or raise :class:`UndefinedScoreError` if ``value`` is not a finite number."""
    if not math.isfinite(value):
        raise UndefinedScoreError(f"{metric} is undefined: it came out as {value} on {n} examples.")
    return Score(float(value), n, count)
