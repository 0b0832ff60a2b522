"""Causes that lie in what a printed number is: another average, another metric's number, another scale.

Nothing is replayed here: all numbers follow from the scores of the rerun. A number that was printed under the wrong
name bears on the claims that differ and leaves the others alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

import numpy as np

from verify.judging.cases import Case, Trial, as_read, differing_readings, in_form
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.families.classification import LABEL_METRICS, class_counts, predicted_labels
from verify.metrics.meanings import FORMS
from verify.metrics.names import METRICS
from verify.store.predictions import Family, LabelPredictions
from verify.types import Unit

_AVERAGED = ("f1", "precision", "recall")
_AVERAGES = {
    "": "over all entities",
    "binary": "of the positive class alone",
    "macro": "macro",
    "weighted": "weighted by the size of the classes",
    "micro": "micro",
    "samples": "over examples",
}

_OTHERS: Mapping[Family, Mapping[str, Mapping[str, str]]] = {
    Family.CLASSIFICATION: {
        "accuracy": {
            "f1_binary": "the accuracy is the F1",
            "recall_macro": "the accuracy is the balanced accuracy",
            "top5_accuracy": "the accuracy is the top-5 accuracy",
        },
        "top5_accuracy": {"accuracy": "the top-5 accuracy is the top-1 accuracy"},
        "f1": {"accuracy": "the F1 is the accuracy", "matthews_correlation": "the F1 is Matthews' correlation"},
        "matthews_correlation": {
            "accuracy": "Matthews' correlation is the accuracy",
            "f1_binary": "Matthews' correlation is the F1",
        },
    },
    Family.REGRESSION: {
        "mse": {"mae": "the squared error is the absolute error"},
        "mae": {"mse": "the absolute error is the squared error"},
    },
}
"""For a measured metric: the scores that were seen printed under its name."""

_SHARES = frozenset(
    ("accuracy", "top5_accuracy", "error_rate", "exact_match", "wer", "cer", "mer", "wil", "wip", "ser", "hamming_loss")
)
"""Metrics whose complement is a number that people print."""


def _averaging(case: Case) -> Iterator[Trial]:
    """All F1, precision and recall claims that differ, under each of the averages that are measured.

    The micro average of one class an example is the accuracy: where F1 alone is claimed, that is the simpler name.
    """
    scores = _scores(case)
    bases = {name.partition("_")[0] for _, name in differing_readings(case)}
    is_accuracy = case.predictions.family is Family.CLASSIFICATION
    for average, words in _AVERAGES.items():
        if average == "micro" and is_accuracy and not bases & {"precision", "recall"}:
            continue
        values = {}
        for claim, name in differing_readings(case):
            base, _, own = name.partition("_")
            other = f"{base}_{average}" if average else base
            if base in _AVERAGED and own in _AVERAGES and own != average and other in scores:
                values[claim.claim_id] = scores[other]
        yield Trial("averaging", words, values)


def _negative_label(case: Case) -> Iterator[Trial]:
    """With two classes, F1, precision and recall may be those of label 0, as where the labels were numbered by hand."""
    if "f1_binary" not in case.measurement.scores:
        return
    predictions = cast(LabelPredictions, case.predictions)
    predicted = predicted_labels(predictions.logits, cast("tuple[int, ...]", predictions.label_of_logit))
    counts = class_counts(predicted, predictions.reference.astype(np.int64))
    turned = replace(counts, labels=np.where(np.isin(counts.labels, (0, 1)), 1 - counts.labels, counts.labels))
    names = [f"{name}_binary" for name in _AVERAGED]
    yield Trial("negative_label", "0", as_read(case, {name: float(LABEL_METRICS[name](turned)) for name in names}))


def _mislabelled(case: Case) -> Iterator[Trial]:
    """All claims that differ hold one other metric's number."""
    scores = _scores(case)
    differing = list(differing_readings(case))
    table = _OTHERS.get(case.predictions.family, {})
    for claimed, others in table.items():
        ids = [claim.claim_id for claim, name in differing if name == claimed or name.startswith(f"{claimed}_")]
        for other, words in others.items():
            if other in scores:
                yield Trial("metric_mislabelled", words, dict.fromkeys(ids, scores[other]))
    if case.predictions.family is Family.CLASSIFICATION:
        for other in ("f1_macro", "f1_weighted"):
            if "f1_binary" not in scores and other in scores:
                ids = [claim.claim_id for claim, name in differing if name == "accuracy"]
                words = f"the accuracy is the F1, averaged {other.removeprefix('f1_')}"
                yield Trial("metric_mislabelled", words, dict.fromkeys(ids, scores[other]))
    for one, two in (("precision", "recall"), ("recall", "precision")):
        values = {
            claim.claim_id: scores[other]
            for claim, name in differing
            if name.partition("_")[0] == one and (other := name.replace(one, two)) in scores
        }
        yield Trial("metric_mislabelled", f"the {one} is the {two}", values)


def _exchanged(case: Case) -> Iterator[Trial]:
    """Two columns of a table may have changed places: both metrics are claimed, and neither holds."""
    scores = _scores(case)
    names = {claim.claim_id: name for claim, name in differing_readings(case)}
    for one, two in (("accuracy", "f1"), ("precision", "recall")):
        of_one = [name for name in names.values() if name.partition("_")[0] == one]
        of_two = [name for name in names.values() if name.partition("_")[0] == two]
        if of_one and of_two:
            partner = {name: of_two[0] if one == "accuracy" else name.replace(one, two) for name in of_one}
            partner |= {name: of_one[0] if one == "accuracy" else name.replace(two, one) for name in of_two}
            values = {
                claim_id: scores[partner[name]]
                for claim_id, name in names.items()
                if name in partner and partner[name] in scores
            }
            yield Trial("metrics_exchanged", f"{one} and {two}", values)


def _mean_with_accuracy(case: Case) -> Iterator[Trial]:
    """GLUE reports MRPC and QQP by the mean of F1 and accuracy (transformers#2447)."""
    scores = _scores(case)
    if "f1_binary" in scores and "accuracy" in scores:
        mean = (scores["f1_binary"] + scores["accuracy"]) / 2
        ids = [claim.claim_id for claim, name in differing_readings(case) if name in ("accuracy", "f1_binary")]
        yield Trial("mean_of_accuracy_and_f1", "F1 and accuracy", dict.fromkeys(ids, mean))


def _complement(case: Case) -> Iterator[Trial]:
    """An accuracy printed as an error rate, a WER as the share of right words, and the reverse.

    Only where it is the card that looks worse than chance: where the rerun does, its labels are in the wrong order.
    """
    scores = case.measurement.scores
    values = {}
    for claim, name in differing_readings(case):
        meant = FORMS.get(claim.metric) or METRICS.get(name)
        measured = in_form(claim.metric, name, scores[name].value)
        if claim.metric in _SHARES and meant is not None and (measured > 0.5) == meant.greater_is_better:
            values[claim.claim_id] = 1 - measured
    yield Trial("complement", "1 − x", values)


def _percent(case: Case) -> Iterator[Trial]:
    scores = case.measurement.scores
    measured = {
        claim.claim_id: in_form(claim.metric, name, scores[name].value)
        for claim, name in differing_readings(case)
        if name not in METRICS or METRICS[name].unit is Unit.FRACTION
    }
    for words, factor in (
        ("a fraction, printed as a percentage", 0.01),
        ("a percentage, printed as a fraction", 100.0),
    ):
        yield Trial("factor_100", words, {claim_id: value * factor for claim_id, value in measured.items()})


def _rooted(case: Case) -> Iterator[Trial]:
    """A root mean squared error printed as a mean squared one, and the reverse."""
    mse = case.measurement.scores.get("mse")
    if mse is not None:
        values = {
            claim.claim_id: mse.value if claim.metric == "rmse" else math.sqrt(mse.value)
            for claim, name in differing_readings(case)
            if name in ("mse", "loss")
        }
        yield Trial("squared_error", "the root of the squared error", values)


def _scores(case: Case) -> dict[str, float]:
    return {name: score.value for name, score in case.measurement.scores.items()}


_CLASSIFICATION = frozenset({Family.CLASSIFICATION})
_REGRESSION = frozenset({Family.REGRESSION})

HYPOTHESES = (
    Hypothesis("factor_100", "a factor of 100 is put right (the number is {setting})", None, _percent, weight=3.0),
    Hypothesis("complement", "the number is read as its complement ({setting})", None, _complement, weight=2.1),
    Hypothesis(
        "averaging",
        "F1, precision or recall is averaged in another way ({setting})",
        frozenset({Family.CLASSIFICATION, Family.MULTI_LABEL, Family.TAGGING}),
        _averaging,
        weight=2.0,
    ),
    Hypothesis(
        "negative_label", "the positive class is the one with label {setting}", _CLASSIFICATION, _negative_label, 1.5
    ),
    Hypothesis(
        "metrics_exchanged", "two numbers have changed places ({setting})", _CLASSIFICATION, _exchanged, weight=1.5
    ),
    Hypothesis(
        "metric_mislabelled",
        "another metric stands under this name ({setting})",
        frozenset({Family.CLASSIFICATION, Family.REGRESSION, Family.MULTI_LABEL, Family.TAGGING}),
        _mislabelled,
        weight=1.0,
    ),
    Hypothesis(
        "mean_of_accuracy_and_f1", "it is the mean of {setting}", _CLASSIFICATION, _mean_with_accuracy, weight=1.0
    ),
    Hypothesis("squared_error", "it is read as {setting}", _REGRESSION, _rooted, weight=1.5),
)
"""The hypotheses on what a number is, for all families; those of one family alone stand in its own module."""
