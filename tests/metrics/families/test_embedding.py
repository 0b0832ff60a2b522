import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from verify.metrics.families import embedding
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import SimilarityPredictions

VECTORS = st.lists(st.integers(-9, 9).map(float), min_size=3, max_size=3)
PAIRS = st.lists(st.tuples(VECTORS, VECTORS, st.integers(0, 20).map(lambda r: r / 4)), min_size=3, max_size=20)


def run(left, right, ratings):
    """Similarities of pairs of vectors by their definitions, pair by pair."""
    rows = []
    for a, b in zip(left, right, strict=True):
        cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        rows.append([cosine, a @ b, -np.abs(a - b).sum(), -np.linalg.norm(a - b)])
    return SimilarityPredictions(np.arange(len(rows)), np.array(rows), np.array(ratings, float))


@given(PAIRS)
@settings(deadline=None)
def test_every_correlation_is_scipys_of_its_similarity(pairs):
    left, right = (np.array([pair[side] for pair in pairs]) + 0.25 for side in (0, 1))
    ratings = [rating for _, _, rating in pairs]
    predictions = run(left, right, ratings)
    columns = {"": 0, "dot_": 1, "manhattan_": 2, "euclidean_": 3}
    metrics = embedding.metrics(predictions)
    assert set(metrics) == {f"{prefix}{name}" for prefix in columns for name in ("pearson", "spearman")}
    for name, score in metrics.items():
        prefix, _, kind = name.rpartition("_")
        similarity = predictions.similarity[:, columns[f"{prefix}_" if prefix else ""]]
        if np.ptp(similarity) < 1e-9 or np.ptp(ratings) == 0:
            continue
        oracle = stats.pearsonr if kind == "pearson" else stats.spearmanr
        assert score().value == pytest.approx(oracle(similarity, ratings).statistic, abs=1e-9), name
        assert score().n == len(pairs)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=12, unique=True), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_ratings_that_follow_the_similarity_correlate_fully_in_any_order(values, chance):
    order = chance.sample(range(len(values)), len(values))
    similarity = np.repeat(np.array(values, float)[:, None], 4, axis=1)
    for rows in (slice(None), order):
        predictions = SimilarityPredictions(
            np.arange(len(values)), similarity[rows], 2 * np.array(values, float)[rows] + 1
        )
        assert [score().value for score in embedding.metrics(predictions).values()] == pytest.approx([1] * 8)


def test_an_undefined_correlation_says_which_one_it_is():
    predictions = SimilarityPredictions(
        np.arange(3), np.array([[0.1, 2, -1, -1], [0.4, 3, -1, -2], [np.nan, 1, -1, -3]]), np.array([1.0, 2.0, 3.0])
    )
    metrics = embedding.metrics(predictions)
    with pytest.raises(UndefinedScoreError, match="manhattan_spearman is undefined: all 3 predictions are -1"):
        metrics["manhattan_spearman"]()
    with pytest.raises(UndefinedScoreError, match=r"^pearson is undefined: it came out as nan"):
        metrics["pearson"]()
    assert metrics["euclidean_spearman"]().value == -1
