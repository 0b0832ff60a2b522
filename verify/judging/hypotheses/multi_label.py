"""Causes that lie in when one of several classes counts as predicted, and in what "accuracy" means then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from verify.judging.cases import Case, Trial, differing_readings, each_reading, standard_reading
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.additive import measure
from verify.metrics.families.multi_label import metrics
from verify.store.predictions import Family, LabelSetPredictions

THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
"""Thresholds of a class's probability that people use."""

WITHOUT_SIGMOID = 1 / (1 + float(np.exp(-0.5)))
"""The threshold that results where a logit, and not its sigmoid, is compared with 0.5."""

_GRID = tuple(round(0.01 * step, 2) for step in range(5, 96))


def _thresholds(case: Case) -> Iterator[Trial]:
    predictions = _predictions(case)
    for threshold in THRESHOLDS:
        if threshold != predictions.threshold:
            yield from _at(case, replace(predictions, threshold=threshold), f"{threshold:g}")
    if predictions.threshold != WITHOUT_SIGMOID:
        yield from _at(
            case, replace(predictions, threshold=WITHOUT_SIGMOID), "0.5 of the output itself, without the sigmoid"
        )
    yield from _at(case, replace(predictions, threshold=_best(predictions)), "the best for micro F1 on these data")


def _best(predictions: LabelSetPredictions) -> float:
    """The threshold with the largest micro F1, of hundredths: from sorted scores, without looking at a threshold twice.

    A label that the model has no class for is never predicted, and a class that the data lack is never right.
    """
    labels = np.asarray(predictions.label_of_logit)
    right = np.where(labels >= 0, predictions.reference[:, labels.clip(min=0)], False)
    borders = np.log(np.array(_GRID) / (1 - np.array(_GRID)))
    predicted, hits = _above(predictions.logits, borders), _above(predictions.logits[right], borders)
    f1 = 2 * hits / np.maximum(predicted + predictions.reference.sum(), 1)
    return _GRID[int(f1.argmax())]


def _above(logits: NDArray[np.float32], borders: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many logits exceed each border."""
    return logits.size - np.searchsorted(np.sort(logits, axis=None), borders, side="right")


def _largest_only(case: Case) -> Iterator[Trial]:
    """Each example gets its most likely class and no other, as a classifier for one class would give it."""
    predictions = _predictions(case)
    chosen = np.full(predictions.logits.shape, -100.0, np.float32)
    chosen[np.arange(len(chosen)), predictions.logits.argmax(axis=1)] = 100.0
    yield from _at(case, replace(predictions, logits=chosen), "the most likely one")


def _accuracy(case: Case) -> Iterator[Trial]:
    """The accuracy of a set of labels may be that of single yes-or-no labels, or the share of shared labels."""
    scores = {name: score.value for name, score in case.measurement.scores.items()}
    others: Mapping[str, float | None] = {
        "that of every single label": 1 - scores["hamming_loss"] if "hamming_loss" in scores else None,
        "the labels that prediction and truth share": scores.get("jaccard"),
        "the micro F1": scores.get("f1_micro"),
    }
    ids = [claim.claim_id for claim, name in differing_readings(case) if name == "accuracy"]
    for words, value in others.items():
        if value is not None:
            yield Trial("label_accuracy", words, dict.fromkeys(ids, value))


def _at(case: Case, predictions: LabelSetPredictions, words: str) -> Iterator[Trial]:
    """The claims of what depends on the choice alone: the loss and the areas under curves stay as they are."""
    measured = case.measurement.scores
    wanted = {name for claim in case.claims if (name := standard_reading(claim.metric, measured))}
    averages = {name for name in measured if name.partition("_")[0] in ("f1", "precision", "recall")}
    additive = metrics(predictions)
    chosen = {name: additive[name] for name in sorted((wanted | averages) & additive.keys() - {"loss"})}
    scores, _ = measure(chosen)
    for average, values in each_reading(case, {name: score.value for name, score in scores.items()}):
        yield Trial("threshold", words + (f", averaged {average}" if average else ""), values)


def _predictions(case: Case) -> LabelSetPredictions:
    return cast(LabelSetPredictions, case.predictions)


_FAMILIES = frozenset({Family.MULTI_LABEL})

HYPOTHESES = (
    Hypothesis(
        "threshold",
        "the threshold at which a class is predicted is another one ({setting})",
        _FAMILIES,
        _thresholds,
        2.0,
    ),
    Hypothesis("largest_class_only", "only one class is predicted ({setting})", _FAMILIES, _largest_only, 2.0),
    Hypothesis("label_accuracy", "the accuracy is another one ({setting})", _FAMILIES, _accuracy, 2.0),
)
"""The hypotheses on classifiers that give an example any number of labels."""
