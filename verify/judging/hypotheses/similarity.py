"""Causes that lie in how similarities, or predicted numbers, are compared with human ratings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from verify.judging.cases import Case, Trial, differing_readings
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.families.embedding import SIMILARITIES
from verify.store.predictions import Family, LabelPredictions, SimilarityPredictions

_FUNCTIONS = {
    "": "the cosine",
    "dot_": "the dot product",
    "manhattan_": "the Manhattan distance",
    "euclidean_": "the Euclidean distance",
}
_CORRELATIONS = ("pearson", "spearman")


def _correlations(case: Case) -> Iterator[Trial]:
    """Spearman for Pearson and the reverse; the mean of both, which is GLUE's score for STS-B; and Kendall's."""
    pairs = _pairs(case)
    scores = case.measurement.scores
    other = {"pearson": "spearman", "spearman": "pearson"}
    exchanged = {
        claim_id: scores[prefix + other[kind]].value
        for claim_id, (prefix, kind) in pairs.items()
        if prefix + other[kind] in scores
    }
    kinds = {kind for _, kind in pairs.values()}
    for kind in _CORRELATIONS:
        if kinds == {kind}:
            yield Trial("correlation", f"{other[kind].title()}'s and not {kind.title()}'s", exchanged)
    if len(kinds) == 2:
        yield Trial("correlation", "Pearson's and Spearman's have changed places", exchanged)
    means = {
        claim_id: (scores[f"{prefix}pearson"].value + scores[f"{prefix}spearman"].value) / 2
        for claim_id, (prefix, _) in pairs.items()
        if f"{prefix}pearson" in scores and f"{prefix}spearman" in scores
    }
    yield Trial("correlation", "the mean of Pearson's and Spearman's", means)
    ranks = {prefix: _kendall(case, prefix) for prefix, _ in pairs.values()}
    yield Trial("correlation", "Kendall's", {claim_id: ranks[prefix] for claim_id, (prefix, _) in pairs.items()})


def _functions(case: Case) -> Iterator[Trial]:
    """The similarity of two embeddings may be any of four: all claims that differ move together."""
    pairs, scores = _pairs(case), case.measurement.scores
    for function, words in _FUNCTIONS.items():
        values = {
            claim_id: scores[function + kind].value
            for claim_id, (prefix, kind) in pairs.items()
            if prefix != function and function + kind in scores
        }
        yield Trial("similarity_function", words, values)


def _pairs(case: Case) -> dict[str, tuple[str, str]]:
    """The similarity function's prefix and the correlation of every claim that differs."""
    found = {}
    for claim, name in differing_readings(case):
        kind = next((kind for kind in _CORRELATIONS if name.endswith(kind)), None)
        if kind is not None and name.removesuffix(kind) in SIMILARITIES:
            found[claim.claim_id] = (name.removesuffix(kind), kind)
    return found


def _kendall(case: Case, prefix: str) -> float:
    from scipy.stats import kendalltau

    if isinstance(case.predictions, SimilarityPredictions):
        values = case.predictions.similarity[:, SIMILARITIES[prefix]]
        return float(kendalltau(values, case.predictions.reference).statistic)
    predictions = cast(LabelPredictions, case.predictions)
    return float(kendalltau(predictions.logits[:, 0], predictions.reference).statistic)


HYPOTHESES = (
    Hypothesis(
        "correlation",
        "the correlation is another one ({setting})",
        frozenset({Family.SIMILARITY, Family.REGRESSION}),
        _correlations,
        weight=2.0,
    ),
    Hypothesis(
        "similarity_function",
        "the similarity of two texts is {setting} of their embeddings",
        frozenset({Family.SIMILARITY}),
        _functions,
        weight=2.0,
    ),
)
"""The hypotheses on similarities and predicted numbers."""
