from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pytest
from helpers.claim_making import claim, measurement
from hypothesis import assume, given
from hypothesis import strategies as st

from verify.errors import BlockedError, DataError, NotComparableError
from verify.judging.compare import failed, judge, no_task, unmeasurable
from verify.judging.sampled import Sampled
from verify.judging.sequential import Answer
from verify.tasks.data import DIFFERENT_DATA
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Interval, Rung, Score, Unit, VerdictKind

SST2 = Match(load_registry()["sst2"], "validation")
OPEN = Match(load_registry()["mrpc"], "validation", split_known=False)


def verdict(literal, scores, metric="accuracy", unit=Unit.FRACTION, match=SST2, tolerance=0.0, **fields):
    return judge(claim(literal, metric, unit), match, measurement(scores, **fields), tolerance)


def kind(*arguments, **fields):
    return str(verdict(*arguments, **fields).kind)


def test_a_verdict_carries_what_was_measured():
    found = judge(
        claim("91.0", unit=Unit.PERCENT),
        SST2,
        measurement({"accuracy": Score(0.9106, 872, 794, 0.002)}, n=872, probed=88, flips=1, result="there.json"),
    )
    assert found.kind is VerdictKind.REPRODUCED
    assert found.measured == pytest.approx(91.06)
    assert found.delta == pytest.approx(0.06)
    assert (found.interval.low, found.interval.high) == pytest.approx((90.75, 91.25))
    assert (found.task, found.split, found.rung) == ("sst2", "validation", Rung.FULL)
    assert (found.n, found.population, found.probed, found.flips, found.result) == (872, 872, 88, 1, "there.json")


@pytest.mark.parametrize(
    ("literal", "unit", "measured"),
    [
        ("0.91", Unit.FRACTION, 0.905),
        ("0.91", Unit.FRACTION, 0.915),
        ("91", Unit.PERCENT, 0.905),
        ("91.0", Unit.PERCENT, 0.9095),
        ("91.00", Unit.PERCENT, 0.91004),
        ("0.9105504587155964", Unit.FRACTION, 794 / 872),
        ("91.05504587155964", Unit.PERCENT, 794 / 872),
        ("1.0", Unit.FRACTION, 1.0),
        ("0", Unit.FRACTION, 0.0),
    ],
)
def test_a_measured_value_that_prints_as_claimed_reproduces_it(literal, unit, measured):
    found = verdict(literal, {"accuracy": measured}, unit=unit)
    assert (found.kind, found.rule) == (VerdictKind.REPRODUCED, "agrees with the printed digits")


@pytest.mark.parametrize(
    ("literal", "unit", "measured", "expected"),
    [
        ("0.91", Unit.FRACTION, 0.9049, "overstated"),
        ("0.91", Unit.FRACTION, 0.9201, "understated"),
        ("91.0", Unit.PERCENT, 0.9094, "overstated"),
        ("91.0", Unit.PERCENT, 0.9111, "understated"),
        ("0.9105504587155964", Unit.FRACTION, 793 / 872, "overstated"),
    ],
)
def test_a_difference_says_its_direction_and_size(literal, unit, measured, expected):
    found = verdict(literal, {"accuracy": measured}, unit=unit)
    assert str(found.kind) == expected
    assert found.rule == "beyond rounding and numerical noise"
    assert f"The card says {literal}; all 1000 examples of validation give" in found.reason
    assert ("worse" if expected == "overstated" else "better") in found.reason
    assert found.next_step


def test_the_size_is_in_points_for_fractions_and_percentages_alike():
    for literal, unit in (("0.95", Unit.FRACTION), ("95", Unit.PERCENT)):
        found = verdict(literal, {"accuracy": 0.91}, unit=unit)
        assert "4.00 points worse than claimed" in found.reason
        assert "rounding, numerical noise and the tolerance allow at most 0.50 points" in found.reason


def test_a_tiny_difference_is_never_printed_as_none():
    reason = verdict("0.910550", {"accuracy": 0.910520}).reason
    assert "0.003 points worse" in reason


@pytest.mark.parametrize(("measured", "expected"), [(0.34, "overstated"), (0.25, "understated"), (0.312, "reproduced")])
def test_a_lower_loss_is_better(measured, expected):
    found = verdict("0.31", {"loss": measured}, "loss", Unit.RAW)
    assert str(found.kind) == expected
    assert "points" not in found.reason


def test_a_loss_is_never_taken_as_a_percentage():
    found = verdict("31", {"loss": 0.31, "accuracy": 0.9}, "loss", Unit.PERCENT)
    assert found.kind is VerdictKind.UNVERIFIABLE
    assert "percentage" in found.reason


def test_negative_correlations_keep_their_direction():
    assert kind("-0.5", {"matthews_correlation": -0.7}, "matthews_correlation") == "overstated"
    assert kind("-0.5", {"matthews_correlation": -0.1}, "matthews_correlation") == "understated"


def test_the_flip_budget_and_the_tolerance_widen_what_is_allowed():
    score = {"accuracy": Score(0.9020, 1000, budget=0.003)}
    assert kind("0.91", {"accuracy": 0.9020}) == "overstated"
    found = verdict("0.91", score)
    assert (found.kind, found.rule) == (VerdictKind.REPRODUCED, "within rounding and numerical noise")
    assert kind("91", score, unit=Unit.PERCENT) == "reproduced"
    assert kind("0.91", {"accuracy": Score(0.9019, 1000, budget=0.003)}) == "overstated"
    assert kind("0.91", {"accuracy": Score(0.9019, 1000, budget=0.003)}, tolerance=0.001) == "reproduced"
    assert (
        kind("91", {"accuracy": Score(0.9019, 1000, budget=0.003)}, unit=Unit.PERCENT, tolerance=0.001) == "reproduced"
    )


def test_a_number_that_the_card_cut_off_is_reproduced_and_said_so():
    found = verdict("0.91", {"accuracy": 0.9187})
    assert (found.kind, found.rule) == (VerdictKind.REPRODUCED, "agrees if the card cut the number")
    assert "0.9187 agrees with 0.91 if the card cut the number off" in found.reason
    assert kind("0.91", {"accuracy": 0.92}) == "understated"
    assert kind("-0.91", {"matthews_correlation": -0.9187}, "matthews_correlation") == "reproduced"


TWO = {"f1_binary": 0.80, "f1_macro": 0.75, "f1_weighted": 0.74, "f1_micro": 0.76, "accuracy": 0.76}
MANY = {"f1_macro": 0.75, "f1_weighted": 0.74, "f1_micro": 0.76, "accuracy": 0.76}


def test_a_bare_f1_on_two_classes_is_the_f1_of_label_one():
    found = verdict("0.80", TWO, "f1")
    assert found.kind is VerdictKind.REPRODUCED
    assert "(read as f1_binary)" in found.reason
    assert kind("0.85", TWO, "f1") == "overstated"
    assert verdict("0.85", TWO, "f1").measured == pytest.approx(0.80)
    assert kind("0.75", TWO, "f1_macro") == "reproduced"
    assert kind("0.80", TWO, "f1_macro") == "overstated"


@pytest.mark.parametrize("scores", [TWO, MANY])
def test_a_bare_f1_that_fits_another_average_alone_is_underspecified(scores):
    found = verdict("0.750", scores, "f1")
    assert (found.kind, found.rule) == (VerdictKind.UNDERSPECIFIED, "the average is not stated")
    assert "It agrees with f1_macro." in found.reason
    assert "f1_weighted 0.7400" in found.reason
    assert found.measured == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("metric", "literal", "unit", "scores", "expected", "measured"),
    [
        ("error_rate", "0.090", Unit.FRACTION, {"accuracy": 0.91}, "reproduced", 0.09),
        ("error_rate", "8.0", Unit.PERCENT, {"accuracy": 0.91}, "overstated", 9.0),
        ("error_rate", "0.11", Unit.FRACTION, {"accuracy": Score(0.91, 100, budget=0.02)}, "reproduced", 0.09),
        ("rmse", "1.414", Unit.RAW, {"mse": 2.0}, "reproduced", 2**0.5),
        ("rmse", "1.300", Unit.RAW, {"mse": 2.0}, "overstated", 2**0.5),
        ("rmse", "1.300", Unit.RAW, {"mse": Score(2.0, 100, budget=0.5)}, "reproduced", 2**0.5),
        ("wip", "0.6", Unit.FRACTION, {"wil": 0.5}, "overstated", 0.5),
    ],
)
def test_a_number_that_follows_from_a_measured_one_is_judged(metric, literal, unit, scores, expected, measured):
    found = verdict(literal, scores, metric, unit)
    assert (found.kind, found.measured) == (expected, pytest.approx(measured))
    if found.kind is VerdictKind.REPRODUCED:
        assert "computed from" in found.reason


@pytest.mark.parametrize(
    ("metric", "literal", "unit", "score", "expected"),
    [
        ("bleu", "34.2", Unit.PERCENT, 0.3421, "reproduced"),
        ("bleu", "0.342", Unit.FRACTION, 0.3421, "reproduced"),
        ("bleu", "36.2", Unit.PERCENT, 0.3421, "overstated"),
        ("rouge1", "41.23", Unit.PERCENT, 0.41234, "reproduced"),
        ("wer", "12.3", Unit.PERCENT, 0.1231, "reproduced"),
        ("wer", "0.123", Unit.FRACTION, 0.1231, "reproduced"),
        ("wer", "10.3", Unit.PERCENT, 0.1231, "overstated"),
        ("wer", "1.04", Unit.FRACTION, 1.042, "reproduced"),
    ],
)
def test_scores_are_compared_on_the_scale_that_the_card_prints(metric, literal, unit, score, expected):
    assert kind(literal, {metric: score}, metric, unit) == expected


def test_a_bare_f1_that_every_average_fits_is_reproduced():
    assert kind("0.8", {"f1_macro": 0.79, "f1_weighted": 0.81, "f1_micro": 0.80}, "f1") == "reproduced"


def test_a_bare_f1_that_no_average_fits_is_compared_with_the_nearest():
    found = verdict("0.90", MANY, "f1")
    assert (found.kind, found.measured) == (VerdictKind.OVERSTATED, pytest.approx(0.76))
    assert verdict("0.60", MANY, "f1").measured == pytest.approx(0.74)


def test_other_data_than_claimed_accuse_nobody():
    note = f"{DIFFERENT_DATA}: 813 rows in validation, where the task states 817"
    found = verdict("0.95", {"accuracy": 0.91}, notes=("something", note))
    assert (found.kind, found.rule) == (VerdictKind.UNVERIFIABLE, "other data than claimed")
    assert note in found.reason
    assert found.measured == 0.91
    assert kind("0.91", {"accuracy": 0.91}, notes=(note,)) == "reproduced"


def test_an_unstated_split_accuses_nobody():
    found = verdict("0.95", {"accuracy": 0.91}, match=OPEN)
    assert (found.kind, found.rule) == (VerdictKind.UNDERSPECIFIED, "the split is not stated")
    assert "override.split=NAME" in found.next_step
    assert kind("0.91", {"accuracy": 0.91}, match=OPEN) == "reproduced"


@pytest.mark.parametrize("literal", ["0.91", "0.99"])
def test_a_part_of_the_split_settles_nothing(literal):
    found = verdict(literal, {"accuracy": 0.91}, n=200, population=872)
    assert (found.kind, found.rung) == (VerdictKind.INCONCLUSIVE, Rung.SAMPLED)
    assert "200 of the 872 examples" in found.reason
    assert "672 missing" in found.next_step


def test_a_metric_that_was_not_measured_lists_the_ones_that_were():
    found = verdict("0.9", {"accuracy": 0.9, "loss": 0.3}, "rouge1")
    assert (found.kind, found.measured) == (VerdictKind.UNVERIFIABLE, None)
    assert "rouge1 is not measured for sequence-classification" in found.reason
    assert "accuracy, loss" in found.next_step


def test_an_undefined_metric_gives_its_reason():
    note = "spearman has no value here: every prediction is the same."
    assert verdict("0.9", {"mse": 1.0}, "spearman", notes=(note,)).reason == note


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_judges_nothing(value):
    assert kind("0.9", {"accuracy": value}) == "unverifiable"


def test_a_foreign_metric_is_compared_by_its_own_name():
    assert kind("0.9", {"my_metric": 0.9}, "my_metric") == "reproduced"
    assert kind("0.9", {"my_metric": 0.7}, "my_metric") == "overstated"


def test_claims_without_a_task_or_a_run():
    found = no_task(claim(), Match(None, reason="No task describes it.", next_step="Describe it."))
    assert (found.kind, found.reason, found.next_step) == (
        VerdictKind.UNVERIFIABLE,
        "No task describes it.",
        "Describe it.",
    )
    assert unmeasurable(claim(metric="bleu"), SST2).kind is VerdictKind.UNVERIFIABLE


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BlockedError("pickle"), VerdictKind.BLOCKED),
        (NotComparableError("labels"), VerdictKind.UNVERIFIABLE),
        (DataError("gone"), VerdictKind.ERROR),
    ],
)
def test_a_failed_run_tells_why(error, expected):
    found = failed(claim(), SST2, error, "verify check org/model")
    assert (found.kind, found.reason, found.task) == (expected, str(error), "sst2")
    assert ("verify check org/model" in (found.next_step or "")) == (expected is VerdictKind.ERROR)


MEASURED = st.integers(1, 10_000).flatmap(lambda n: st.integers(0, n).map(lambda k: k / n))
ROUNDING = st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN])


def printed(value, decimals, rounding, scale=1):
    return str((Decimal(value) * scale).quantize(Decimal(1).scaleb(-decimals), rounding))


@given(MEASURED, st.integers(0, 16), ROUNDING, st.sampled_from([Unit.FRACTION, Unit.PERCENT]))
def test_whatever_is_printed_from_the_measured_value_is_reproduced(value, decimals, rounding, unit):
    literal = printed(value, decimals, rounding, 100 if unit is Unit.PERCENT else 1)
    assert kind(literal, {"accuracy": value}, unit=unit) == "reproduced"


@given(st.floats(0, 50), st.integers(0, 12), ROUNDING)
def test_whatever_is_printed_from_a_loss_is_reproduced(value, decimals, rounding):
    assert kind(printed(value, decimals, rounding), {"loss": value}, "loss", Unit.RAW) == "reproduced"


SMALL = st.floats(0, 0.02)


@given(st.integers(0, 10**4), st.integers(1, 4), SMALL, SMALL, st.floats(1e-6, 0.5), st.sampled_from([-1, 1]))
def test_nothing_beyond_rounding_budget_and_tolerance_is_reproduced(parts, decimals, budget, tolerance, beyond, side):
    literal = f"{parts / 10**4:.{decimals}f}"
    one = claim(literal)
    reach = (one.interval.high - one.interval.low) / 2 + budget + tolerance
    value = one.value + side * (reach + beyond)
    assume(value >= 0)
    assume(not (side > 0 and value < one.value + 10.0**-decimals))  # there the card may have cut the number
    found = kind(literal, {"accuracy": Score(value, 1000, budget=budget)}, tolerance=tolerance)
    assert found == ("understated" if side > 0 else "overstated")


@given(MEASURED, st.integers(0, 10**4), st.integers(2, 4), SMALL, SMALL)
def test_a_fraction_and_its_percentage_are_judged_alike(value, parts, decimals, budget, tolerance):
    fraction = f"{parts / 10**4:.{decimals}f}"
    percent = str(Decimal(fraction).scaleb(2))
    score = {"accuracy": Score(value, 1000, budget=budget)}
    edge = claim(fraction).interval.widened(budget + tolerance)
    assume(min(abs(value - edge.low), abs(value - edge.high)) > 1e-7)  # an exact tie may fall either way
    one = verdict(fraction, score, tolerance=tolerance)
    other = verdict(percent, score, unit=Unit.PERCENT, tolerance=tolerance)
    assert (one.kind, one.rule) == (other.kind, other.rule)
    assert other.delta == pytest.approx(100 * one.delta, abs=1e-9)


def of_part(literal, measured, answer, unit=Unit.FRACTION, metric="accuracy", match=SST2, **fields):
    """The verdict after 400 of 1,000 examples, of which the tests gave ``answer``."""
    made = claim(literal, metric, unit)
    shown = Sampled(answer, Answer.BELOW, 30.0, Interval(measured - 1, measured + 1), made.scale / 100, 0.01, 250)
    scores = {metric: measured / made.scale}
    return judge(made, match, measurement(scores, n=400, population=1000, **fields), 0.0, shown)


def test_a_sample_within_the_margin_is_consistent_and_never_reproduced():
    found = of_part("91.0", 91.0, Answer.INSIDE, Unit.PERCENT)
    assert (found.kind, found.rung, found.n, found.population) == (VerdictKind.CONSISTENT, Rung.SAMPLED, 400, 1000)
    assert (found.interval.low, found.interval.high) == pytest.approx((89.95, 92.05))
    assert "400 of the 1000 examples" in found.reason
    assert "90.00 to 92.00" in found.reason


@pytest.mark.parametrize(
    ("metric", "answer", "expected"),
    [
        ("accuracy", Answer.BELOW, VerdictKind.OVERSTATED),
        ("accuracy", Answer.ABOVE, VerdictKind.UNDERSTATED),
        ("error_rate", Answer.ABOVE, VerdictKind.OVERSTATED),
        ("error_rate", Answer.BELOW, VerdictKind.UNDERSTATED),
    ],
)
def test_a_sample_beyond_the_margin_contradicts_in_the_direction_that_is_better(metric, answer, expected):
    measured = claim("0.91", metric)
    shown = Sampled(answer, answer, 500.0, Interval(0.7, 0.8), 0.005, 0.01, 0)
    found = judge(measured, SST2, measurement({"accuracy": 0.75}, n=400, population=1000), 0.0, shown)
    assert found.kind is expected
    assert "policy=strict" in found.next_step


def test_an_open_question_says_how_many_examples_are_missing():
    found = of_part("0.91", 0.905, None)
    assert found.kind is VerdictKind.INCONCLUSIVE
    assert "250 more examples" in found.next_step


def test_a_sample_of_an_unknown_split_or_of_other_data_accuses_nobody():
    assert of_part("0.91", 0.5, Answer.BELOW, match=OPEN).kind is VerdictKind.UNDERSPECIFIED
    found = of_part("0.91", 0.5, Answer.BELOW, notes=(f"{DIFFERENT_DATA} 5 rows",))
    assert found.kind is VerdictKind.UNVERIFIABLE
