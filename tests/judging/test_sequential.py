import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.judging.betting import Means, Ratios
from verify.judging.many import flagged
from verify.judging.martingale import Shares
from verify.judging.sequential import OUTSIDE, Answer, Standing, expected, how_many_more, seen_of, standing
from verify.metrics.additive import Additive, mean_of, ratio, ratio_or_zero, share_of

ROWS = np.array([[1.0, 4.0], [0.0, 2.0], [3.0, 3.0]])


def ever(population, total, alpha, rejects):
    """The probability that ``rejects`` holds after any number of examples, if so many of all are hits."""
    alive, rejected = {0: 1.0}, 0.0
    for n in range(1, population + 1):
        after: dict[int, float] = {}
        for hits, chance in alive.items():
            share = (total - hits) / (population - n + 1)
            for more, part in ((1, share), (0, 1 - share)):
                if part > 0:
                    after[hits + more] = after.get(hits + more, 0.0) + chance * part
        stopped = {hits for hits in after if rejects(Shares(hits, n, population))}
        rejected += sum(after.pop(hits) for hits in stopped)
        alive = after
    return rejected


@pytest.mark.parametrize("total", [54, 55, 57, 58])
def test_an_honest_claim_is_ever_contradicted_in_either_direction_with_a_probability_of_at_most_alpha(total):
    population, alpha = 60, 0.2
    low, high = 54 / 60, 58 / 60
    chance = ever(
        population, total, alpha, lambda seen: standing(seen, low, high, 56 / 60).answer(alpha, OUTSIDE) is not None
    )
    assert chance <= alpha


@pytest.mark.parametrize("total", [53, 59])
def test_a_value_just_outside_is_ever_taken_for_one_inside_with_a_probability_of_at_most_alpha(total):
    population, alpha = 60, 0.2
    chance = ever(
        population,
        total,
        alpha,
        lambda seen: standing(seen, 54 / 60, 58 / 60, 56 / 60).answer(alpha, {Answer.INSIDE}) is not None,
    )
    assert chance <= alpha


@pytest.mark.parametrize("values", [[0, 0.5, 1, 1, 1, 0.75], [0, 0, 0, 0, 0, 1]])
def test_of_means_too_both_directions_together_contradict_the_truth_with_at_most_alpha(values):
    truth, orders = np.mean(values), sorted(set(permutations(values)))
    highest = [
        max(standing(Means(np.array(order[:n]), 0.0, 1.0, 6), truth, truth, truth).outside for n in range(7))
        for order in orders
    ]
    for alpha in (0.5, 0.2, 0.1):
        assert np.mean(np.array(highest) >= 1 / alpha) <= alpha
    assert np.mean([standing(Means(np.array(o[:4]), 0.0, 1.0, 6), truth, truth, truth).outside for o in orders]) <= 1


@pytest.mark.parametrize(
    ("hits", "answer"),
    [(899, Answer.BELOW), (900, Answer.INSIDE), (910, Answer.INSIDE), (920, Answer.INSIDE), (921, Answer.ABOVE)],
)
def test_the_whole_split_leaves_no_doubt_and_the_ends_belong_to_the_range(hits, answer):
    values = np.array([1.0] * hits + [0.0] * (1000 - hits))
    for seen in (
        Shares(hits, 1000, 1000),
        Means(values, 0.0, 1.0, 1000),
        Ratios(values, np.ones(1000), 1.0, True, 1000),
    ):
        found = standing(seen, 0.9, 0.92, 0.91)
        assert found.answer(1e-9) is answer
        assert [getattr(found, one) == math.inf for one in Answer].count(True) == 1


def test_a_part_shows_what_is_far_off_and_does_not_show_what_is_near():
    assert standing(Shares(160, 200, 10_000), 0.9, 0.92, 0.91).answer(0.05) is Answer.BELOW
    assert standing(Shares(200, 200, 10_000), 0.7, 0.72, 0.71).answer(0.05) is Answer.ABOVE
    assert standing(Shares(182, 200, 10_000), 0.9, 0.92, 0.91).answer(0.05) is None
    assert standing(Shares(6370, 7000, 10_000), 0.9, 0.92, 0.91).answer(0.05) is Answer.INSIDE


def test_only_the_answers_asked_for_are_given():
    inside = Standing(0.0, 0.0, 30.0)
    assert inside.answer(0.05) is Answer.INSIDE
    assert inside.answer(0.05, OUTSIDE) is None
    assert inside.answer(0.01) is None
    assert Standing(20.0, 0.0, 0.0).answer(0.05, OUTSIDE) is Answer.BELOW
    assert Standing(0.0, 20.0, 0.0).answer(0.05, OUTSIDE) is Answer.ABOVE


@given(st.integers(1, 300), st.data())
def test_what_is_outside_is_not_inside(population, data):
    n = data.draw(st.integers(0, population))
    seen = Shares(data.draw(st.integers(0, n)), n, population)
    low, high = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    found = standing(seen, low, high, (low + high) / 2)
    assert min(found.outside, found.inside) <= 1 + 1e-9
    assert flagged({"claim": found.outside}, 0.05) == ({"claim"} if found.outside >= 20 else set())


@given(st.integers(1, 300), st.data())
def test_an_interval_with_the_same_guess_agrees_with_an_answer_outside(population, data):
    n = data.draw(st.integers(0, population))
    seen = Shares(data.draw(st.integers(0, n)), n, population)
    low, high = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    first, last = seen.interval(0.05, expected(low, high, low))
    answer = standing(seen, low, high, low).answer(0.05)
    holds_any = math.ceil(low * population - 1e-6) <= math.floor(high * population + 1e-6)
    if answer in OUTSIDE and holds_any:
        assert first > high - 1e-8 or last < low + 1e-8


@pytest.mark.parametrize(
    "seen",
    [
        Shares(178, 200, 10_000),
        Means(np.tile([1.0, 1.0, 1.0, 0.58], 50), 0.0, 1.0, 10_000),
        Ratios(np.tile([6.0, 8.0, 3.0], 70), np.tile([6.0, 9.0, 4.0], 70), 12.0, True, 10_000),
    ],
)
def test_so_many_more_examples_like_those_seen_bring_an_answer_and_a_tenth_fewer_do_not(seen):
    low, high = 0.91, 0.94
    more = how_many_more(seen, low, high, 0.92, 0.001)
    assert 0 < more < 9000
    needed = seen.n + more
    assert standing(seen.continued(needed), low, high, 0.92).answer(0.001) is Answer.BELOW
    assert standing(seen.continued(math.floor(needed / 1.11)), low, high, 0.92).answer(0.001) is None
    assert how_many_more(seen.continued(needed), low, high, 0.92, 0.001) == 0


def test_where_nothing_short_of_the_whole_split_will_do_that_is_said():
    on_the_margin = Shares(900, 1000, 10_000)
    assert how_many_more(on_the_margin, 0.9, 0.92, 0.91, 0.05) == 9000
    assert how_many_more(Shares(0, 0, 10_000), 0.9, 0.92, 0.91, 0.05) == 10_000
    honest = Shares(910, 1000, 10_000)
    assert how_many_more(honest, 0.9, 0.92, 0.91, 0.05, OUTSIDE) == 9000
    assert how_many_more(honest, 0.9, 0.92, 0.91, 0.05) < 7000
    unbounded = Means(np.full(10, 2.0), 0.0, math.inf, 50)
    assert how_many_more(unbounded, 3.0, 4.0, 3.5, 0.05, {Answer.BELOW}) == 40


def test_each_metric_is_seen_as_what_it_is():
    hits = np.array([True, False, True])
    assert seen_of("accuracy", share_of(hits), 9) == Shares(2, 3, 9)
    overlap = seen_of("f1", mean_of(np.array([0.5, 1.0])), 9)
    assert isinstance(overlap, Means)
    assert (overlap.lower, overlap.upper, overlap.population) == (0, 1, 9)
    loss = seen_of("loss", mean_of(np.array([0.5, 7.0])), 9)
    assert isinstance(loss, Means)
    assert (loss.lower, loss.upper) == (0, math.inf)
    rate = seen_of("wer", Additive(ROWS, ratio), 9, most=20.0)
    assert isinstance(rate, Ratios)
    assert (rate.most, rate.is_share) == (20, False)
    tags = seen_of("f1", Additive(ROWS, ratio_or_zero), 9)
    assert isinstance(tags, Ratios)
    assert (tags.most, tags.is_share) == (math.inf, True)
    some = seen_of("has_answer_f1", Additive(np.array([[0.5, 1.0], [0.0, 0.0]]), ratio), 9)
    assert isinstance(some, Ratios)
    assert some.most == 1
    assert seen_of("bleu", Additive(ROWS, lambda sums: sums[..., 0]), 9) is None


def test_a_metric_that_nobody_knows_has_no_bounds_and_shows_nothing_early():
    seen = seen_of("my_score", mean_of(np.array([0.5, -7.0])), 9)
    found = standing(seen, 0.4, 0.6, 0.5)
    assert (found.below, found.above, found.inside) == (0.5, 0.5, 1.0)
