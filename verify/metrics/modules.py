"""The package's metrics as `evaluate` modules that load as classes: no script from the Hub, no network.

    from verify.metrics.modules import module
    evaluate.combine([module("accuracy"), module("f1_macro")]).compute(predictions=…, references=…)

Importing `evaluate` takes seconds, so it is imported by the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from verify.errors import UsageError
from verify.metrics import classification, registry
from verify.metrics.registry import METRICS
from verify.metrics.regression import REGRESSION_METRICS
from verify.metrics.undefined import UndefinedScoreError

_LABELS = "predictions and references: label ids, int [N]"
_LOGITS = "predictions: rows of logits [N, C]; references: label ids, each the number of its logit [N]"
_VALUES = "predictions and references: floats [N]"
_AVERAGE = f'average (keyword): one of {", ".join(classification.AVERAGES)}; "binary" (label 1) if not given'

_OF_LOGITS = {"top5_accuracy": classification.top5_accuracy, "loss": classification.loss}
_OF_AVERAGE = {"f1": classification.f1, "precision": classification.precision, "recall": classification.recall}


def module(name: str, **options: Any) -> Any:
    """Return the metric of a canonical name as an ``evaluate.Metric``; its result is ``{name: float}``.

    Label metrics take label ids; top5_accuracy takes rows of logits; correlations and errors take floats; loss takes
    either rows of logits (cross-entropy) or floats (squared error). The bare names f1, precision and recall take
    ``average=`` as the modules on the Hub do. ``options`` go to ``evaluate.Metric`` (``keep_in_memory``,
    ``experiment_id``, ``num_process`` …).

    Raises:
        UsageError: if there is no such metric.
        UndefinedScoreError: from ``compute``, where the metric has no value on the data.
    """
    registry.find(name)
    return _module_classes()[name](**options)


@cache
def _module_classes() -> Mapping[str, type[Any]]:
    import evaluate
    from datasets import Features, Sequence, Value

    labels = Features({"predictions": Value("int64"), "references": Value("int64")})
    logits = Features({"predictions": Sequence(Value("float32")), "references": Value("int64")})
    values = Features({"predictions": Value("float64"), "references": Value("float64")})

    def inputs(name: str) -> tuple[Any, str]:
        if name == "loss":
            return [logits, values], f"{_LOGITS}; or {_VALUES}"
        if name in _OF_LOGITS:
            return logits, _LOGITS
        if name in REGRESSION_METRICS:
            return values, _VALUES
        return labels, f"{_LABELS}; {_AVERAGE}" if name in _OF_AVERAGE else _LABELS

    def information(self: Any) -> Any:
        features, description = inputs(self.metric)
        return evaluate.MetricInfo(
            description=METRICS[self.metric].summary, citation="", inputs_description=description, features=features
        )

    def compute(self: Any, predictions: Any, references: Any, **keywords: Any) -> dict[str, float]:
        return {self.metric: _value(self.metric, predictions, references, **keywords)}

    members = {"_info": information, "_compute": compute, "__module__": __name__}
    # `evaluate` names a module after its class, in snake case: the canonical name comes back only from such a class.
    return {name: type(name, (evaluate.Metric,), {**members, "metric": name}) for name in METRICS}


def _value(name: str, predictions: Any, references: Any, **keywords: Any) -> float:
    if len(references) == 0:
        raise UndefinedScoreError(f"{name} is undefined: there are no examples.")
    if name in _OF_AVERAGE:
        return _averaged(name, predictions, references, **keywords)
    if keywords:
        raise UsageError(f'The metric "{name}" takes no {", ".join(sorted(keywords))}: its name says all.')
    if name in _OF_LOGITS and np.ndim(predictions[0]) == 1:
        rows = np.asarray(predictions, np.float32)
        return _OF_LOGITS[name](rows, tuple(range(rows.shape[1])), np.asarray(references, np.int64)).value
    if name in REGRESSION_METRICS:
        score = REGRESSION_METRICS[name](np.asarray(predictions, np.float64), np.asarray(references, np.float64))
        return score.value
    counts = classification.class_counts(np.asarray(predictions, np.int64), np.asarray(references, np.int64))
    return classification.label_score(name, counts).value


def _averaged(name: str, predictions: Any, references: Any, average: str = "binary", **keywords: Any) -> float:
    if keywords or average not in classification.AVERAGES:
        got = ", ".join(f"{key}={value!r}" for key, value in {"average": average, **keywords}.items())
        raise UsageError(f'The metric "{name}" takes average={" | ".join(classification.AVERAGES)}, not {got}.')
    counts = classification.class_counts(np.asarray(predictions, np.int64), np.asarray(references, np.int64))
    if average == "binary" and len(counts.labels) > 2:
        raise UsageError(
            f'The metric "{name}" of label 1 needs two classes, and there are {len(counts.labels)}. Pass '
            'average="macro", "weighted" or "micro".'
        )
    return float(_OF_AVERAGE[name](counts, average))
