"""What the first examples of a run say about the whole of it: never too much, and soon enough."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.claim_making import claim, measurement
from scipy import stats

from verify.checking.probes.screening import FEWEST, outlook
from verify.judging.cases import Case
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions, SimilarityPredictions, subset
from verify.tasks.registry import load_registry

N = 4000
LOOKS = (64, 192, 448, 960, 1472, 2000, 3125, N)
TASK = load_registry()["sst2"]


def of_hits(hits, labels):
    """Predictions of two classes that are right where ``hits`` says so."""
    decided = np.where(hits, labels, 1 - labels)
    logits = np.where(np.arange(2) == decided[:, None], 1.0, 0.0).astype(np.float32)
    return LabelPredictions(np.arange(len(hits)), logits, labels, (0, 1))


def case_of(predictions, **claimed):
    scores, _ = measure(predictions)
    claims = tuple(claim(f"{value:.4f}", metric) for metric, value in claimed.items())
    ids = frozenset(one.claim_id for one in claims)
    return Case(TASK, predictions, {}, measurement(scores, n=len(predictions)), claims, ids)


def runs(seed, share, moved):
    """A rerun and another run of the same examples that differs in a share of its decisions, net of ``moved``."""
    chance = np.random.default_rng(seed)
    labels = chance.integers(0, 2, N)
    hits = chance.random(N) < 0.8
    other = hits.copy()
    lost = np.flatnonzero(hits)
    gained = np.flatnonzero(~hits)
    down = int(N * (share - moved) / 2)
    up = int(N * (share + moved) / 2)
    other[chance.choice(lost, down, replace=False)] = False
    other[chance.choice(gained, up, replace=False)] = True
    return of_hits(hits, labels), of_hits(other, labels)


def part_of(predictions, n, seed=0):
    chosen = np.zeros(len(predictions), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(predictions))[:n]] = True
    return subset(predictions, chosen)


@pytest.mark.parametrize("seeds", [range(12), pytest.param(range(12, 112), marks=pytest.mark.slow)])
@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_a_run_that_gives_what_is_claimed_is_hardly_ever_given_up(share, paired, seeds):
    given_up = 0
    for seed in seeds:
        rerun, other = runs(seed, share, (-0.01, 0.0, 0.01)[seed % 3])
        case = case_of(rerun, accuracy=measure(other)[0]["accuracy"].value)
        looks = [outlook(case, part_of(other, n, seed), {}, N, paired=paired) for n in LOOKS]
        assert [one.n for one in looks] == list(LOOKS)
        given_up += any(one.is_ruled_out for one in looks)
    assert given_up <= len(seeds) // 50


@pytest.mark.parametrize("paired", [True, False])
def test_nor_is_one_whose_metric_has_no_mean(paired):
    for seed in range(10):
        rerun, other = runs(seed, 0.1, 0.01)
        scores = measure(other)[0]
        case = case_of(rerun, f1=scores["f1_binary"].value)
        looks = [outlook(case, part_of(other, n, seed), {}, N, paired=paired) for n in (192, 960, 3125)]
        assert not any(one.is_ruled_out for one in looks)


@pytest.mark.parametrize(("share", "away", "within"), [(0.02, 0.05, 960), (0.1, 0.1, 960), (0.1, 0.05, 2000)])
def test_a_run_that_is_far_from_the_claim_is_ruled_out_soon(share, away, within):
    for seed in range(10):
        rerun, other = runs(seed, share, 0.0)
        case = case_of(rerun, accuracy=measure(other)[0]["accuracy"].value + away)
        assert outlook(case, part_of(other, within, seed), {}, N, paired=True).is_ruled_out


def test_the_same_examples_say_more_than_others_would():
    rerun, other = runs(0, 0.02, 0.0)
    case = case_of(rerun, accuracy=0.75)
    part = part_of(other, 500)
    paired, alone = (outlook(case, part, {}, N, paired=how) for how in (True, False))
    (claim_id,) = paired.margins
    assert paired.margins[claim_id] < alone.margins[claim_id] / 1.5
    assert alone.values[claim_id] == pytest.approx(measure(part)[0]["accuracy"].value)
    same = measure(subset(rerun, np.isin(rerun.example, part.example)))[0]["accuracy"].value
    measured = case.measurement.scores["accuracy"].value
    assert paired.values[claim_id] == pytest.approx(measured + alone.values[claim_id] - same)


def test_the_noise_is_the_standard_error_that_theory_gives():
    rerun, other = runs(1, 0.1, 0.0)
    part = part_of(other, 1000)
    (margin,) = outlook(case_of(rerun, accuracy=0.5), part, {}, 10**9, paired=False).margins.values()
    hits = part.logits.argmax(1) == part.reference
    assert margin == pytest.approx(4 * stats.sem(hits) + 7 / 1000, rel=0.4)


def test_a_change_that_no_example_has_shown_yet_may_still_come():
    rerun, _ = runs(2, 0.1, 0.0)
    measured = measure(rerun)[0]["accuracy"].value
    for away, is_ruled_out in ((0.001, False), (0.05, True)):
        case = case_of(rerun, accuracy=measured + away)
        assert outlook(case, part_of(rerun, 512), {}, N, paired=True).is_ruled_out is is_ruled_out


def test_few_examples_rule_nothing_out():
    rerun, other = runs(3, 0.02, 0.0)
    case = case_of(rerun, accuracy=0.1)
    assert not outlook(case, part_of(other, FEWEST - 1), {}, N, paired=True).is_ruled_out
    assert outlook(case, part_of(other, FEWEST), {}, N, paired=True).is_ruled_out


def test_one_claim_that_cannot_be_met_is_enough_and_one_without_a_value_is_not():
    rerun, other = runs(4, 0.02, 0.0)
    truth = measure(other)[0]["accuracy"].value
    case = case_of(rerun, accuracy=truth, f1_macro=0.3)
    assert outlook(case, part_of(other, 500), {}, N, paired=True).is_ruled_out
    unknown = replace(case, claims=(*case_of(rerun, accuracy=truth).claims, claim("0.3", "bleu")))
    found = outlook(unknown, part_of(other, 500), {}, N, paired=True)
    assert not found.is_ruled_out
    assert len(found.values) == 1


def test_a_name_that_leaves_the_average_open_is_ruled_out_only_in_all_its_readings():
    chance = np.random.default_rng(0)
    labels = np.where(chance.random(N) < 0.9, 0, chance.integers(1, 3, N))
    decided = np.where(chance.random(N) < 0.5, labels, 0)
    rows = LabelPredictions(np.arange(N), np.eye(3, dtype=np.float32)[decided], labels, (0, 1, 2))
    scores = measure(rows)[0]
    assert abs(scores["f1_macro"].value - scores["f1_weighted"].value) > 0.1
    part = part_of(rows, 2000)
    for name in ("f1_macro", "f1_weighted"):
        assert not outlook(case_of(rows, f1=scores[name].value), part, {}, N, paired=True).is_ruled_out
    assert outlook(case_of(rows, f1=0.2), part, {}, N, paired=True).is_ruled_out


def test_an_error_rate_is_compared_as_an_error_rate():
    rerun, other = runs(5, 0.02, 0.0)
    case = case_of(rerun, error_rate=1 - measure(other)[0]["accuracy"].value)
    found = outlook(case, part_of(other, 1000), {}, N, paired=True)
    assert not found.is_ruled_out
    (value,) = found.values.values()
    assert value == pytest.approx(1 - measure(other)[0]["accuracy"].value, abs=0.02)
    assert outlook(case_of(rerun, error_rate=0.05), part_of(other, 1000), {}, N, paired=True).is_ruled_out


def test_rank_correlations_have_no_sums_and_are_judged_all_the_same():
    chance = np.random.default_rng(0)
    ratings = chance.random(N) * 5
    near = ratings + chance.normal(0, 2, N)
    rerun, other = (
        SimilarityPredictions(np.arange(N), np.stack([near + chance.normal(0, noise, N)] * 4, axis=1), ratings)
        for noise in (0.1, 3.0)
    )
    truth = measure(other)[0]["spearman"].value
    assert truth == pytest.approx(stats.spearmanr(other.similarity[:, 0], ratings).statistic)
    part = part_of(other, 1000)
    assert not outlook(case_of(rerun, spearman=truth), part, {}, N, paired=True).is_ruled_out
    assert outlook(case_of(rerun, spearman=truth + 0.3), part, {}, N, paired=True).is_ruled_out
