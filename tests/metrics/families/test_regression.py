import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn import metrics as sklearn_metrics

from verify.metrics.families import regression
from verify.metrics.undefined import UndefinedScoreError

NUMBERS = st.integers(-2000, 2000).map(lambda number: number / 8)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=40).map(lambda pairs: np.array(pairs).T)


@given(PAIRS)
def test_correlations_equal_their_definition(pairs):
    predicted, reference = pairs
    assume(np.ptp(predicted) > 0 and np.ptp(reference) > 0)
    assert regression.pearson(predicted, reference).value == pytest.approx(np.corrcoef(pairs)[0, 1], abs=1e-9)
    ranks = np.corrcoef(rankdata(predicted), rankdata(reference))[0, 1]
    assert regression.spearman(predicted, reference).value == pytest.approx(ranks, abs=1e-9)


@given(PAIRS)
def test_errors_equal_scikit_learn(pairs):
    predicted, reference = pairs
    squared = sklearn_metrics.mean_squared_error(reference, predicted)
    assert regression.mse(predicted, reference).value == pytest.approx(squared)
    assert regression.loss(predicted, reference).value == pytest.approx(squared)
    absolute = sklearn_metrics.mean_absolute_error(reference, predicted)
    assert regression.mae(predicted, reference).value == pytest.approx(absolute)
    assert regression.mae(predicted, reference).n == len(reference)


@pytest.mark.parametrize("correlation", [regression.pearson, regression.spearman])
@pytest.mark.parametrize(
    ("predicted", "reference", "why"),
    [
        ([3.0, 3.0], [1.0, 2.0], "all 2 predictions are 3"),
        ([1.0, 2.0], [0.5, 0.5], "all 2 references are 0.5"),
        ([1.0], [2.0], "needs two examples"),
    ],
)
def test_a_correlation_without_variation_is_undefined(correlation, predicted, reference, why):
    with pytest.raises(UndefinedScoreError, match=why):
        correlation(np.array(predicted), np.array(reference))


def test_a_correlation_lost_to_rounding_is_undefined():
    with pytest.raises(UndefinedScoreError, match="hardly vary"):
        regression.pearson(np.array([1.0, 1.0 + 4e-16, 1.0]), np.array([1.0, 2.0, 3.0]))


def test_an_error_beyond_the_range_of_floats_is_undefined():
    with pytest.raises(UndefinedScoreError, match="inf on 1 examples"):
        regression.mse(np.array([0.0]), np.array([1e200]))


def test_a_correlation_of_sums_has_no_value_where_a_side_is_constant_but_for_rounding():
    reference = np.array([3.1, 3.1, 3.1, 3.1, 7.0, 9.0])
    metric = regression.moments(np.arange(6) * 0.1 + 1e6, reference)
    weights = np.array([[1, 1, 1, 1, 1, 1], [3, 0, 2, 1, 0, 0], [0, 0, 0, 1, 2, 1]], np.float64)
    whole, constant, part = metric.value(weights @ metric.statistics)
    assert whole == pytest.approx(np.corrcoef(np.arange(6), reference)[0, 1], abs=1e-6)
    assert np.isnan(constant)
    assert part == pytest.approx(np.corrcoef([3, 4, 4, 5], [3.1, 7, 7, 9])[0, 1], abs=1e-6)
