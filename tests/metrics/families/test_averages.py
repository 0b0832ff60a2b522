import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import precision_recall_fscore_support

from verify.metrics.families.averages import averaged, by_samples, counted
from verify.metrics.undefined import UndefinedScoreError

SHAPES = st.tuples(st.just(2), st.integers(1, 12), st.integers(2, 5))
SETS = SHAPES.flatmap(lambda shape: hnp.arrays(np.bool_, shape))


def counts_of(predicted, reference):
    return np.stack([predicted & reference, predicted, reference], axis=1).astype(np.float64)


@given(SETS)
def test_every_average_equals_scikit_learn(sets):
    predicted, reference = sets
    counts = counts_of(predicted, reference)
    for average in ("micro", "macro", "weighted"):
        expected = precision_recall_fscore_support(reference, predicted, average=average, zero_division=0)
        metrics = averaged(counts, average, "_x", every_class=True)
        for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
            assert metrics[f"{name}_x"].score(name).value == pytest.approx(value, abs=1e-9)
    expected = precision_recall_fscore_support(reference, predicted, average="samples", zero_division=0)
    for name, value in zip(("precision", "recall", "f1"), expected, strict=False):
        assert by_samples(counts)[name].mean() == pytest.approx(value, abs=1e-9)


@given(SETS)
def test_sums_may_carry_leading_axes(sets):
    counts = counts_of(*sets)
    for average in ("micro", "macro", "weighted"):
        for metric in averaged(counts, average, "", every_class=True).values():
            rows = metric.statistics
            both = metric.value(np.stack([rows, 2 * rows[::-1]]))
            assert both.shape == (2, len(rows))
            assert both[0] == pytest.approx([float(metric.value(row)) for row in rows])


def test_a_class_that_nobody_names_counts_only_on_request():
    counts = counts_of(np.array([[True, False]]), np.array([[True, False]]))
    assert averaged(counts, "macro", "")["f1"].score("f1").value == 1
    assert averaged(counts, "macro", "", every_class=True)["f1"].score("f1").value == 0.5


def test_no_class_at_all():
    counts = np.zeros((2, 3, 0))
    assert averaged(counts, "micro", "")["f1"].score("f1").value == 0
    assert averaged(counts, "weighted", "")["f1"].score("f1").value == 0
    with pytest.raises(UndefinedScoreError):
        averaged(counts, "macro", "")["f1"].score("f1")


def test_counted():
    assert counted([0, 2, 2, 2], [1, 0, 1, 1], (3, 2)).tolist() == [[0, 1], [0, 0], [1, 2]]
    assert counted([], [], (2, 2)).tolist() == [[0, 0], [0, 0]]
