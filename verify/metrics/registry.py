"""Every metric that applies to one run's predictions, measured.

Importing this module loads numpy alone; other libraries are imported when a metric that needs them is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np

from verify.errors import DataError, EngineError
from verify.metrics.additive import Additive
from verify.metrics.families import (
    answers,
    classification,
    embedding,
    language,
    multi_label,
    regression,
    sequence,
    speech,
    text,
)
from verify.metrics.families.regression import REGRESSION_METRICS
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
)
from verify.types import Score, Setting

Applied = tuple[Mapping[str, Additive], Mapping[str, Callable[[], Score]]]
"""The metrics of one run: those that are sums over examples, and functions that give the others."""


def class_count(predictions: LabelPredictions) -> int:
    """Return the number of the data set's classes that the model or the reference shows; 0 for a regression."""
    if predictions.label_of_logit is None:
        return 0
    mapped = np.asarray(predictions.label_of_logit, np.int64)
    return len(np.union1d(mapped[mapped >= 0], predictions.reference))


def measure(
    predictions: Predictions,
    settings: Mapping[str, Setting] | None = None,
    only: Collection[str] | None = None,
    applied: Applied | None = None,
) -> tuple[dict[str, Score], tuple[str, ...]]:
    """Score a run by every metric of its family, or by those named in ``only``.

    ``settings`` are the task's (the normaliser of transcripts, the tokeniser of BLEU …). Of a classification, binary
    averages apply where :func:`class_count` is 2, whatever further classes the model has; top5_accuracy where there are
    more than five logits. Returns the scores by canonical name, and one sentence for each metric that applies but has
    no value on these data. ``applied`` is what :func:`applicable` gives, where it is at hand: of texts it costs nearly
    all of the time.

    Raises:
        DataError: if there are no examples, or references are missing.
        EngineError: if the logits are not finite, or the arrays do not fit together.
    """
    if len(predictions) == 0:
        raise DataError(
            "There is nothing to measure: the run holds no examples. Run at least one example of the split."
        )
    if isinstance(predictions, LabelPredictions):
        _check(predictions)
    additive, others = applied or applicable(predictions, settings or {}, only)
    scores: dict[str, Score] = {}
    notes: list[str] = []
    for name in (*additive, *others):
        if only is None or name in only:
            try:
                scores[name] = additive[name].score(name) if name in additive else others[name]()
            except UndefinedScoreError as undefined:
                notes.append(str(undefined))
    return scores, tuple(notes)


def applicable(
    predictions: Predictions, settings: Mapping[str, Setting], only: Collection[str] | None = None
) -> Applied:
    """The metrics of a family on one run: those that are sums over examples, and the others.

    With ``only``, costly metrics that it does not name may be missing.
    """
    if isinstance(predictions, LabelPredictions):
        return {}, _of_labels(predictions)
    if isinstance(predictions, LabelSetPredictions):
        return multi_label.metrics(predictions), multi_label.others(predictions)
    if isinstance(predictions, TagPredictions):
        return sequence.metrics(predictions), sequence.others(predictions)
    if isinstance(predictions, AnswerPredictions):
        return answers.both(predictions)
    if isinstance(predictions, SimilarityPredictions):
        return {}, embedding.metrics(predictions)
    if isinstance(predictions, LikelihoodPredictions):
        return language.metrics(predictions), {}
    if isinstance(predictions, TextPredictions):
        if predictions.family is Family.TRANSCRIPTS:
            rates = speech.RATES if only is None else only
            return speech.metrics(predictions, settings, predictions.spelling, rates), {}
        of_texts = text.summary_metrics if predictions.family is Family.SUMMARIES else text.translation_metrics
        return (of_texts(predictions, settings) if only is None else of_texts(predictions, settings, only)), {}
    raise TypeError(f"{type(predictions).__name__} has no metrics")


def additive_metrics(
    predictions: Predictions, settings: Mapping[str, Setting], only: Collection[str] | None = None
) -> Mapping[str, Additive]:
    """The metrics that are a function of sums over examples, with the statistics of each example.

    Beside those that :func:`applicable` gives, they are the accuracy (and the micro averages, which equal it),
    top5_accuracy and loss of a classification, and whatever of a regression, of similarities is no rank correlation.
    Metrics without a value on this run may be missing; with ``only``, so may those that it does not name.
    """
    if isinstance(predictions, SimilarityPredictions):
        return {
            f"{prefix}pearson": regression.moments(predictions.similarity[:, column], predictions.reference)
            for prefix, column in embedding.SIMILARITIES.items()
        }
    if not isinstance(predictions, LabelPredictions):
        return applicable(predictions, settings, only)[0]
    logits, mapping = predictions.logits, predictions.label_of_logit
    if mapping is None:
        return regression.additive(logits[:, 0].astype(np.float64), predictions.reference.astype(np.float64))
    return classification.additive(logits, mapping, predictions.reference.astype(np.int64), only)


def recorded_settings(predictions: Predictions, settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """How the texts were compared, in the words of the libraries that did it: stemmer, signature, normaliser."""
    if not isinstance(predictions, TextPredictions):
        return {}
    if predictions.family is Family.TRANSCRIPTS:
        return speech.speech_settings(settings, predictions.spelling)
    if predictions.family is Family.SUMMARIES:
        return text.summary_settings(settings)
    return text.translation_settings(settings, predictions)


def _of_labels(predictions: LabelPredictions) -> dict[str, Callable[[], Score]]:
    logits, mapping = predictions.logits, predictions.label_of_logit
    if mapping is None:
        values, targets = logits[:, 0].astype(np.float64), predictions.reference.astype(np.float64)
        return {name: partial(metric, values, targets) for name, metric in REGRESSION_METRICS.items()}
    reference = predictions.reference.astype(np.int64)
    counts = classification.class_counts(classification.predicted_labels(logits, mapping), reference)
    binary = class_count(predictions) == 2
    chosen: dict[str, Callable[[], Score]] = {
        name: partial(classification.label_score, name, counts)
        for name in classification.LABEL_METRICS
        if binary or not name.endswith("_binary")
    }
    if logits.shape[1] > 5:
        chosen["top5_accuracy"] = partial(classification.top5_accuracy, logits, mapping, reference)
    chosen["loss"] = partial(classification.loss, logits, mapping, reference)
    return chosen


def _check(predictions: LabelPredictions) -> None:
    n, mapping, reference = len(predictions.reference), predictions.label_of_logit, predictions.reference
    columns = 1 if mapping is None else len(mapping)
    if predictions.logits.shape != (n, columns):
        shape = " × ".join(str(length) for length in predictions.logits.shape)
        raise EngineError(
            f"The stored predictions do not fit together: {n} references and {columns} outputs, but logits of shape "
            f"{shape}. Run the evaluation again."
        )
    broken = int((~np.isfinite(predictions.logits)).any(axis=1).sum())
    if broken:
        raise EngineError(
            f"The model's outputs are not finite on {broken} of {n} examples, so no score can be trusted. Half "
            "precision may overflow: run it in float32. If they stay so, the weights are damaged."
        )
    missing = int((~np.isfinite(reference) if mapping is None else reference < 0).sum())
    if missing:
        raise DataError(
            f"{missing} of {n} examples have no reference label (an id below 0, or not a number), as in test splits "
            "whose labels are kept secret. Choose a split with labels."
        )
