import pytest
from helpers.claim_making import claim
from hypothesis import given
from hypothesis import strategies as st

from verify.judging.intervals import agrees_if_cut, allowed, contains
from verify.types import Interval, Unit


def test_the_budget_is_in_fractions_and_the_interval_in_the_claims_unit():
    assert allowed(claim("0.91"), 0.003).low == pytest.approx(0.902)
    assert allowed(claim("91", unit=Unit.PERCENT), 0.003).high == pytest.approx(91.8)
    assert allowed(claim("0.31", "loss", Unit.RAW), 0.003).high == pytest.approx(0.318)


def test_both_ends_belong_to_it():
    """Half a unit may be rounded up (by hand) or to even (by a program)."""
    interval = claim("0.91").interval
    assert contains(interval, 0.905)
    assert contains(interval, 0.915)
    assert not contains(interval, 0.9049)
    assert not contains(interval, 0.9151)
    assert contains(Interval(90.5, 91.5), 100 * 0.915)


@pytest.mark.parametrize(
    ("literal", "value", "agrees"),
    [
        ("0.91", 0.9199, True),
        ("0.91", 0.91, True),
        ("0.91", 0.92, False),
        ("0.91", 0.9099, False),
        ("-0.91", -0.9199, True),
        ("-0.91", -0.92, False),
        ("-0.91", 0.9199, False),
        ("0.00", 0.0099, True),
    ],
)
def test_a_number_is_cut_towards_zero(literal, value, agrees):
    assert agrees_if_cut(claim(literal), value) is agrees


@given(st.integers(-(10**6), 10**6), st.integers(0, 6))
def test_cutting_a_number_to_its_own_digits_always_agrees(parts, decimals):
    value = parts / 10**6
    shown = f"{value:.6f}"
    cut = shown[: len(shown) - 6 + decimals].rstrip(".")
    assert agrees_if_cut(claim(cut), value)
