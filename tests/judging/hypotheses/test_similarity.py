import numpy as np
import pytest
from helpers.case_making import case, printed, verdicts
from scipy import stats

from verify.judging.hypotheses import similarity
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.store.predictions import LabelPredictions, SimilarityPredictions
from verify.types import Unit, VerdictKind


def embedded(n=1200, seed=0):
    """Pairs of vectors of unequal length, the closer the better they are rated."""
    chance = np.random.default_rng(seed)
    rating = chance.uniform(0, 5, n)
    left = chance.normal(0, 1, (n, 24)) * chance.uniform(0.7, 1.4, (n, 1))
    right = left + chance.normal(0, 1, (n, 24)) * (2.2 - 0.35 * rating + chance.normal(0, 0.3, n))[:, None]
    dot = (left * right).sum(axis=1)
    cosine = dot / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    apart = left - right
    columns = [cosine, dot, -np.abs(apart).sum(axis=1), -np.linalg.norm(apart, axis=1)]
    return SimilarityPredictions(np.arange(n), np.stack(columns, axis=1), rating)


RUN = embedded()
COSINE, DOT, MANHATTAN, EUCLIDEAN = RUN.similarity.T


def correlation(function, values):
    return float(getattr(stats, function)(values, RUN.reference).statistic)


def explained_by(*claims, run=RUN):
    about = case(run, claims)
    assert about.differing == {one.claim_id for one in claims}
    found = verdicts(about, HYPOTHESES)
    assert all(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    return found[0].explanation["found"]["hypothesis"], found[0].explanation["found"]["setting"]


@pytest.mark.parametrize(
    ("claimed", "function", "setting"),
    [
        ("spearman", "pearsonr", "Pearson's and not Spearman's"),
        ("pearson", "spearmanr", "Spearman's and not Pearson's"),
        ("spearman", "kendalltau", "Kendall's"),
    ],
)
@pytest.mark.parametrize("unit", [Unit.FRACTION, Unit.PERCENT])
def test_another_correlation_is_found(claimed, function, setting, unit):
    claim = printed(correlation(function, COSINE), 4 if unit is Unit.FRACTION else 2, claimed, unit)
    assert explained_by(claim) == ("correlation", setting)


def test_exchanged_correlations_are_one_cause():
    claims = [
        printed(correlation("pearsonr", COSINE), metric="spearman"),
        printed(correlation("spearmanr", COSINE), metric="pearson"),
    ]
    assert explained_by(*claims) == ("correlation", "Pearson's and Spearman's have changed places")


def test_the_mean_of_both_is_found_as_glue_reports_it():
    mean = (correlation("pearsonr", COSINE) + correlation("spearmanr", COSINE)) / 2
    assert explained_by(printed(mean, metric="pearson"))[1] == "the mean of Pearson's and Spearman's"


@pytest.mark.parametrize(
    ("values", "setting"),
    [(DOT, "the dot product"), (MANHATTAN, "the Manhattan distance"), (EUCLIDEAN, "the Euclidean distance")],
)
def test_another_similarity_is_found_and_moves_all_claims(values, setting):
    claims = [printed(correlation(f"{name}r", values), metric=name) for name in ("pearson", "spearman")]
    assert explained_by(*claims) == ("similarity_function", setting)


def test_a_predicted_number_has_its_correlations_tried_too():
    run = LabelPredictions(RUN.example, COSINE[:, None].astype(np.float32) * 5, RUN.reference, None)
    pearson = float(stats.pearsonr(run.logits[:, 0], run.reference).statistic)
    assert explained_by(printed(pearson, metric="spearman"), run=run)[0] == "correlation"


def test_only_what_differs_is_another_correlation():
    claims = [
        printed(correlation("pearsonr", COSINE), metric="spearman"),
        printed(correlation("pearsonr", COSINE), metric="pearson"),
        printed(correlation("spearmanr", DOT), metric="dot_spearman"),
    ]
    found = verdicts(case(RUN, claims), HYPOTHESES)
    assert [verdict.kind for verdict in found] == [
        VerdictKind.EXPLAINED,
        VerdictKind.REPRODUCED,
        VerdictKind.REPRODUCED,
    ]


def test_claims_of_another_model_are_left_unexplained():
    explained = 0
    for seed in range(1, 21):
        other = embedded(seed=seed)
        claims = [
            printed(float(getattr(stats, f"{name}r")(other.similarity[:, 0], other.reference).statistic), metric=name)
            for name in ("pearson", "spearman")
        ]
        about = case(RUN, claims)
        found = verdicts(about, similarity.HYPOTHESES)
        explained += any(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    assert explained <= 1
