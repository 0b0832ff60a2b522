import numpy as np
import pytest
from helpers.case_making import case, classified, printed, scores_of
from hypothesis import given, settings
from hypothesis import strategies as st

from judging.hypotheses.finding import found, settings_tried, sought
from verify.claims.meaning.arithmetic import possible_counts
from verify.judging.explain import CERTAIN, search
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.types import Unit

RUN = classified(872, shares=(0.5, 0.5), skill=1.5)
MEASURED = scores_of(RUN)
LAST = round(MEASURED["accuracy"], 4)
LOWEST = round(MEASURED["loss"] - 0.0213, 4)
TABLE = {
    "accuracy": (0.6812, 0.8931, 0.8874, LAST),
    "loss": (0.611, 0.5499, LOWEST, round(MEASURED["loss"], 4)),
}


def test_the_best_epoch_is_found_where_the_weights_are_those_of_the_last():
    search = sought(RUN, {"accuracy": 0.8931}, epochs=TABLE)
    assert found(search) == ("other_epoch", "row 2 of 4, the best accuracy", True)


def test_the_epoch_with_the_lowest_loss_is_found_with_all_its_numbers():
    search = sought(RUN, {"accuracy": 0.8874, "loss": LOWEST}, epochs=TABLE)
    assert found(search) == ("other_epoch", "row 3 of 4, the lowest validation loss", True)


def test_the_last_epoch_is_found_where_the_weights_are_those_of_the_best():
    table = {"accuracy": (0.6812, LAST, 0.6914), "loss": (0.6, 0.5, 0.55)}
    assert found(sought(RUN, {"accuracy": 0.6914}, epochs=table))[:2] == ("other_epoch", "row 3 of 3, the last")


def test_a_table_whose_rows_all_differ_from_the_rerun_explains_nothing():
    table = {"accuracy": (0.6812, 0.8931, 0.8874)}
    search = sought(RUN, {"accuracy": 0.8931}, epochs=table)
    assert settings_tried(search, "other_epoch") == []
    assert search.best is None


def test_numbers_of_different_rows_are_no_single_epoch():
    assert sought(RUN, {"accuracy": 0.8931, "loss": LOWEST}, epochs=TABLE).best is None


def test_columns_with_gaps_are_not_lined_up():
    table = {"accuracy": TABLE["accuracy"], "f1": (0.7, 0.8)}
    search = sought(RUN, {"accuracy": 0.8931, "f1": 0.8}, epochs=table)
    assert settings_tried(search, "other_epoch") == ["row 2 of 4, the best accuracy"]


def test_only_rows_that_authors_quote_are_tried():
    table = {"accuracy": (0.1, 0.2, 0.9, 0.3, 0.4, 0.5, LAST), "loss": (5.0, 4.0, 3.0, 1.0, 2.0, 2.5, 3.0)}
    search = sought(RUN, {"accuracy": 0.4}, epochs=table)
    assert settings_tried(search, "other_epoch") == [
        "row 3 of 7, the best accuracy",
        "row 4 of 7, the lowest validation loss",
    ]
    assert search.best is None


ROWS = {"validation": 872, "test": 1821, "train": 67349}


def test_a_fully_printed_count_of_another_split_is_found():
    search = sought(RUN, {"accuracy": 1650 / 1821}, digits=16, rows=ROWS)
    assert found(search) == ("other_split", "test, 1,821 examples", True)
    assert search.chance < 1e-6


def test_a_count_of_this_split_says_nothing_of_another():
    claimed = next(k for k in range(700, 872) if k / 872 != MEASURED["accuracy"])
    search = sought(RUN, {"accuracy": claimed / 872}, digits=16, rows={**ROWS, "double": 1744})
    assert search.best is None


@pytest.mark.parametrize(("digits", "tried"), [(3, []), (5, ["test"]), (8, ["test", "train"])])
def test_few_digits_fit_every_split_so_that_it_is_not_tried(digits, tried):
    search = sought(RUN, {"accuracy": 0.7}, digits=digits, rows=ROWS)
    assert [setting.partition(",")[0] for setting in settings_tried(search, "other_split")] == tried


def test_other_metrics_leave_the_other_split_open():
    search = sought(RUN, {"accuracy": 1650 / 1821, "f1": 0.9}, digits=16, rows=ROWS)
    assert settings_tried(search, "other_split") == []


@given(st.integers(0, 10**5 - 1))
@settings(max_examples=20, deadline=None)
def test_the_chance_that_an_unrelated_number_fits_is_what_the_search_states(parts):
    """Of all five-digit numbers, the share that some count of the split prints is within the chance stated."""
    about = case(RUN, [printed(parts / 10**5, 5)], rows={"validation": 872, "test": 1821})
    result = search(about, HYPOTHESES)
    stated = [one.trial.chance for one in result.tried if one.hypothesis.name == "other_split"]
    if about.differing:
        assert stated == [pytest.approx(1.5e-5 * 1822)]
        assert result.chance >= stated[0]


def test_the_stated_chance_is_that_of_an_enumeration():
    fits = [bool(possible_counts(printed(parts / 10**5, 5), 1821)) for parts in range(0, 10**5, 3)]
    assert np.mean(fits) <= 1.5e-5 * 1822 <= CERTAIN
    assert np.mean(fits) == pytest.approx(1.5e-5 * 1822, rel=0.01)


def test_percentages_are_counted_alike():
    search = sought(RUN, {"accuracy": 1650 / 1821}, digits=12, rows=ROWS, unit=Unit.PERCENT)
    assert found(search)[:2] == ("other_split", "test, 1,821 examples")
