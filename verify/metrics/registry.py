"""The metrics that this package knows by name, and all of them measured on one run's predictions.

Importing this module loads numpy alone; scipy is imported when a regression is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from verify.errors import DataError, EngineError, UsageError
from verify.metrics import classification
from verify.metrics.regression import REGRESSION_METRICS
from verify.metrics.undefined import UndefinedScoreError
from verify.spelling import suggestion
from verify.types import Predictions, Score, Unit

CLASSIFICATION = "classification"
REGRESSION = "regression"


@dataclass(frozen=True)
class Metric:
    """What a metric is: ``kinds`` of problem that it applies to, and the unit family of its values.

    ``unit`` is FRACTION for values that cards print as a fraction or a percentage alike (correlations too), RAW for
    values that are never rescaled.
    """

    name: str
    summary: str
    kinds: tuple[str, ...] = (CLASSIFICATION,)
    greater_is_better: bool = True
    unit: Unit = Unit.FRACTION


_AVERAGED = {
    "f1": "harmonic mean of precision and recall",
    "precision": "share of a class's predictions that are right",
    "recall": "share of a class's examples that are found",
}
_AVERAGE_SUMMARY = {
    "binary": "of label 1",
    "macro": "mean over classes",
    "micro": "counts summed over all classes: equal to accuracy here",
    "weighted": "mean over classes, weighted by their number of examples",
}
_BOTH = (CLASSIFICATION, REGRESSION)
_ONLY_REGRESSION = (REGRESSION,)

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "share of examples whose predicted label is right"),
        Metric("top5_accuracy", "share of examples whose label is among the five largest logits"),
        *(
            metric
            for name, summary in _AVERAGED.items()
            for metric in (
                Metric(name, f"{summary}; the average is not stated"),
                *(Metric(f"{name}_{average}", f"{summary}: {how}") for average, how in _AVERAGE_SUMMARY.items()),
            )
        ),
        Metric("matthews_correlation", "correlation of predicted and true classes, from -1 to 1"),
        Metric("pearson", "linear correlation, from -1 to 1", _ONLY_REGRESSION),
        Metric("spearman", "rank correlation, from -1 to 1", _ONLY_REGRESSION),
        Metric("mse", "mean squared error", _ONLY_REGRESSION, greater_is_better=False, unit=Unit.RAW),
        Metric("mae", "mean absolute error", _ONLY_REGRESSION, greater_is_better=False, unit=Unit.RAW),
        Metric(
            "loss",
            "mean cross-entropy in nats; for a regression the mean squared error",
            _BOTH,
            greater_is_better=False,
            unit=Unit.RAW,
        ),
    )
}
"""Every canonical name. A bare f1, precision or recall is a name on cards; what is measured are its readings."""


def find(name: str) -> Metric:
    """Return the metric of a canonical name.

    Raises:
        UsageError: if there is none; the message gives the nearest spelling.
    """
    if name not in METRICS:
        raise UsageError(f'There is no metric "{name}". {suggestion(name, METRICS)}')
    return METRICS[name]


def readings(name: str, n_classes: int) -> tuple[str, ...]:
    """Return what a metric's name can mean on a problem of ``n_classes`` classes, the standard reading first.

    A bare "f1" on two classes is by default the F1 of label 1, in scikit-learn and `evaluate` alike. On more classes
    both of them refuse to average unasked, so no order among macro, weighted and micro is standard. Every other metric
    has one reading, itself.

    Raises:
        UsageError: if the name is not canonical.
    """
    find(name)
    if name not in _AVERAGED:
        return (name,)
    averages = ("macro", "weighted", "micro")
    return tuple(f"{name}_{average}" for average in (("binary", *averages) if n_classes == 2 else averages))


def class_count(predictions: Predictions) -> int:
    """Return the number of the data set's classes that the model or the reference shows; 0 for a regression."""
    if predictions.label_of_logit is None:
        return 0
    mapped = np.asarray(predictions.label_of_logit, np.int64)
    return len(np.union1d(mapped[mapped >= 0], predictions.reference))


def measure(predictions: Predictions, only: Collection[str] | None = None) -> tuple[dict[str, Score], tuple[str, ...]]:
    """Score a run by every metric that applies to it, or by those named in ``only``.

    Binary averages apply where :func:`class_count` is 2, whatever further classes the model has; top5_accuracy where
    there are more than five logits. Returns the scores by canonical name, and one sentence for each metric that applies
    but has no value on these data.

    Raises:
        DataError: if there are no examples, or references are missing.
        EngineError: if the logits are not finite, or the arrays do not fit together.
    """
    _check(predictions)
    scores: dict[str, Score] = {}
    notes: list[str] = []
    for name, score in _applicable(predictions).items():
        if only is None or name in only:
            try:
                scores[name] = score()
            except UndefinedScoreError as undefined:
                notes.append(str(undefined))
    return scores, tuple(notes)


def _applicable(predictions: Predictions) -> dict[str, Callable[[], Score]]:
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


def _check(predictions: Predictions) -> None:
    n, mapping, reference = len(predictions.reference), predictions.label_of_logit, predictions.reference
    if n == 0:
        raise DataError(
            "There is nothing to measure: the run holds no examples. Run at least one example of the split."
        )
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
