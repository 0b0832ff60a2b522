"""Bets on means and ratios, against enumeration of every order in which a tiny split can come."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.judging.betting import Means, Ratios, wealth
from verify.judging.martingale import Shares

EIGHTHS = st.integers(0, 8).map(lambda number: number / 8)
POPULATIONS = st.lists(EIGHTHS, min_size=2, max_size=4).map(np.array)
COUNTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=4)
ENUMERATED = settings(max_examples=20, deadline=None)


def orders(values):
    """Every different order, all of which are equally likely."""
    return [np.array(order) for order in sorted(set(permutations(values)))]


def f1_parts(rows):
    """Numerator and denominator of F1 of each example, from right ones, others predicted, and others that are there."""
    right, wrong, missed = np.array(rows, float).T
    return 2 * right, 2 * right + wrong + missed


@ENUMERATED
@given(POPULATIONS)
def test_at_the_true_mean_the_wealth_keeps_its_mean_over_every_order(values):
    for n in range(1, len(values) + 1):
        found = [wealth(order[:n], len(values), values.mean(), 0.0) for order in orders(values)]
        assert np.mean(found) == pytest.approx(1, abs=1e-6)


@ENUMERATED
@given(POPULATIONS, EIGHTHS)
def test_above_the_true_mean_the_wealth_shrinks_on_average(values, above):
    for n in range(1, len(values) + 1):
        found = [wealth(order[:n], len(values), values.mean() + above, 0.0) for order in orders(values)]
        assert np.mean(found) <= 1 + 1e-6


def test_no_upper_bound_is_needed_to_show_that_a_mean_is_large():
    values = np.array([0.0, 0.25, 3.0, 500.0, 1.0])
    for n in range(1, 6):
        found = [wealth(order[:n], 5, values.mean(), 0.0) for order in orders(values)]
        assert np.mean(found) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "values", [[0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 0], [0.5, 0.5, 0.25, 1, 1, 0.75], [0.125, 0, 0, 0, 0.125, 1]]
)
def test_either_direction_ever_rejects_the_true_mean_with_a_probability_of_at_most_alpha(values):
    population = len(values)
    for direction in (Means.against_at_most, Means.against_at_least):
        highest = [
            max(direction(Means(order[:n], 0.0, 1.0, population), np.mean(values)) for n in range(population + 1))
            for order in orders(values)
        ]
        for alpha in (0.5, 0.3, 0.2, 0.1):
            assert np.mean(np.array(highest) >= 1 / alpha) <= alpha


@given(st.lists(EIGHTHS, min_size=1, max_size=40).map(np.array), st.integers(0, 40), EIGHTHS, EIGHTHS)
def test_the_wealth_falls_as_the_mean_grows(values, more, one, other):
    population = len(values) + more
    low, high = sorted((one, other))
    assert wealth(values, population, low, 0.0) >= wealth(values, population, high, 0.0) * (1 - 1e-9)


@given(st.lists(EIGHTHS, min_size=1, max_size=12).map(np.array), st.integers(0, 9), EIGHTHS)
def test_what_was_seen_rules_out_means_that_it_makes_impossible(values, more, mean):
    population = len(values) + more
    is_impossible = values.sum() > population * mean + 1e-6
    assert (wealth(values, population, mean, 0.0) == math.inf) == is_impossible


@given(st.lists(EIGHTHS, min_size=1, max_size=12).map(np.array), st.integers(0, 9), EIGHTHS)
def test_the_two_directions_mirror_each_other(values, more, bound):
    seen = Means(values, 0.0, 1.0, len(values) + more)
    mirrored = Means(1 - values, 0.0, 1.0, len(values) + more)
    assert seen.against_at_least(bound) == pytest.approx(mirrored.against_at_most(1 - bound), rel=1e-6)


def test_when_every_value_is_seen_the_answer_is_certain():
    seen = Means(np.array([0.1] * 7 + [0.7] * 3), 0.0, 1.0, 10)
    assert seen.against_at_most(0.28) == seen.against_at_least(0.28) == 0
    assert seen.against_at_most(0.2799) == seen.against_at_least(0.2801) == math.inf
    assert seen.interval(0.05) == pytest.approx((0.28, 0.28), abs=1e-12)


def test_without_a_bound_nothing_is_shown_in_its_direction_before_the_end():
    values = np.full(900, 5.0)
    seen = Means(values, 0.0, math.inf, 1000)
    assert seen.against_at_most(1.0) > 1e6
    assert seen.against_at_least(100.0) == 1
    low, high = seen.interval(0.05)
    assert 4.5 <= low < 5
    assert high == math.inf
    assert Means(np.full(1000, 5.0), 0.0, math.inf, 1000).against_at_least(5.1) == math.inf


def test_nothing_seen_shows_only_what_is_impossible():
    seen = Means(np.empty(0), 0.0, 1.0, 10)
    assert seen.against_at_most(0.5) == seen.against_at_least(0.5) == 1
    assert seen.against_at_most(-0.1) == seen.against_at_least(1.1) == math.inf
    assert seen.interval(0.05) == (0, 1)
    assert Ratios(np.empty(0), np.empty(0), 4.0, True, 10).interval(0.05) == (0, 1)


@pytest.mark.parametrize("values", [[0, 0, 0, 0, 1], [0.5, 0.5, 0.25, 1, 1]])
def test_the_interval_ever_misses_the_true_mean_with_a_probability_of_at_most_alpha(values):
    alpha, truth = 0.3, np.mean(values)
    missed = 0
    for order in orders(values):
        intervals = [Means(order[:n], 0.0, 1.0, 5).interval(alpha) for n in range(1, 6)]
        missed += any(not low - 1e-9 <= truth <= high + 1e-9 for low, high in intervals)
    assert missed / len(orders(values)) <= alpha


@settings(max_examples=30, deadline=None)
@given(st.lists(EIGHTHS, min_size=1, max_size=60).map(np.array), st.integers(1, 60), st.sampled_from([0.05, 0.4]))
def test_the_interval_ends_where_rejection_begins(values, more, alpha):
    seen = Means(values, 0.0, 1.0, len(values) + more)
    low, high = seen.interval(alpha)
    assert low <= values.mean() + 1e-12
    assert high >= values.mean() - 1e-12
    for value in (low + 1e-5, high - 1e-5):
        if low + 1e-5 < value < high - 1e-5 and value != values.mean():
            assert seen.against_at_most(value) < 2 / alpha or value > values.mean()
            assert seen.against_at_least(value) < 2 / alpha or value < values.mean()
    assert seen.against_at_most(low - 1e-5) >= 2 / alpha
    assert seen.against_at_least(high + 1e-5) >= 2 / alpha


@ENUMERATED
@given(COUNTS)
def test_at_the_true_micro_f1_the_wealth_keeps_its_mean_in_both_directions(rows):
    above, below = f1_parts(rows)
    if below.sum() == 0:
        return
    truth, population = above.sum() / below.sum(), len(rows)
    for n in range(1, population):
        samples = [Ratios(*f1_parts(order[:n]), 12.0, True, population) for order in orders(rows)]
        assert np.mean([one.against_at_most(truth) for one in samples]) == pytest.approx(1, abs=1e-6)
        assert np.mean([one.against_at_least(truth) for one in samples]) == pytest.approx(1, abs=1e-6)


@given(COUNTS, st.integers(0, 5), st.floats(0, 1), st.floats(0, 1))
def test_evidence_about_a_ratio_is_monotone(rows, more, one, other):
    seen = Ratios(*f1_parts(rows), 12.0, True, len(rows) + more)
    low, high = sorted((one, other))
    assert seen.against_at_most(low) >= seen.against_at_most(high) * (1 - 1e-9)
    assert seen.against_at_least(low) <= seen.against_at_least(high) * (1 + 1e-9)


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(0, 5))
def test_the_interval_of_a_ratio_holds_whatever_the_rest_may_be_or_leaves_it_out_with_evidence(rows, more):
    above, below = f1_parts(rows)
    seen = Ratios(above, below, 12.0, True, len(rows) + more)
    low, high = seen.interval(0.05)
    assert 0 <= low <= high <= 1
    if below.sum():
        assert low - 1e-12 <= above.sum() / below.sum() <= high + 1e-12
        if more == 0:
            assert low == pytest.approx(high) == above.sum() / below.sum()
    else:
        assert (low, high) == (0, 1)


def test_a_ratio_of_ones_is_a_mean():
    values = np.random.default_rng(1).random(50)
    ratio, mean = Ratios(values, np.ones(50), 1.0, True, 80), Means(values, 0.0, 1.0, 80)
    for bound in (0.0, 0.2, 0.5, 0.7, 1.0, 1.2):
        assert ratio.against_at_most(bound) == pytest.approx(mean.against_at_most(bound), rel=1e-6)
        assert ratio.against_at_least(bound) == pytest.approx(mean.against_at_least(bound), rel=1e-6)
    assert ratio.interval(0.1) == pytest.approx(mean.interval(0.1), abs=1e-5)


def test_a_word_error_rate_is_shown_to_be_large_from_the_longest_reference_alone():
    random = np.random.default_rng(2)
    words = random.integers(1, 30, 2000).astype(float)
    errors = random.binomial(words.astype(int), 0.25).astype(float)
    seen = Ratios(errors[:1000], words[:1000], 29.0, False, 2000)
    assert seen.against_at_most(0.2) > 1000
    assert seen.against_at_least(0.3) == 1
    low, high = seen.interval(0.05)
    assert 0.2 < low < errors.sum() / words.sum()
    assert high == math.inf
    assert Ratios(errors[:1000], words[:1000], math.inf, False, 2000).against_at_most(0.0001) == 1
    whole = Ratios(errors, words, 29.0, False, 2000)
    assert whole.interval(0.05) == pytest.approx((errors.sum() / words.sum(),) * 2)
    assert whole.against_at_least(0.3) == whole.against_at_most(0.2) == math.inf


def test_bets_on_hits_and_misses_need_about_as_many_examples_as_the_exact_test():
    """A share that is known to hold nothing but 0 and 1 has a test of its own; its price here is modest."""
    random = np.random.default_rng(3)
    needed = {"exact": [], "bets": []}
    for _ in range(20):
        hits = (random.permutation(5000) < 4250).astype(float)
        looks = range(50, 5001, 50)
        exact = (n for n in looks if Shares(int(hits[:n].sum()), n, 5000).against_at_least(0.9) >= 20)
        bets = (n for n in looks if Means(hits[:n], 0.0, 1.0, 5000).against_at_least(0.9) >= 20)
        needed["exact"].append(next(exact))
        needed["bets"].append(next(bets))
    assert np.mean(needed["bets"]) < 1.3 * np.mean(needed["exact"])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Means(np.array([0.5, 1.5]), 0.0, 1.0, 9), "do not lie in"),
        (lambda: Means(np.array([math.nan]), 0.0, 1.0, 9), "finitely many"),
        (lambda: Means(np.zeros(3), 0.0, 1.0, 2), "of 2 examples"),
        (lambda: Ratios(np.zeros(3), np.zeros(2), 1.0, True, 9), "3 numerators and 2 denominators"),
        (lambda: Ratios(np.ones(1), np.full(1, 3.0), 2.0, True, 9), "larger than the largest"),
        (lambda: Ratios(-np.ones(1), np.ones(1), 2.0, False, 9), "negative"),
        (lambda: Ratios(np.full(1, 2.0), np.ones(1), 2.0, True, 9), "larger than 1"),
    ],
)
def test_values_that_break_what_is_promised_of_them_are_refused(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_continuing_repeats_what_was_seen():
    seen = Means(np.array([0.25, 0.75]), 0.0, 1.0, 9).continued(5)
    assert (seen.values.tolist(), seen.population) == ([0.25, 0.75, 0.25, 0.75, 0.25], 9)
    rate = Ratios(np.array([1.0, 0.0]), np.array([2.0, 3.0]), 4.0, False, 9).continued(3)
    assert (rate.above.tolist(), rate.below.tolist()) == ([1, 0, 1], [2, 3, 2])
