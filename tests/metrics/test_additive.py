import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from verify.metrics.additive import Additive, effect_of_one, mean_of, measure, ratio, ratio_or_zero, share_of
from verify.metrics.undefined import UndefinedScoreError

VALUES = hnp.arrays(np.float64, st.integers(1, 30), elements=st.integers(-64, 64).map(lambda number: number / 8))
HITS = hnp.arrays(np.bool_, st.integers(1, 30))
RATES = hnp.arrays(np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=st.integers(1, 9).map(float))


@given(VALUES)
def test_a_mean(values):
    score = mean_of(values).score("m")
    assert score.value == pytest.approx(np.mean(values), abs=1e-12)
    assert (score.n, score.count) == (len(values), None)


@given(HITS)
def test_a_share_carries_its_exact_count(hits):
    score = share_of(hits).score("m")
    assert (score.count, score.n) == (sum(hits.tolist()), len(hits))
    assert score.value == score.count / score.n


def test_a_share_of_words_counts_words_not_rows():
    score = Additive(np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 2.0]]), ratio, is_share=True).score("accuracy")
    assert (score.count, score.n, score.value) == (4, 6, 4 / 6)


def test_a_rate_divides_sums_and_not_rows():
    assert Additive(np.array([[1.0, 10.0], [1.0, 2.0]]), ratio).score("wer").value == pytest.approx(2 / 12)


@pytest.mark.parametrize("value", [ratio, ratio_or_zero])
def test_a_quotient_is_told_from_other_functions_of_sums(value):
    rate = Additive(np.array([[1.0, 10.0], [1.0, 2.0]]), value)
    assert rate.is_quotient
    assert not rate.is_mean
    assert not Additive(rate.statistics, lambda sums: np.exp(value(sums))).is_quotient
    assert mean_of(np.ones(2)).is_quotient
    assert mean_of(np.ones(2)).is_mean
    assert share_of(np.ones(2, np.bool_)).is_mean


def test_without_a_denominator_a_ratio_is_nothing_or_0():
    sums = np.array([[1.0, 2.0], [0.0, 0.0]])
    assert ratio(sums) == pytest.approx([0.5, math.nan], nan_ok=True)
    assert ratio_or_zero(sums).tolist() == [0.5, 0.0]
    assert float(ratio_or_zero(sums[1])) == 0.0


@given(RATES, st.data())
def test_the_effect_of_one_is_that_of_each_row_made_average(statistics, data):
    rows = np.array(data.draw(st.lists(st.integers(0, len(statistics) - 1), min_size=1, unique=True)))
    for metric in (Additive(statistics, ratio), Additive(statistics, lambda sums: np.log(sums[..., 0]) * sums[..., 1])):
        changes = []
        for row in rows:
            changed = statistics.copy()
            changed[row] = statistics.mean(axis=0)
            changes.append(Additive(changed, metric.value).score("m").value - metric.score("m").value)
        expected = math.sqrt(sum(change**2 for change in changes) / len(changes))
        assert effect_of_one(metric, rows) == pytest.approx(expected, abs=1e-9)


@given(HITS)
def test_one_changed_prediction_moves_a_share_by_no_more_than_one_example(hits):
    rows = np.arange(len(hits))
    assert effect_of_one(share_of(hits), rows) <= 1 / len(hits) + 1e-12
    if hits.all() or not hits.any():
        assert effect_of_one(share_of(hits), rows) == 0


def test_an_effect_that_has_no_value_anywhere_is_none():
    assert effect_of_one(Additive(np.zeros((3, 2)), ratio), np.arange(3)) == 0


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        (Additive(np.zeros((2, 2)), ratio, is_share=True), "there is nothing to count"),
        (Additive(np.zeros((2, 2)), ratio), "nan on 2 examples"),
        (Additive(np.array([[1.0, 0.0]]), ratio), "inf on 1 examples"),
        (mean_of(np.empty(0)), "nan on 0 examples"),
        (share_of(np.empty(0, np.bool_)), "there is nothing to count"),
    ],
)
def test_a_score_without_a_value_says_so(metric, why):
    with pytest.raises(UndefinedScoreError, match=f"wer is undefined: .*{why}"):
        metric.score("wer")


def test_measure_keeps_what_has_a_value_and_says_why_the_rest_has_none():
    scores, notes = measure({"f1": mean_of(np.array([0.5, 1.0])), "wer": Additive(np.zeros((1, 2)), ratio)})
    assert {name: score.value for name, score in scores.items()} == {"f1": 0.75}
    assert [note.split(":")[0] for note in notes] == ["wer is undefined"]
