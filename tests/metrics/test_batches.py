import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from verify.metrics.batches import means_over_batches
from verify.metrics.registry import additive_metrics
from verify.store.predictions import LabelPredictions, SimilarityPredictions, TagPredictions

LABELS = st.integers(1, 40).flatmap(
    lambda n: st.tuples(*(st.lists(st.integers(0, 3), min_size=n, max_size=n) for _ in range(2)))
)


def batches(n, size):
    return [slice(start, start + size) for start in range(0, n, size)]


@given(LABELS, st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_scores_of_classes_are_the_mean_of_scikit_learns(sides, size):
    predicted, reference = map(np.array, sides)
    logits = np.eye(4, dtype=np.float32)[predicted]
    run = LabelPredictions(np.arange(len(reference)), logits, reference, (0, 1, 2, 3))
    names = ("accuracy", "f1_macro", "f1_weighted", "matthews_correlation")
    found = means_over_batches(run, additive_metrics(run, {}, names), names, size)
    pairs = [(reference[batch], predicted[batch]) for batch in batches(len(reference), size)]
    assert found["accuracy"] == pytest.approx(np.mean([np.mean(one == other) for one, other in pairs]))
    for average in ("macro", "weighted"):
        each = [f1_score(*pair, average=average, zero_division=0) for pair in pairs]
        assert found[f"f1_{average}"] == pytest.approx(np.mean(each))
    each = [matthews_corrcoef(*pair) if len(set(np.concatenate(pair))) > 1 else 0.0 for pair in pairs]
    assert found["matthews_correlation"] == pytest.approx(np.mean(each))


def test_many_classes_are_counted_in_blocks(monkeypatch):
    chance = np.random.default_rng(0)
    reference, logits = chance.integers(0, 50, 700), chance.normal(size=(700, 50)).astype(np.float32)
    run = LabelPredictions(np.arange(700), logits, reference, tuple(range(50)))
    whole = means_over_batches(run, {}, ["f1_macro"], 8)
    monkeypatch.setattr("verify.metrics.batches._CELLS", 200)
    assert means_over_batches(run, {}, ["f1_macro"], 8) == pytest.approx(whole)


@pytest.mark.parametrize("size", [7, 16, 100])
def test_correlations_are_the_mean_of_scipys(size):
    chance = np.random.default_rng(1)
    rating = chance.integers(0, 6, 200).astype(float)
    similarity = np.stack([rating + chance.normal(0, 2, 200) for _ in range(4)], axis=1)
    run = SimilarityPredictions(np.arange(200), similarity, rating)
    names = ("pearson", "spearman", "dot_spearman")
    found = means_over_batches(run, additive_metrics(run, {}, names), names, size)
    for name, function, column in (
        ("pearson", pearsonr, 0),
        ("spearman", spearmanr, 0),
        ("dot_spearman", spearmanr, 1),
    ):
        each = [function(similarity[batch, column], rating[batch]).statistic for batch in batches(200, size)]
        assert found[name] == pytest.approx(np.mean(each)), name


def test_a_score_that_some_batch_lacks_is_left_out():
    rating = np.array([1.0, 2.0, 3.0, 3.0])
    run = SimilarityPredictions(np.arange(4), np.arange(16.0).reshape(4, 4), rating)
    assert "spearman" in means_over_batches(run, {}, ["spearman"], 4)
    assert means_over_batches(run, {}, ["spearman"], 2) == {}
    tags = TagPredictions(np.arange(2), [[], ["O"]], [[], ["O"]], [[], [1.0]])
    assert means_over_batches(tags, additive_metrics(tags, {}), ["accuracy"], 1) == {}
