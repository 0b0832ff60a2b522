"""What is allowed for flips: against scipy's distribution, and against simulated honest reruns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson, skellam

from verify.metrics.flips.rate import LEVEL, allowed_flips, net_flips


@pytest.mark.parametrize("expected", [0.01, 0.9, 20.0, 3000.0])
def test_the_net_number_of_flips_is_the_difference_of_two_poisson_numbers(expected):
    (found,) = net_flips(np.array([expected]))
    np.testing.assert_allclose(found, skellam.pmf(np.arange(len(found)), expected / 2, expected / 2), atol=1e-12)
    assert found[0] + 2 * found[1:].sum() == pytest.approx(1)


@pytest.mark.parametrize("examples", [872, 10_000, 50_000])
@pytest.mark.parametrize("rate", [0.0005, 0.001, 0.002])
def test_honest_reruns_are_contradicted_in_one_case_of_a_hundred_at_most(examples, rate):
    """Exact enumeration: both the probe's flips and those of the author's run have the true rate."""
    mean = rate * examples
    seen = np.arange(int(mean + 10 * np.sqrt(mean) + 10))
    allowed = np.array([allowed_flips(int(flips), examples) for flips in seen])
    contradicted = poisson.pmf(seen, mean) @ (2 * skellam.sf(allowed, mean / 2, mean / 2))
    assert contradicted <= 0.0101


@pytest.mark.parametrize("rate", [0.0005, 0.001, 0.002])
def test_half_a_point_of_872_examples_is_noticed_in_four_of_five_cases(rate):
    mean, inflation = rate * 872, 0.005 * 872
    seen = np.arange(40)
    allowed = np.array([allowed_flips(int(flips), 872) for flips in seen])
    missed = poisson.pmf(seen, mean) @ skellam.sf(np.ceil(inflation - allowed) - 1, mean / 2, mean / 2)
    assert missed <= 0.2


@given(st.integers(0, 400), st.integers(1, 100_000))
def test_more_flips_never_allow_for_less(flips, examples):
    flips = min(flips, examples - 1)
    assert 0 <= allowed_flips(flips, examples) <= allowed_flips(flips + 1, examples) <= examples


def test_what_many_flips_show_outweighs_what_was_expected():
    """Where a tenth of 5,000 examples flipped, the allowance is that of a known rate of a tenth, within a few flips."""
    known = skellam.isf(LEVEL / 2, 250, 250)
    assert abs(allowed_flips(500, 5000) - known) <= 4


def test_nothing_was_run():
    assert allowed_flips(0, 0) == 0
