from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.claims.form.values import read_number, unit_of
from verify.types import Unit


@pytest.mark.parametrize(
    ("text", "literal", "value", "low", "high"),
    [
        ("0.91", "0.91", 0.91, 0.905, 0.915),
        ("91.0", "91.0", 91.0, 90.95, 91.05),
        ("0.8774509803921569", "0.8774509803921569", 0.8774509803921569, 0.87745098039215685, 0.87745098039215695),
        ("1e-1", "1e-1", 0.1, 0.05, 0.15),
        ("0,912", "0,912", 0.912, 0.9115, 0.9125),
        ("61,37", "61,37", 61.37, 61.365, 61.375),
        ("5,600,000", "5,600,000", 5600000.0, 5599999.5, 5600000.5),
        (".5", ".5", 0.5, 0.45, 0.55),
        ("−0.25", "−0.25", -0.25, -0.255, -0.245),
    ],
)
def test_a_printed_number_is_an_interval_of_half_its_last_digit(text, literal, value, low, high):
    number = read_number(text)
    assert number is not None
    assert (number.literal, number.value) == (literal, value)
    assert (number.interval.low, number.interval.high) == (low, high)


@pytest.mark.parametrize(
    "text", ["nan", ".nan", "inf", "-Infinity", "true", "yes", "", "None", "1.2.3", "3-4", "0x1F", "1e999"]
)
def test_what_is_no_single_finite_number_is_refused(text):
    assert read_number(text) is None


def test_a_percent_sign_and_a_spread_are_no_part_of_the_number():
    assert read_number("72%").percent_sign
    assert read_number("19.30 %").literal == "19.30"
    assert read_number("665.50 +/- 272.96").spread == "272.96"


@given(st.decimals(min_value=0, max_value=1000, places=4))
def test_the_interval_contains_the_value_and_nothing_that_prints_otherwise(value):
    number = read_number(str(value))
    assert number.decimal - number.half_unit <= Decimal(str(value)) < number.decimal + number.half_unit
    assert number.half_unit * 2 == Decimal(1).scaleb(value.as_tuple().exponent)


@given(st.text(max_size=60))
def test_no_text_raises(text):
    read_number(text)


def unit(text, family, siblings=(), header=""):
    largest = max((read_number(other).decimal for other in siblings), default=None)
    return unit_of(read_number(text), family, largest, header)[0]


def test_losses_are_never_rescaled():
    assert unit("0.29", "raw") is Unit.RAW
    assert unit("17.5", "raw", ["93.1"]) is Unit.RAW


def test_an_accuracy_above_one_is_a_percentage():
    assert unit("91.0", "fraction") is Unit.PERCENT
    assert unit("0.91", "fraction") is Unit.FRACTION


def test_exactly_one_is_a_fraction_unless_the_numbers_beside_it_are_percentages():
    assert unit("1.0", "fraction", ["0.98", "1.0"]) is Unit.FRACTION
    assert unit("1", "fraction") is Unit.FRACTION
    assert unit("1.0", "fraction", ["1.0", "98.2"]) is Unit.PERCENT


def test_a_percent_sign_in_the_header_decides():
    assert unit("0.5", "rate", header="CER (%)") is Unit.PERCENT


def test_an_error_rate_may_exceed_one():
    assert unit("1.0047", "rate") is Unit.FRACTION
    assert unit("16.63", "rate") is Unit.PERCENT
