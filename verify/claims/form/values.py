"""From printed characters to numbers: deterministic rules, in decimal arithmetic.

A printed number is an interval, half a unit of its last digit on each side, so the characters are kept: "91.0" is more
precise than "91", and 0.8774509803921569 is known to sixteen digits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from verify.types import Interval, Unit

# A number that starts where no word or other number is under way. Digits, with a point or a comma, or an exponent.
NUMBER = re.compile(
    r"(?<![\w.,])(?<!\w[-–])(?P<sign>[-+−])?"
    r"(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,30}(?:[.,]\d{1,40})?|\.\d{1,40})"
    r"(?P<exponent>[eE][-+]?\d{1,3})?(?![\d])"
)
_WHOLE = re.compile(rf"\s*[~≈]?\s*{NUMBER.pattern}\s*(?P<percent>[%％﹪])?\s*")
_SPREAD = re.compile(r"\s*(?:\+\s*/\s*-|\+-|±|\\pm)\s*(\d[\d.,]*)\s*%?\s*")


@dataclass(frozen=True)
class Number:
    """One printed number: ``literal`` its characters (no percent sign), ``decimal`` its exact value as printed."""

    literal: str
    decimal: Decimal
    percent_sign: bool = False
    spread: str | None = None

    @cached_property
    def value(self) -> float:
        return float(self.decimal)

    @property
    def is_integer(self) -> bool:
        """True if no decimal point was printed."""
        return self.half_unit >= Decimal("0.5")

    @cached_property
    def half_unit(self) -> Decimal:
        """Half a unit of the last printed digit."""
        return half_unit(self.decimal)

    @property
    def interval(self) -> Interval:
        """The half-open interval that the printed digits allow, in the unit of the print."""
        low, high = self.decimal - self.half_unit, self.decimal + self.half_unit
        return Interval(float(low), float(high))


def half_unit(printed: Decimal) -> Decimal:
    """Half a unit of the last digit of ``printed``, whose exponent carries its trailing zeros."""
    exponent = printed.as_tuple().exponent
    if not isinstance(exponent, int):
        raise TypeError(f"{printed} is no finite number")
    return Decimal(5).scaleb(exponent - 1)


def read_number(text: str) -> Number | None:
    """The number that is the whole of ``text`` (with an optional % sign or "± s" after it), or None.

    Refuses NaN, infinities, booleans, ranges and text. A comma is a decimal comma unless it groups three digits after a
    non-zero start ("5,600" is five thousand six hundred, "0,912" is 0.912).
    """
    if len(text) > 200:
        return None
    found = _WHOLE.match(text)
    if not found:
        return None
    spread = None
    if found.end() != len(text):
        rest = _SPREAD.fullmatch(text, found.end())
        if not rest:
            return None
        spread = rest.group(1)
    return from_match(found, bool(found.group("percent")) or text.rstrip().endswith("%"), spread)


def from_match(found: re.Match[str], percent_sign: bool = False, spread: str | None = None) -> Number | None:
    """The number of one match of :data:`NUMBER`; None if its exponent is absurd."""
    sign = "-" if found.group("sign") in ("-", "−") else ""
    exponent = found.group("exponent") or ""
    if exponent and abs(int(exponent[1:])) > 60:
        return None
    digits = found.group("digits")
    printed = Decimal(sign + _with_point(digits) + exponent)
    literal = (found.group("sign") or "") + digits + exponent
    return Number(literal.lstrip("+"), printed, percent_sign, spread)


def _with_point(digits: str) -> str:
    if "," not in digits:
        return digits
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?", digits):
        return digits.replace(",", "")
    return digits.replace(",", ".")


def unit_of(number: Number, family: str, largest: Decimal | None = None, header: str = "") -> tuple[Unit, str]:
    """The unit of ``number`` and the reason, from the metric's unit family and the numbers printed beside it.

    ``family`` is "raw", "fraction" or "percent-scale" (printed 0 to 100 by custom), "rate" (a fraction that may exceed
    one, as an error rate), or "unknown". ``largest`` is the greatest number of the same list or table that must be on
    the same scale.
    """
    if family == "raw":
        return Unit.RAW, "the metric has no upper bound, so it is never rescaled"
    if number.percent_sign:
        return Unit.PERCENT, "a % sign follows the number"
    if "%" in header or "percent" in header.casefold():
        return Unit.PERCENT, "% in the header"
    limit = Decimal("1.5") if family == "rate" else Decimal(1)
    size = abs(number.decimal)
    if size > 100 and family != "rate":
        return Unit.RAW, "above 100, so neither a fraction nor a percentage"
    if size > limit:
        return Unit.PERCENT, f"above {limit}, so not a fraction"
    if largest is not None and largest > limit:
        return Unit.PERCENT, "other scores beside it stand above 1"
    if family == "unknown" and number.is_integer:
        return Unit.RAW, "undecidable: neither the metric nor the numbers beside it tell the scale"
    if largest is not None:
        return Unit.FRACTION, "at most 1, as the scores beside it are"
    return Unit.FRACTION, "at most 1"
