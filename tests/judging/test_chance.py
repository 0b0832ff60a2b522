import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from verify.judging.chance import CORRELATIONS, chance_of_a_meeting

MIDDLES = st.floats(-4, 4)
HALVES = st.floats(0.001, 0.5)
SPANS = st.tuples(MIDDLES, HALVES).map(lambda one: [one[0] - one[1], one[0] + one[1]])


def spans(*pairs):
    return np.array(pairs, float).reshape(-1, 1, 2)


def held(half, claims=1):
    return np.array([[-half, half]] * claims)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(0.5, 0.6)], norm.cdf(0.6) - norm.cdf(0.5)),
        ([(0.5, 0.6), (0.55, 0.7)], norm.cdf(0.7) - norm.cdf(0.5)),
        ([(0.5, 0.6), (-2.0, -1.9)], norm.cdf(0.6) - norm.cdf(0.5) + norm.cdf(-1.9) - norm.cdf(-2.0)),
        ([(0.05, 0.2)], norm.cdf(0.2) - norm.cdf(0.1)),
        ([(-0.05, 0.05)], 0.0),
    ],
)
def test_of_one_claim_it_is_the_normal_probability_of_meeting_a_setting_and_not_the_rerun(boxes, expected):
    differing = 1 - (norm.cdf(0.1) - norm.cdf(-0.1))
    assert chance_of_a_meeting(spans(*boxes), held(0.1)) == pytest.approx(expected / differing, abs=1e-12)


def test_nothing_tried_is_never_met():
    assert chance_of_a_meeting(np.empty((0, 2, 2)), held(0.1, 2)) == 0.0


@given(st.lists(SPANS, min_size=1, max_size=6), st.floats(0.0, 0.5))
def test_the_same_setting_twice_is_one(boxes, half):
    once = chance_of_a_meeting(spans(*boxes), held(half))
    assert chance_of_a_meeting(spans(*boxes, *boxes[::-1]), held(half)) == pytest.approx(once, abs=1e-12)


@given(st.lists(st.tuples(SPANS, SPANS), min_size=2, max_size=6), st.floats(0.0, 0.5))
def test_one_more_setting_never_makes_a_coincidence_less_likely(boxes, half):
    boxes = np.array(boxes)
    fewer, more = (chance_of_a_meeting(some, held(half, 2)) for some in (boxes[:-1], boxes))
    assert 0 <= fewer <= more + 1e-9
    assert more <= 1


@given(st.lists(st.tuples(SPANS, SPANS, SPANS), min_size=1, max_size=5), st.floats(0.0, 0.3))
def test_several_claims_meet_by_chance_no_more_often_than_each_of_them_alone(boxes, half):
    boxes = np.array(boxes)
    together = chance_of_a_meeting(boxes, held(half, 3))
    inside = norm.cdf(half) - norm.cdf(-half)
    for claim in range(3):
        alone = chance_of_a_meeting(boxes[:, [claim]], held(half)) * (1 - inside)
        assert together <= alone / (1 - inside) ** 3 + 1e-6


@given(st.integers(1, 8), st.integers(2, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_chance_of_several_claims_is_not_below_what_a_simulation_shows(count, claims, seed):
    chance = np.random.default_rng(seed)
    middles = chance.normal(0, 1, (count, 1)) + chance.normal(0, 0.3, (count, claims))
    half = chance.uniform(0.05, 0.3, claims)
    boxes = np.stack([middles - half, middles + half], axis=-1)
    stated = chance_of_a_meeting(boxes, held(0.1, claims))
    draws = 40_000
    for correlation in CORRELATIONS:
        shared, own = chance.standard_normal((draws, 1)), chance.standard_normal((draws, claims))
        shifts = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
        shifts = shifts[(np.abs(shifts) > 0.1).all(axis=1)]
        met = ((shifts[:, None] > boxes[..., 0]) & (shifts[:, None] < boxes[..., 1])).all(axis=2).any(axis=1).mean()
        assert stated >= met - 4 * np.sqrt(met * (1 - met) / len(shifts)) - 1e-4


# From the project's reference (discrepancy.md, 2.2): the simulated probability that an unrelated claim meets at least
# one of so many settings, at 2 and 3 printed digits, where settings and claim are 5 points apart, and 2 points apart.
TABLE = [
    (10, 0.05, 0.45, 0.06),
    (20, 0.05, 0.66, 0.11),
    (50, 0.05, 0.88, 0.24),
    (20, 0.02, 0.89, 0.25),
    (50, 0.02, 0.97, 0.49),
]


@pytest.mark.parametrize(("count", "spread", "two_digits", "three_digits"), TABLE)
def test_the_chance_agrees_with_the_simulated_table(count, spread, two_digits, three_digits):
    chance = np.random.default_rng(count)
    for digits, simulated in ((2, two_digits), (3, three_digits)):
        half = 0.5 * 10.0**-digits / spread
        centres = chance.standard_normal((400, count))
        found = [chance_of_a_meeting(spans(*np.stack([c - half, c + half], 1)), np.zeros((1, 2))) for c in centres]
        assert np.mean(found) == pytest.approx(simulated, rel=0.05, abs=0.01)
