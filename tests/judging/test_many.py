import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.judging.many import flagged, needed

ALPHAS = st.sampled_from([0.01, 0.05, 0.1, 0.5, 1.0])
E_VALUES = st.lists(
    st.one_of(
        st.floats(0, 1e6),
        st.sampled_from([0.0, 1.0, 10.0, 20.0, 40.0, 200.0, math.inf]),
    ),
    max_size=8,
)


def named(values):
    return {f"claim {number}": float(value) for number, value in enumerate(values)}


def by_brute_force(e_values, alpha):
    """The largest set that is self-consistent: each of its k members has an e-value of at least m / (k · alpha)."""
    m = len(e_values)
    for k in range(m, 0, -1):
        for chosen in combinations(e_values, k):
            if all(e_values[name] >= m / (k * alpha) for name in chosen):
                return set(chosen)
    return set()


@given(E_VALUES, ALPHAS)
def test_flagged_is_the_largest_self_consistent_set(values, alpha):
    e_values = named(values)
    assert flagged(e_values, alpha) == by_brute_force(e_values, alpha)


@given(E_VALUES.filter(bool), ALPHAS)
def test_more_evidence_never_takes_a_flag_away(values, alpha):
    before = flagged(named(values), alpha)
    assert before <= flagged(named([2 * value for value in values]), alpha)


def test_a_single_claim_needs_what_its_own_test_needs():
    assert needed(1, 0.05) == 20
    assert flagged({"only": 20.0}, 0.05) == {"only"}
    assert flagged({"only": 19.9}, 0.05) == set()


def test_one_large_value_among_many_claims_is_not_enough():
    others = named([1.0] * 199)
    assert flagged({**others, "large": 30.0}, 0.05) == set()
    assert needed(200, 0.05) == 4000
    assert flagged({**others, "large": 4000.0}, 0.05) == {"large"}


def test_what_a_full_rerun_contradicts_is_always_flagged_and_helps_others():
    e_values = {"full": math.inf, "full too": math.inf, "sampled": 30.0, "holds": 0.0}
    assert flagged(e_values, 0.05) == {"full", "full too", "sampled"}
    assert flagged({"sampled": 30.0, "holds": 0.0, "a": 1.0, "b": 1.0}, 0.05) == set()


def test_nothing_attempted_flags_nothing():
    assert flagged({}, 0.05) == set()


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_what_is_no_e_value_is_refused(value):
    with pytest.raises(ValueError, match="and that of odd is"):
        flagged({"fine": 1.0, "odd": value}, 0.05)


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.1, math.nan])
def test_alpha_is_a_fraction(alpha):
    with pytest.raises(ValueError, match="alpha is above 0"):
        flagged({"claim": 1.0}, alpha)


def test_at_least_one_claim_is_attempted():
    with pytest.raises(ValueError, match="at least one claim"):
        needed(0, 0.05)


def shared(generator, m):
    """Likelihood ratios of one common observation: the claims of one model, read from the same predictions."""
    return np.exp(2 * generator.normal() - 2) * np.ones(m)


def opposed(generator, m):
    """Likelihood ratios of observations that sum to 0."""
    noise = generator.normal(size=m)
    noise = (noise - noise.mean()) / math.sqrt(1 - 1 / m)
    return np.exp(2 * noise - 2)


def worst(generator, m, alpha=0.1):
    """As often as an e-value can: one claim at a time, with just what it needs."""
    values = np.zeros(m)
    if generator.random() < alpha:
        values[generator.integers(m)] = m / alpha
    return values


@pytest.mark.parametrize("honest", [shared, opposed, worst])
@pytest.mark.parametrize("wrong", [0, 5])
def test_the_share_of_honest_claims_among_flagged_ones_stays_below_alpha_however_they_depend(honest, wrong):
    generator, alpha, m, runs = np.random.default_rng(7), 0.1, 20, 4000
    shares = []
    for _ in range(runs):
        values = honest(generator, m)
        values[:wrong] = np.exp(2 * generator.normal(3, 1, wrong) - 2)
        chosen = flagged(named(values), alpha)
        false = sum(int(name.split()[1]) >= wrong for name in chosen)
        shares.append(false / max(len(chosen), 1))
    error = np.std(shares) / math.sqrt(runs)
    assert np.mean(shares) <= alpha + 3 * error
    if honest is worst and wrong == 0:
        assert np.mean(shares) >= alpha - 3 * error, "the bound is reached, so the test could fail"


def test_claims_that_are_far_off_are_found():
    generator = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        wrong = np.exp(3 * generator.normal(4, 1, 10) - 4.5)
        honest = np.exp(3 * generator.normal(0, 1, 90) - 4.5)
        found += len(flagged(named([*wrong, *honest]), 0.05) & {f"claim {number}" for number in range(10)})
    assert found / 2000 > 0.6
