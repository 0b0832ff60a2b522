"""The exact test of a count, against enumeration of every order in which a small split can come."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from verify.judging.martingale import Guess, Shares

GUESSES = (None, Guess(0.9, 0.01), Guess(0.5, 0.2), Guess(0.0, 0.0), Guess(1.0, 0.1), Guess(1.7, 3.0))


@st.composite
def samples(draw, most=60):
    population = draw(st.integers(1, most))
    n = draw(st.integers(0, population))
    return Shares(draw(st.integers(0, n)), n, population)


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("population", [1, 4, 8])
def test_the_mean_over_every_order_is_1_as_long_as_both_outcomes_may_come_and_never_more(population, guess):
    for total in range(population + 1):
        orders = [set(places) for places in combinations(range(population), total)]
        for n in range(population + 1):
            values = [Shares(sum(p < n for p in places), n, population).e_value(total, guess) for places in orders]
            if n <= min(total, population - total):
                assert np.mean(values) == pytest.approx(1, abs=1e-9)
            assert np.mean(values) <= 1 + 1e-9


@pytest.mark.parametrize("guess", GUESSES)
def test_in_no_state_is_the_evidence_against_the_truth_expected_to_grow(guess):
    population = 9
    for total in range(population + 1):
        for n in range(population):
            for hits in range(max(0, total - (population - n)), min(n, total) + 1):
                chance = (total - hits) / (population - n)
                later = sum(
                    part * Shares(hits + more, n + 1, population).e_value(total, guess)
                    for more, part in ((1, chance), (0, 1 - chance))
                    if part > 0
                )
                now = Shares(hits, n, population).e_value(total, guess)
                assert later <= now * (1 + 1e-9)
                if 0 < chance < 1:
                    assert later == pytest.approx(now, rel=1e-9)


@given(samples(most=20), st.integers(0, 20))
def test_without_a_guess_it_is_the_prior_of_a_count_over_its_posterior(seen, total):
    total = min(total, seen.population)
    counts = np.arange(seen.population + 1)
    likelihood = hypergeom.pmf(seen.hits, seen.population, counts, seen.n)
    if likelihood[total] == 0:
        assert seen.e_value(total) == math.inf
    else:
        posterior = likelihood / likelihood.sum()
        assert seen.e_value(total) == pytest.approx(1 / (seen.population + 1) / posterior[total], rel=1e-9)


@pytest.mark.parametrize("alpha", [0.05, 0.2])
@pytest.mark.parametrize("guess", [None, Guess(0.9, 0.01), Guess(0.9, 0.1)])
def test_the_truth_is_ever_rejected_with_a_probability_of_at_most_alpha(guess, alpha):
    """Looking after every single example, by dynamic programming over all orders of 80 examples."""
    population = 80
    ever = []
    for total in (0, 1, 8, 40, 64, 70, 72, 76, 79, 80):
        alive, rejected = np.zeros(population + 2), 0.0
        alive[0] = 1.0
        for n in range(1, population + 1):
            hits = np.arange(population + 1)
            chance = np.clip((total - hits) / (population - n + 1), 0, 1)
            stayed = alive[:-1] * (1 - chance)
            stayed[1:] += alive[:-2] * chance[:-1]
            for count in np.flatnonzero(stayed > 0):
                if count <= n and Shares(int(count), n, population).e_value(total, guess) >= 1 / alpha:
                    rejected += stayed[count]
                    stayed[count] = 0.0
            alive[:-1] = stayed
        assert rejected + alive.sum() == pytest.approx(1)
        ever.append(rejected)
    assert max(ever) <= alpha
    assert max(ever) > alpha / 20  # the test does reject


@given(samples(), st.floats(0, 1), st.floats(0, 1), st.sampled_from(GUESSES))
def test_a_range_of_shares_is_as_likely_as_the_likeliest_count_in_it(seen, one, other, guess):
    least, most = sorted((one, other))
    slack = 1e-9
    counts = [k for k in range(seen.population + 1) if least - slack <= k / seen.population <= most + slack]
    expected = min((seen.e_value(total, guess) for total in counts), default=math.inf)
    assert seen.against(least, most, guess) == pytest.approx(expected, rel=1e-9)


@given(samples(), st.floats(-0.5, 1.5), st.sampled_from(GUESSES))
def test_at_least_and_at_most_are_ranges_to_the_ends(seen, bound, guess):
    shares = np.arange(seen.population + 1) / seen.population
    values = np.array([seen.e_value(total, guess) for total in range(seen.population + 1)])
    upper, lower = values[shares >= bound - 1e-9], values[shares <= bound + 1e-9]
    assert seen.against_at_least(bound, guess) == pytest.approx(upper.min(initial=math.inf), rel=1e-9)
    assert seen.against_at_most(bound, guess) == pytest.approx(lower.min(initial=math.inf), rel=1e-9)


def test_the_bound_itself_belongs_to_both_sides_in_spite_of_rounding():
    seen = Shares(7, 10, 10)
    for bound in (0.7, 0.1 * 7, 1 - 0.3):
        assert seen.against_at_least(bound) <= 1
        assert seen.against_at_most(bound) <= 1
    assert seen.against_at_least(0.71) == seen.against_at_most(0.69) == math.inf


@given(samples(), st.sampled_from([0.01, 0.05, 0.3]), st.sampled_from(GUESSES))
def test_the_interval_holds_exactly_what_is_not_rejected(seen, alpha, guess):
    kept = [total for total in range(seen.population + 1) if seen.e_value(total, guess) < 1 / alpha]
    assert seen.interval(alpha, guess) == (kept[0] / seen.population, kept[-1] / seen.population)
    assert len(kept) == kept[-1] - kept[0] + 1


def test_when_every_example_is_seen_the_interval_is_a_point():
    assert Shares(358, 408, 408).interval(0.05, Guess(0.9, 0.01)) == (358 / 408, 358 / 408)
    assert Shares(0, 0, 408).interval(0.05) == (0, 1)


def test_a_good_guess_brings_an_answer_sooner():
    seen = Shares(3640, 4000, 10_000)
    good, bad = Guess(0.91, 0.01), Guess(0.6, 0.01)
    assert seen.against_at_most(0.9, good) > 3 * seen.against_at_most(0.9) > 3 * seen.against_at_most(0.9, bad)


def test_large_splits_and_overwhelming_evidence_stay_finite_or_infinite():
    seen = Shares(0, 1_000_000, 10_000_000)
    assert seen.against_at_least(0.9, Guess(0.95, 0.001)) > 1e300
    assert seen.interval(0.05)[1] < 2e-5


@pytest.mark.parametrize("counts", [(3, 2, 5), (-1, 2, 5), (2, 6, 5), (0, 0, 0)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="cannot be"):
        Shares(*counts)


@given(samples(), st.data())
def test_continuing_keeps_what_was_seen(seen, data):
    n = data.draw(st.integers(seen.n, seen.population))
    later = seen.continued(n)
    assert (later.n, later.population) == (n, seen.population)
    assert 0 <= later.hits - seen.hits <= n - seen.n
    if seen.n:
        assert later.hits / max(n, 1) == pytest.approx(seen.hits / seen.n, abs=0.51 / max(n, 1) + 1e-9)
