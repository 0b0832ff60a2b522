"""Metrics of sentence embeddings: how well the similarity of two texts ranks, or follows, human ratings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from verify.metrics.families.regression import pearson, spearman
from verify.store.predictions import SimilarityPredictions
from verify.types import Score

SIMILARITIES: Mapping[str, int] = {"": 0, "dot_": 1, "manhattan_": 2, "euclidean_": 3}
"""The prefix of a metric's name, and the column of ``similarity`` that it is about: without a prefix, the cosine."""


def metrics(predictions: SimilarityPredictions) -> Mapping[str, Callable[[], Score]]:
    """Functions that give pearson, spearman, dot_pearson … manhattan_spearman, euclidean_spearman, in -1..1.

    The bare names are of the cosine, which is what cards and MTEB mean by them. Distances are negative in the
    predictions, so that a greater similarity is always the greater number. A function raises UndefinedScoreError where
    there are fewer than two examples, or one side is constant or not finite.
    """
    return {
        f"{prefix}{name}": partial(
            correlation, predictions.similarity[:, column], predictions.reference, f"{prefix}{name}"
        )
        for prefix, column in SIMILARITIES.items()
        for name, correlation in (("pearson", pearson), ("spearman", spearman))
    }
