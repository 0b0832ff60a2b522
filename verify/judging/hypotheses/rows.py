"""Other rows than the whole split, or another mean over them: a subset quoted as the whole, a mean over batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from verify.judging.cases import Case, Trial, each_reading, once, wanted
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.judging.hypotheses.statistics import statistics
from verify.metrics.batches import means_over_batches
from verify.metrics.families.answers import threshold_gains
from verify.metrics.names import METRICS
from verify.metrics.registry import measure
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import (
    AnswerPredictions,
    Family,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
    subset,
)

Rows = NDArray[np.bool_]

SIZES = (100, 200, 500, 512, 1000, 1024, 2000, 2048, 5000, 10_000)
"""How many first rows are taken where somebody saves time."""

BATCHES = (8, 16, 32, 64, 128)

SHUFFLED, SEED = 1000, 42
"""What the training guide of transformers evaluates on: ``shuffle(seed=42).select(range(1000))``."""

_RANKINGS = LabelPredictions | LabelSetPredictions | SimilarityPredictions
"""Predictions with metrics that are no sums over examples, and cheap to compute of some rows."""


def _first_rows(case: Case) -> Iterator[Trial]:
    total = len(case.predictions)
    for size in SIZES:
        chosen = case.predictions.example < size
        if chosen.any() and not chosen.all():
            yield from _trials(case, _of_rows(case, chosen), f"the first {size:,} of {total:,} rows", "first_rows")
    if total > SHUFFLED:
        chosen = np.zeros(total, dtype=np.bool_)
        chosen[np.random.default_rng(SEED).permutation(total)[:SHUFFLED]] = True
        words = f"{SHUFFLED:,} of {total:,} rows, as shuffle(seed={SEED}) draws them"
        yield from _trials(case, _of_rows(case, chosen), words, "first_rows")


def _without_last_batch(case: Case) -> Iterator[Trial]:
    total, seen = len(case.predictions), set()
    for size in BATCHES:
        kept = total - total % size
        if 0 < kept < total and kept not in seen:
            seen.add(kept)
            words = f"the first {kept:,} of {total:,} rows fill batches of {size}"
            yield from _trials(case, _of_rows(case, np.arange(total) < kept), words, "last_batch_dropped")


def _mean_over_batches(case: Case) -> Iterator[Trial]:
    for size in BATCHES:
        if size < len(case.predictions):
            means = means_over_batches(case.predictions, statistics(case), wanted(case), size)
            yield from _trials(case, means, f"batches of {size}", "mean_over_batches")


def _without_repetitions(case: Case) -> Iterator[Trial]:
    first = _first_of_their_kind(case.predictions)
    if not first.all():
        words = f"{int((~first).sum()):,} of {len(first):,} rows"
        yield from _trials(case, _of_rows(case, first), words, "repetitions_dropped")


def _trials(case: Case, scores: Mapping[str, float], words: str, hypothesis: str) -> Iterator[Trial]:
    known = {name: value for name, value in scores.items() if np.isfinite(value)}
    for average, values in each_reading(case, known):
        yield Trial(hypothesis, words + (f", averaged {average}" if average else ""), values)


def _of_rows(case: Case, chosen: Rows) -> dict[str, float]:
    """Every score that some claim can be about, of the rows ``chosen`` [N] alone."""
    additive, predictions = statistics(case), case.predictions
    scores = {}
    with np.errstate(divide="ignore", invalid="ignore"):
        for name in wanted(case):
            if name in additive:
                scores[name] = float(additive[name].value(additive[name].statistics[chosen].sum(axis=0)))
    others = [name for name in wanted(case) if name not in additive and name in METRICS]
    if others and isinstance(predictions, _RANKINGS):
        measured, _ = measure(subset(predictions, chosen), case.settings, only=others)
        scores |= {name: score.value for name, score in measured.items()}
    if others and isinstance(predictions, AnswerPredictions):
        scores |= {name: _best_threshold(case, predictions, name, chosen) for name in others}
    return scores


def _best_threshold(case: Case, predictions: AnswerPredictions, name: str, chosen: Rows) -> float:
    try:
        order, gain, unanswerable = once(case, f"gains of {name}", lambda: threshold_gains(name, predictions))
    except UndefinedScoreError:
        return np.nan
    steps = np.cumsum(gain[order[chosen[order]]])
    return (int(unanswerable[chosen].sum()) + max(0.0, float(steps.max()))) / int(chosen.sum())


def _first_of_their_kind(predictions: Predictions) -> Rows:
    """Which rows are no repetition: none before has the same output, to the last bit, and the same reference, [N].

    Inputs are not stored. Equal numbers of a model come from equal inputs, and so do equal texts beside equal
    references, unless the inputs are speech.
    """
    seen: set[object] = set()
    first = np.ones(len(predictions), dtype=np.bool_)
    for row, key in enumerate(_keys(predictions)):
        first[row] = key not in seen
        seen.add(key)
    return first


def _keys(predictions: Predictions) -> Iterator[object]:
    if isinstance(predictions, LabelPredictions | LabelSetPredictions):
        for logits, reference in zip(predictions.logits, predictions.reference, strict=True):
            yield logits.tobytes(), reference.tobytes()
    elif isinstance(predictions, SimilarityPredictions):
        for similarity, rating in zip(predictions.similarity, predictions.reference, strict=True):
            yield similarity.tobytes(), float(rating)
    elif isinstance(predictions, TagPredictions):
        for tags, names, margins in zip(predictions.tags, predictions.reference, predictions.word_margins, strict=True):
            yield tuple(tags), tuple(names), tuple(margins)
    elif isinstance(predictions, AnswerPredictions):
        for n_best, references in zip(predictions.n_best, predictions.references, strict=True):
            yield tuple(n_best), tuple(references)
    elif isinstance(predictions, TextPredictions):
        for text, texts in zip(predictions.texts, predictions.references, strict=True):
            yield text, tuple(texts)
    elif isinstance(predictions, LikelihoodPredictions):
        yield from zip(predictions.nll.tolist(), predictions.tokens.tolist(), predictions.bytes.tolist(), strict=True)


HYPOTHESES = (
    Hypothesis("first_rows", "only a part of the split is scored: {setting}", None, _first_rows, weight=0.8),
    Hypothesis(
        "mean_over_batches",
        "scores are averaged over batches and not over examples ({setting})",
        None,
        _mean_over_batches,
        weight=0.5,
    ),
    Hypothesis(
        "last_batch_dropped", "the incomplete last batch is left out ({setting})", None, _without_last_batch, weight=0.3
    ),
    Hypothesis(
        "repetitions_dropped",
        "rows that repeat an earlier one are left out ({setting})",
        frozenset(set(Family) - {Family.REGRESSION, Family.TRANSCRIPTS}),
        _without_repetitions,
        weight=0.3,
    ),
)
"""The hypotheses on rows, the most common first."""
