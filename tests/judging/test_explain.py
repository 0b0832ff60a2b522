import time
from decimal import Decimal

import numpy as np
import pytest
from helpers.case_making import case as real_case
from helpers.case_making import classified, printed, scores_of
from helpers.claim_making import claim, measurement
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.judging.cases import Case, Trial
from verify.judging.compare import judge
from verify.judging.explain import CERTAIN, explained, explanation_entry, search
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.store.predictions import Family, LabelPredictions
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Score, Unit, VerdictKind

TASK = load_registry()["sst2"]
MATCH = Match(TASK, "validation")
NO_PREDICTIONS = LabelPredictions(np.arange(0), np.empty((0, 2), np.float32), np.empty(0, np.int64), (0, 1))


def case(claims, scores, differing=None):
    """A case whose predictions nobody looks at; by default all claims differ."""
    ids = frozenset(one.claim_id for one in (claims if differing is None else differing))
    return Case(TASK, NO_PREDICTIONS, {}, measurement(scores), tuple(claims), ids)


def cause(*trials, name="some_cause", weight=1.0, families=None):
    """A hypothesis that tries the given values, one dictionary from claims to numbers for each setting."""
    made = [Trial(name, f"setting {i}", dict(values)) for i, values in enumerate(trials)]
    return Hypothesis(name, "a thing is otherwise ({setting})", families, lambda _: made, weight)


def values(*pairs):
    return {one.claim_id: value for one, value in pairs}


A = claim("0.9123")
F = claim("0.9051", "f1_macro")


def test_a_setting_that_gives_the_number_is_found_and_said():
    about = case([A], {"accuracy": 0.8712})
    found = search(about, [cause(values((A, 0.70)), values((A, 0.91231)))])
    assert found.best.trial.setting == "setting 1"
    assert found.chance < 0.01
    verdict = explained(judge(A, MATCH, about.measurement), found)
    assert (verdict.kind, verdict.rule) == (VerdictKind.EXPLAINED, "explained by some_cause")
    assert "The card says 0.9123; all 1000 examples of validation give 0.87120" in verdict.reason
    assert "The card's number is reached if a thing is otherwise (setting 1)." in verdict.reason
    assert "2 settings were tried; the chance" in verdict.reason
    assert verdict.delta == pytest.approx(-0.0411)
    assert verdict.explanation["found"]["value"] == 0.91231
    assert [(one["setting"], one["value"], one["fits"]) for one in verdict.explanation["tried"]] == [
        ("setting 0", 0.70, False),
        ("setting 1", 0.91231, True),
    ]


def test_values_are_listed_in_the_claims_own_unit():
    percent = claim("91.23", unit=Unit.PERCENT)
    about = case([percent], {"accuracy": 0.8712})
    found = search(about, [cause(values((percent, 0.91231)))])
    assert explanation_entry(percent, found)["found"]["value"] == pytest.approx(91.231)


def test_without_a_setting_that_fits_the_verdict_stands_and_lists_what_was_tried():
    about = case([A], {"accuracy": 0.8712})
    before = judge(A, MATCH, about.measurement)
    after = explained(before, search(about, [cause(values((A, 0.70)))]))
    assert (after.kind, after.reason, after.notes) == (before.kind, before.reason, before.notes)
    assert after.explanation["found"] is None
    assert after.explanation["certain"] is False
    assert len(after.explanation["tried"]) == 1


def test_a_verdict_of_another_kind_is_left_alone():
    about = case([A], {"accuracy": 0.8712})
    held = judge(A, MATCH, measurement({"accuracy": 0.9123}))
    assert explained(held, search(about, [cause(values((A, 0.9123)))])) is held


def test_all_claims_that_differ_must_be_met_by_one_setting():
    about = case([A, F], {"accuracy": 0.8712, "f1_macro": 0.8650})
    one_each = [cause(values((A, 0.9123)), values((F, 0.9051)), values((A, 0.9123), (F, 0.88)))]
    assert search(about, one_each).best is None
    assert search(about, [cause(values((A, 0.9123), (F, 0.9051)))]).best is not None


def test_a_claim_that_holds_must_keep_holding():
    about = case([A, F], {"accuracy": 0.8712, "f1_macro": 0.9051}, differing=[A])
    assert search(about, [cause(values((A, 0.9123), (F, 0.87)))]).best is None
    assert search(about, [cause(values((A, 0.9123), (F, 0.9051)))]).best is not None
    assert search(about, [cause(values((A, 0.9123)))]).best is not None


def test_a_claim_that_holds_because_the_card_cut_it_may_go_on_to():
    cut = claim("0.90", "f1_macro")
    about = case([A, cut], {"accuracy": 0.8712, "f1_macro": 0.9069}, differing=[A])
    assert search(about, [cause(values((A, 0.9123), (cut, 0.9075)))]).best is not None
    assert search(about, [cause(values((A, 0.9123), (cut, 0.9110)))]).best is None


def test_a_claim_that_neither_holds_nor_differs_is_no_evidence():
    about = case([A, F], {"accuracy": 0.8712, "f1_macro": 0.60}, differing=[A])
    assert search(about, [cause(values((A, 0.9123), (F, 0.10)))]).best is not None


def test_a_bare_name_holds_in_whichever_average_fits():
    bare = claim("0.8800", "f1")
    scores = {"accuracy": 0.8712, "f1_macro": 0.86, "f1_weighted": 0.88, "f1_micro": 0.8712}
    about = case([A, bare], scores, differing=[A])
    assert search(about, [cause(values((A, 0.9123), (bare, 0.86)))]).best is None
    assert search(about, [cause(values((A, 0.9123), (bare, 0.88)))]).best is not None


def test_of_settings_that_fit_the_heavier_cause_is_named_then_the_closer():
    about = case([claim("0.91")], {"accuracy": 0.8712})
    a = about.claims[0]
    far, near = cause(values((a, 0.914)), name="far"), cause(values((a, 0.9101)), name="near")
    heavy = cause(values((a, 0.9149)), name="heavy", weight=2.0)
    assert search(about, [far, near]).best.hypothesis.name == "near"
    assert search(about, [far, near, heavy]).best.hypothesis.name == "heavy"
    assert [one.hypothesis.name for one in search(about, [far, near, heavy]).others] == ["far", "near"]


def test_a_setting_that_agrees_to_the_digit_comes_before_one_that_takes_noise():
    about = case([A], {"accuracy": Score(0.8712, 1000, budget=0.002)})
    noisy, exact = cause(values((A, 0.9135)), name="noisy", weight=3.0), cause(values((A, 0.9123)), name="exact")
    assert search(about, [noisy, exact]).best.hypothesis.name == "exact"
    assert search(about, [noisy]).best.hypothesis.name == "noisy"
    assert search(about, [cause(values((A, 0.9145)))]).best is None


def test_the_closer_the_match_the_smaller_the_chance():
    about = case([A], {"accuracy": Score(0.8712, 1000, budget=0.002)})
    chances = [search(about, [cause(values((A, value)))]).chance for value in (0.9123, 0.9130, 0.9140)]
    assert chances == sorted(chances)
    assert chances[0] < 0.1 * chances[2]


def test_another_cause_that_fits_is_mentioned():
    about = case([A], {"accuracy": 0.8712})
    found = search(about, [cause(values((A, 0.9123)), name="one"), cause(values((A, 0.9123)), name="two")])
    assert "It is reached, too, if" in explained(judge(A, MATCH, about.measurement), found).reason


def test_equal_values_are_one_trial_for_the_chance():
    about = case([A, F], {"accuracy": 0.8712, "f1_macro": 0.8650})
    once = cause(values((A, 0.9123), (F, 0.9051)))
    often = cause(*[values((A, 0.9123), (F, 0.9051))] * 9)
    assert search(about, [often]).chance == pytest.approx(search(about, [once]).chance)


def test_lighter_causes_do_not_count_against_a_heavier_one():
    about = case([claim("0.912")], {"accuracy": 0.8712})
    a = about.claims[0]
    right = cause(values((a, 0.912)), name="right", weight=2.0)
    others = [values((a, 0.88 + i / 1000)) for i in range(28)]
    alone = search(about, [right]).chance
    assert search(about, [right, cause(*others, name="light")]).chance == pytest.approx(alone)
    assert search(about, [right, cause(*others, name="heavy", weight=2.0)]).chance > 3 * alone


@pytest.mark.parametrize(("count", "how"), [(8, "could explain it"), (50, "would fit, as many numbers would")])
def test_where_a_coincidence_is_likely_the_cause_is_a_note(count, how):
    about = case([claim("0.91")], {"accuracy": 0.8712})
    a = about.claims[0]
    tried = [values((a, 0.91)), *(values((a, value)) for value in np.linspace(0.75, 0.99, count - 1))]
    found = search(about, [cause(*tried)])
    assert found.chance > CERTAIN
    verdict = explained(judge(a, MATCH, about.measurement), found)
    assert verdict.kind is VerdictKind.OVERSTATED
    assert how in verdict.notes[0]
    assert verdict.explanation["certain"] is False


def test_two_digits_suffice_where_the_difference_is_huge():
    far = claim("0.90")
    about = case([far], {"accuracy": 0.35})
    tried = [values((far, value)) for value in (0.90, 0.05, 0.32, 0.28, 0.31)]
    found = search(about, [cause(*tried)])
    assert found.chance <= CERTAIN
    assert explained(judge(far, MATCH, about.measurement), found).kind is VerdictKind.EXPLAINED


def test_a_claim_near_the_rerun_is_not_explained_by_one_of_many_settings_near_it():
    near = claim("0.873")
    about = case([near], {"accuracy": 0.8712})
    tried = [values((near, 0.8712 + way * step / 1000)) for step in (1, 2, 3) for way in (-1, 1)]
    found = search(about, [cause(*tried)])
    assert found.best is not None
    assert found.chance > 0.3


@given(st.floats(0.02, 0.3), st.floats(0.001, 0.3), st.integers(3, 5))
def test_the_unit_of_the_card_changes_nothing(measured, moved, digits):
    literal = Decimal(f"{measured + moved:.{digits}f}")
    fraction, percent = claim(str(literal)), claim(str(literal.scaleb(2)), unit=Unit.PERCENT)
    chances = []
    for one in (fraction, percent):
        found = search(case([one], {"accuracy": measured}), [cause(values((one, measured + moved)))])
        assert found.best is not None
        chances.append(found.chance)
    assert chances[0] == pytest.approx(chances[1], rel=1e-6)


def test_the_chance_of_a_raw_number_is_relative_to_its_size():
    small, large = claim("2.51", "perplexity", Unit.RAW), claim("251", "perplexity", Unit.RAW)
    chances = [
        search(case([one], {"perplexity": value / 2}), [cause(values((one, value)))]).chance
        for one, value in ((small, 2.51), (large, 251.0))
    ]
    assert chances[0] == pytest.approx(chances[1])


def test_an_error_that_falls_is_as_likely_as_a_score_that_rises():
    scores = {"accuracy": 0.80, "wer": 0.20}
    a, w = claim("0.9000"), claim("0.1000", "wer")
    good, bad = values((a, 0.9), (w, 0.1)), values((a, 0.9), (w, 0.3))
    about = case([a, w], scores)
    mixed = case([a, claim("0.3000", "wer")], scores)
    other = mixed.claims[1]
    assert search(about, [cause(good)]).chance > 5 * search(mixed, [cause(values((a, 0.9), (other, 0.3)))]).chance
    assert search(about, [cause(bad)]).best is None


def test_an_error_rate_is_compared_in_its_own_form():
    rate = claim("0.0877", "error_rate")
    about = case([rate], {"accuracy": 0.8712})
    assert search(about, [cause(values((rate, 0.0877)))]).best is not None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_fits_nothing_and_counts_for_nothing(value):
    about = case([A], {"accuracy": 0.8712})
    found = search(about, [cause(values((A, value)))])
    assert (found.best, found.chance) == (None, 0.0)
    assert explanation_entry(A, found)["tried"][0]["value"] is None


def test_what_a_setting_leaves_alone_is_not_met_by_it():
    about = case([A], {"accuracy": 0.8712})
    found = search(about, [cause({}), cause(values((F, 0.9051)))])
    assert found.best is None
    assert len(found.tried) == 1


def test_a_family_is_tried_on_its_own_predictions_only():
    about = case([A], {"accuracy": 0.8712})
    tags = cause(values((A, 0.9123)), families=frozenset({Family.TAGGING}))
    assert search(about, [tags]).tried == ()


def test_paid_trials_count_as_the_others_do_also_without_values():
    about = case([A], {"accuracy": 0.8712})
    one = cause(name="rerun")
    found = search(
        about, [], [(one, Trial("rerun", "max_length 128", values((A, 0.9123)))), (one, Trial("rerun", "x", {}))]
    )
    assert found.best.trial.setting == "max_length 128"
    assert len(found.tried) == 2


def test_a_trial_may_reach_and_may_state_its_own_chance():
    about = case([A], {"accuracy": 0.8712})
    wide = Hypothesis("wide", "{setting}", None, lambda _: [Trial("wide", "x", values((A, 0.9100)), reach=0.003)])
    found = search(about, [wide])
    assert found.best is not None
    assert found.chance > 10 * search(about, [cause(values((A, 0.9123)))]).chance
    chosen = Hypothesis("chosen", "{setting}", None, lambda _: [Trial("chosen", "x", values((A, 0.9123)), chance=0.2)])
    assert search(about, [chosen]).chance == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("settings_tried", "weights", "spread", "claims_spread", "digits", "budget"),
    [
        (5, 1, 0.05, 0.05, 3, 0.0),
        (20, 3, 0.05, 0.05, 3, 0.0),
        (20, 6, 0.02, 0.02, 4, 0.002),
        (20, 6, 0.01, 0.005, 4, 0.002),
        (10, 3, 0.02, 0.01, 4, 0.0),
        (5, 1, 0.02, 0.02, 2, 0.0),
    ],
)
def test_unrelated_claims_are_explained_in_at_most_five_percent(
    settings_tried, weights, spread, claims_spread, digits, budget
):
    """Claims drawn from other models, at any distance; the settings lie where they lie."""
    chance, measured, repetitions = np.random.default_rng(0), 0.85, 500
    certain = differing = 0
    for _ in range(repetitions):
        one = printed(min(measured + chance.normal(0, claims_spread), 1.0), digits)
        score = Score(measured, 1000, budget=budget)
        if judge(one, MATCH, measurement({"accuracy": score})).kind is VerdictKind.REPRODUCED:
            continue
        differing += 1
        places = measured + chance.normal(0, spread, settings_tried)
        tried = [
            cause(*(values((one, v)) for v in places[i::weights]), name=f"c{i}", weight=1.0 + i) for i in range(weights)
        ]
        found = search(case([one], {"accuracy": score}), tried)
        certain += found.best is not None and found.chance <= CERTAIN
    assert differing > repetitions / 4
    assert certain <= 0.05 * differing + 2 * np.sqrt(0.05 * 0.95 * differing)


def test_two_unrelated_claims_that_move_together_are_explained_in_at_most_five_percent():
    chance, repetitions, certain, differing = np.random.default_rng(3), 200, 0, 0
    scores = {"accuracy": 0.85, "f1_macro": 0.84}
    for _ in range(repetitions):
        shift, places = chance.normal(0, 0.03), chance.normal(0, 0.03, 12)
        claims = printed(0.85 + shift, 3), printed(0.84 + shift + chance.normal(0, 0.002), 3, "f1_macro")
        about = case(claims, scores)
        if any(judge(one, MATCH, about.measurement).kind is VerdictKind.REPRODUCED for one in claims):
            continue
        differing += 1
        tried = [
            values((claims[0], 0.85 + place), (claims[1], 0.84 + place + chance.normal(0, 0.002))) for place in places
        ]
        found = search(about, [cause(*tried)])
        certain += found.best is not None and found.chance <= CERTAIN
    assert differing > repetitions / 2
    assert certain <= 0.05 * differing + 2 * np.sqrt(0.05 * 0.95 * differing)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_what_is_best_fits_and_the_chance_is_a_probability(seed, digits):
    chance = np.random.default_rng(seed)
    claims = printed(0.8 + chance.normal(0, 0.05), digits), printed(0.8 + chance.normal(0, 0.05), digits, "f1_macro")
    about = case(claims, {"accuracy": 0.8, "f1_macro": 0.79}, differing=claims[: chance.integers(1, 3)])
    tried = [values(*((one, one.value + chance.normal(0, 0.004)) for one in claims)) for _ in range(8)]
    found = search(about, [cause(*tried[:4]), cause(*tried[4:], weight=2.0)])
    assert 0 <= found.chance <= 1
    assert len(found.tried) == 8
    if found.best is None:
        assert not any(one.fits for one in found.tried)
    else:
        assert found.best.fits
        for one in claims:
            if one.claim_id in about.differing:
                assert one.interval.low <= found.best.trial.values[one.claim_id] <= one.interval.high


def test_the_whole_search_of_ten_thousand_examples_takes_seconds():
    from verify.judging.hypotheses.registry import HYPOTHESES

    predictions = classified(10_000, (0.3, 0.25, 0.2, 0.15, 0.1))
    metrics = ("accuracy", "f1_macro", "precision", "recall", "loss")
    claims = [
        printed(0.4321 + i / 100, 4, metric, Unit.RAW if metric == "loss" else Unit.FRACTION)
        for i, metric in enumerate(metrics)
    ]
    about = real_case(predictions, claims)
    assert "f1_macro" in scores_of(predictions)
    started = time.process_time()
    found = search(about, HYPOTHESES)
    assert time.process_time() - started < 5
    assert len(found.tried) > 100
