import math

import pytest
from helpers.case_making import case, classified, printed
from helpers.claim_making import claim

from verify.judging.cases import as_read, differing_readings, each_reading, once, replaced, score_in_form, wanted
from verify.types import Score, Unit

RUN = classified(n=400, shares=(0.5, 0.3, 0.2))
BARE, FULL, ERROR = claim("0.11", "f1"), claim("0.22", "f1_weighted"), claim("0.33", "error_rate")
OPEN = case(RUN, [BARE, FULL, ERROR])


def test_claims_are_read_in_the_standard_reading_and_in_their_own_form():
    scores = {"accuracy": 0.8, "f1_weighted": 0.7, "f1_macro": 0.6}
    expected = {BARE.claim_id: 0.6, FULL.claim_id: 0.7, ERROR.claim_id: pytest.approx(0.2)}
    assert as_read(OPEN, scores) == expected
    assert as_read(OPEN, {"accuracy": 0.8}) == {ERROR.claim_id: pytest.approx(0.2)}


def test_a_bare_name_is_read_once_for_each_average_and_full_names_as_they_are():
    scores = {"f1_macro": 0.6, "f1_weighted": 0.7, "f1_micro": 0.8}
    assert dict(each_reading(OPEN, scores)) == {
        "macro": {BARE.claim_id: 0.6, FULL.claim_id: 0.7},
        "weighted": {BARE.claim_id: 0.7, FULL.claim_id: 0.7},
        "micro": {BARE.claim_id: 0.8, FULL.claim_id: 0.7},
    }


def test_with_two_classes_the_f1_is_that_of_label_one_and_nothing_is_open():
    two = case(classified(n=400), [BARE])
    assert list(each_reading(two, {"f1_binary": 0.5, "f1_macro": 0.6})) == [("", {BARE.claim_id: 0.5})]


def test_only_claims_that_differ_are_listed_with_what_they_stand_for():
    right = printed(OPEN.measurement.scores["accuracy"].value)
    about = case(RUN, [right, FULL, ERROR])
    assert [(one.metric, name) for one, name in differing_readings(about)] == [
        ("f1_weighted", "f1_weighted"),
        ("error_rate", "accuracy"),
    ]


def test_every_metric_that_a_claim_can_be_about_is_wanted():
    assert set(wanted(OPEN)) == {"f1_macro", "f1_weighted", "f1_micro", "accuracy"}


def test_what_replaces_the_rerun_keeps_the_metric_that_was_compared():
    assert replaced(OPEN, {"f1_weighted": 0.4, "f1_micro": 0.5, "accuracy": math.nan}) == {FULL.claim_id: 0.4}


def test_the_budget_of_a_score_follows_its_form():
    root = score_in_form("rmse", "mse", Score(4.0, 100, budget=0.4))
    assert root.value == 2.0
    assert root.budget == pytest.approx(2.0 - math.sqrt(3.6))
    assert score_in_form("error_rate", "accuracy", Score(0.9, 100, budget=0.01)).budget == pytest.approx(0.01)
    assert score_in_form("mse", "mse", Score(4.0, 100, budget=0.4)) == Score(4.0, 100, budget=0.4)


def test_what_one_replay_computed_is_kept_for_the_next():
    calls = []
    about = case(RUN, [printed(9.5, metric="loss", unit=Unit.RAW)])
    assert [once(about, "key", lambda: calls.append(1) or 7) for _ in range(3)] == [7, 7, 7]
    assert calls == [1]
