"""Whether a model said the same of every example, which no score by itself shows."""

from __future__ import annotations

import numpy as np

from verify.store.predictions import (
    AnswerPredictions,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
)

_FEWEST = 10  # examples: below, that all are alike says little
_CLOSE = 1e-6


def constant_note(predictions: Predictions) -> tuple[str, ...]:
    """One sentence if the outputs of ten or more examples are all the same, none otherwise."""
    count = len(predictions)
    if count < _FEWEST:
        return ()
    found = _same(predictions)
    if found is None:
        return ()
    return (f"the model gave the same output for each of the {count} examples ({found}): it does not read its input",)


def _same(predictions: Predictions) -> str | None:
    """What all outputs are, in words, or None if they differ."""
    if isinstance(predictions, LabelPredictions | LabelSetPredictions):
        logits = np.asarray(predictions.logits, dtype=np.float64)
        if not bool((np.ptp(logits, axis=0) <= _CLOSE).all()):
            return None
        return "logits of zero" if not np.abs(logits).max() > _CLOSE else "logits that agree within 0.000001"
    if isinstance(predictions, SimilarityPredictions):
        return "one similarity" if np.ptp(predictions.similarity) <= _CLOSE else None
    if isinstance(predictions, TextPredictions | AnswerPredictions):
        texts = set(predictions.texts)
        return f"the text {next(iter(texts))[:40]!r}" if len(texts) == 1 else None
    if isinstance(predictions, TagPredictions):
        tags = {tag for row in predictions.tags for tag in row}
        margins = np.asarray([margin for row in predictions.word_margins for margin in row], dtype=np.float64)
        alike = len(margins) > 0 and np.ptp(margins) <= _CLOSE
        return f"the tag {next(iter(tags))} with one certainty" if len(tags) == 1 and alike else None
    return _likelihood(predictions) if isinstance(predictions, LikelihoodPredictions) else None


def _likelihood(predictions: LikelihoodPredictions) -> str | None:
    """What a language model that reads nothing gives to every token: one likelihood, as of a head of zeros."""
    known = predictions.tokens > 0
    each = predictions.nll[known] / predictions.tokens[known]
    is_one = int(known.sum()) >= _FEWEST and bool(np.ptp(each) <= _CLOSE * max(1.0, float(np.abs(each).max())))
    return "one likelihood for every token" if is_one else None
