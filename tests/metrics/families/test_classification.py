from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from verify.metrics.families import classification
from verify.metrics.undefined import UndefinedScoreError

LABELS = st.integers(-4, 4)
PAIRS = st.lists(st.tuples(LABELS, LABELS), min_size=1, max_size=40).map(lambda pairs: np.array(pairs, np.int64).T)
LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.integers(1, 9)),
    elements=st.floats(-50, 50, width=32) | st.integers(-2, 2).map(float),
)
SKLEARN = {
    "f1": sklearn_metrics.f1_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
}


@pytest.mark.filterwarnings("ignore:A single label was found")
@given(PAIRS)
@example(np.array([[1, 1], [0, 0]]))
@example(np.array([[0, 0], [0, 0]]))
def test_every_label_metric_equals_scikit_learn(pairs):
    predicted, reference = pairs
    counts = classification.class_counts(predicted, reference)
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(reference, predicted),
        "matthews_correlation": sklearn_metrics.matthews_corrcoef(reference, predicted),
    }
    for name, function in SKLEARN.items():
        for average in ("macro", "micro", "weighted"):
            expected[f"{name}_{average}"] = function(reference, predicted, average=average, zero_division=0)
        expected[f"{name}_binary"] = function(reference, predicted, labels=[1], average="macro", zero_division=0)
    assert set(expected) == set(classification.LABEL_METRICS)
    for name, value in expected.items():
        score = classification.label_score(name, counts)
        assert score.value == pytest.approx(value, abs=1e-12), name
        assert score.n == len(reference)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1).map(lambda pairs: np.array(pairs).T))
def test_binary_average_is_scikit_learns_default_on_two_classes(pairs):
    predicted, reference = pairs
    assume(len(np.union1d(predicted, reference)) == 2)
    counts = classification.class_counts(predicted, reference)
    for name, function in SKLEARN.items():
        value = classification.label_score(f"{name}_binary", counts).value
        assert value == pytest.approx(function(reference, predicted, zero_division=0), abs=1e-12)


@given(PAIRS, st.lists(LABELS, max_size=5))
def test_labels_that_do_not_occur_change_nothing(pairs, extra):
    counts = classification.class_counts(*pairs)
    widened = classification.class_counts(*pairs, also=np.array(extra, np.int64))
    for name in classification.LABEL_METRICS:
        expected, found = classification.label_score(name, counts), classification.label_score(name, widened)
        if name.endswith(("_macro", "_weighted")):  # numpy groups the terms of a longer sum in another way
            assert found.value == pytest.approx(expected.value, abs=1e-12)
            found = replace(found, value=expected.value)
        assert found == expected


@given(st.lists(st.tuples(LABELS, LABELS, LABELS), min_size=1, max_size=20).map(lambda rows: np.array(rows).T))
def test_batched_counts_give_the_scores_of_each_run(rows):
    reference, *runs = rows
    every = np.arange(-4, 5)
    single = [classification.class_counts(run, reference, also=every) for run in runs]
    batch = classification.ClassCounts(
        every, *(np.stack([getattr(one, part) for one in single]) for part in ("hits", "predicted", "actual"))
    )
    assert batch.n == len(reference)
    for metric in classification.LABEL_METRICS.values():
        assert metric(batch) == pytest.approx(np.array([metric(one) for one in single]), abs=1e-12)


def test_scores_that_count_hits_carry_the_exact_count():
    counts = classification.class_counts(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2]))
    for name in ("accuracy", "f1_micro", "precision_micro", "recall_micro"):
        score = classification.label_score(name, counts)
        assert (score.count, score.n, score.value) == (3, 4, 0.75)
    assert classification.label_score("f1_macro", counts).count is None


def test_matthews_correlation_does_not_overflow_on_large_runs():
    generator = np.random.default_rng(0)
    reference = generator.integers(0, 2, 400_000)
    predicted = np.where(generator.random(len(reference)) < 0.8, reference, 1 - reference)
    value = classification.label_score("matthews_correlation", classification.class_counts(predicted, reference)).value
    assert value == pytest.approx(np.corrcoef(predicted, reference)[0, 1], abs=1e-9)


def test_an_unknown_average_is_refused():
    with pytest.raises(ValueError, match="binary, macro, micro, weighted"):
        classification.f1(classification.class_counts(np.array([1]), np.array([1])), "samples")


def test_classes_that_the_data_lack_are_distinct_labels_of_their_own():
    logits = np.eye(4, dtype=np.float32)
    predicted = classification.predicted_labels(logits, (7, -1, 0, -1))
    assert predicted.tolist() == [7, -3, 0, -5]
    counts = classification.class_counts(predicted, np.array([7, 7, 0, 0]))
    assert classification.label_score("accuracy", counts).count == 2
    assert classification.label_score("f1_macro", counts).value == pytest.approx((2 / 3 + 2 / 3) / 4)


@given(LOGITS, st.data())
def test_top5_accuracy_ranks_equal_logits_by_column(logits, data):
    n, columns = logits.shape
    mapping = tuple(data.draw(st.permutations(range(columns + 1)))[:columns])
    reference = np.array(data.draw(st.lists(st.integers(0, columns), min_size=n, max_size=n)))
    best = np.argsort(-logits, axis=1, kind="stable")[:, :5]
    hits = sum(reference[row] in {mapping[column] for column in best[row]} for row in range(n))
    score = classification.top5_accuracy(logits, mapping, reference)
    assert (score.count, score.n, score.value) == (hits, n, hits / n)


def test_top5_accuracy_equals_scikit_learn_where_nothing_ties():
    generator = np.random.default_rng(1)
    logits = generator.normal(size=(3000, 20)).astype(np.float32)
    reference = generator.integers(0, 20, 3000)
    expected = sklearn_metrics.top_k_accuracy_score(reference, logits, k=5, labels=np.arange(20))
    assert classification.top5_accuracy(logits, tuple(range(20)), reference).value == expected


def test_top5_accuracy_takes_the_better_of_two_columns_for_one_label():
    logits = np.array([[0, 9, 8, 7, 6, 5, 10]], np.float32)
    mapping = (3, 0, 1, 2, 4, 5, 3)
    assert classification.top5_accuracy(logits, mapping, np.array([3])).count == 1
    assert classification.top5_accuracy(logits, mapping, np.array([5])).count == 0


@given(LOGITS, st.data())
def test_loss_equals_torch_whatever_the_order_of_the_labels(logits, data):
    n, columns = logits.shape
    mapping = tuple(data.draw(st.permutations(range(columns))))
    target = np.array(data.draw(st.lists(st.integers(0, columns - 1), min_size=n, max_size=n)))
    reference = np.array(mapping)[target]
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(target)).item()
    assert classification.loss(logits, mapping, reference).value == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_loss_of_many_wide_rows_equals_torch():
    generator = np.random.default_rng(2)
    logits = (generator.normal(size=(3000, 1000)) * 100).astype(np.float32)
    reference = generator.integers(0, 1000, 3000)
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits).double(), torch.from_numpy(reference))
    assert classification.loss(logits, tuple(range(1000)), reference).value == pytest.approx(expected.item())


def test_loss_counts_the_probability_given_to_classes_that_the_data_lack():
    logits = np.zeros((1, 4), np.float32)
    assert classification.loss(logits, (1, -1, -1, -1), np.array([1])).value == pytest.approx(np.log(4))


@pytest.mark.parametrize(("mapping", "why"), [((0, 1), "label ids 2"), ((0, 2, 2), "same label")])
def test_loss_is_undefined_without_one_logit_per_reference(mapping, why):
    logits = np.zeros((2, len(mapping)), np.float32)
    with pytest.raises(UndefinedScoreError, match=why):
        classification.loss(logits, mapping, np.array([0, 2]))
