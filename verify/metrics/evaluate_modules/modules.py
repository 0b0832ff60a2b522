"""The package's metrics as `evaluate` modules that load as classes: no script from the Hub, no network.

    from verify.metrics.evaluate_modules.modules import module
    evaluate.combine([module("accuracy"), module("f1_macro")]).compute(predictions=…, references=…)
    module("f1", family="tagging").compute(predictions=[["B-PER", "O"]], references=[["B-PER", "O"]])

Importing `evaluate` takes seconds, so it is imported by the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from verify.errors import UsageError
from verify.metrics import names
from verify.metrics.evaluate_modules.inputs import Columns, Form, inputs
from verify.metrics.families import classification
from verify.metrics.families.regression import REGRESSION_METRICS
from verify.metrics.names import METRICS
from verify.metrics.registry import measure
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import Family

_OF_LOGITS = {"top5_accuracy": classification.top5_accuracy, "loss": classification.loss}
_OF_AVERAGE = {"f1": classification.f1, "precision": classification.precision, "recall": classification.recall}
_SET_AVERAGES = ("macro", "micro", "weighted", "samples")

_LABELS: Form = {"predictions": "int64", "references": "int64"}
_LOGITS: Form = {"predictions": ["float32"], "references": "int64"}
_VALUES: Form = {"predictions": "float64", "references": "float64"}
_DESCRIPTIONS = (
    (_LABELS, "predictions and references: label ids, int [N]"),
    (_LOGITS, "predictions: rows of logits [N, C]; references: label ids, each the number of its logit [N]"),
    (_VALUES, "predictions and references: floats [N]"),
)


def module(name: str, family: Family | str | None = None, **options: Any) -> Any:
    """Return the metric of a canonical name as an ``evaluate.Metric``; its result is ``{name: float}``.

    Names that several families of predictions share (accuracy, f1, exact_match …) mean, without ``family``, the first
    that the metric's entry in :data:`verify.metrics.names.METRICS` names; every module's ``inputs_description`` says
    what it takes. Of classifications, label metrics take label ids; top5_accuracy takes rows of logits; loss takes
    either rows of logits (cross-entropy) or floats (squared error). The bare names f1, precision and recall take
    ``average=`` there, as the modules on the Hub do. Scores are fractions, also where those modules give 0 to 100.
    ``options`` go to ``evaluate.Metric`` (``keep_in_memory``, ``experiment_id``, ``num_process`` …); with
    ``config_name="squad_v2"`` exact_match and f1 of answers take that module's records.

    Raises:
        UsageError: if there is no such metric, or not of that family.
        UndefinedScoreError: from ``compute``, where the metric has no value on the data.
    """
    families = names.find(name).families
    if family is not None and family not in families:
        raise UsageError(f'The metric "{name}" has the family {" or ".join(families)}, not "{family}".')
    return _module_class(name, families[0] if family is None else Family(family))(**options)


@cache
def _module_class(name: str, family: Family) -> type[Any]:
    import evaluate

    forms, _, keywords = _inputs(name, family)

    def information(self: Any) -> Any:
        forms, description, _ = _inputs(name, family, self.config_name)
        features = [_features(form) for form in forms]
        return evaluate.MetricInfo(
            description=METRICS[name].summary,
            citation="",
            inputs_description=description,
            features=features if len(features) > 1 else features[0],
        )

    def compute(self: Any, **given: Any) -> dict[str, float]:
        columns = {column: given.pop(column) for column in forms[0]}
        if len(next(iter(columns.values()))) == 0:
            raise UndefinedScoreError(f"{name} is undefined: there are no examples.")
        unknown = sorted(set(given) - set(keywords))
        if unknown:
            takes = f"takes {', '.join(keywords)} and no" if keywords else "takes no"
            raise UsageError(f'The metric "{name}" {takes} {", ".join(f"{key}=" for key in unknown)}.')
        return {name: _value(name, family, columns, given)}

    # `evaluate` would name a module after its class in snake case, and look for its files under that name.
    members = {"_info": information, "_compute": compute, "__module__": __name__, "name": property(lambda self: name)}
    return type(name, (evaluate.Metric,), members)


def _inputs(name: str, family: Family, config_name: str = "default") -> tuple[tuple[Form, ...], str, tuple[str, ...]]:
    """The forms, their description and the keywords of compute."""
    if family not in (Family.CLASSIFICATION, Family.REGRESSION):
        found = inputs(family, name, config_name)
        return found.forms, found.description, found.keywords
    if name == "loss":
        forms: tuple[Form, ...] = (_LOGITS, _VALUES)
    elif name in _OF_LOGITS:
        forms = (_LOGITS,)
    else:
        forms = (_VALUES,) if name in REGRESSION_METRICS else (_LABELS,)
    description = "; or ".join(text for form, text in _DESCRIPTIONS if form in forms)
    if name not in _OF_AVERAGE:
        return forms, description, ()
    average = f'average (keyword): one of {", ".join(classification.AVERAGES)}; "binary" (label 1) if not given'
    return forms, f"{description}; {average}", ("average",)


def _features(form: Form) -> Any:
    from datasets import Features, Sequence, Value

    def typed(part: Any) -> Any:
        if isinstance(part, str):
            return Value(part)
        if isinstance(part, list):
            return Sequence(typed(part[0]))
        return {key: typed(value) for key, value in part.items()}

    return Features(typed(form))


def _value(name: str, family: Family, columns: Columns, keywords: Mapping[str, Any]) -> float:
    if family in (Family.CLASSIFICATION, Family.REGRESSION):
        return _of_labels(name, columns["predictions"], columns["references"], **keywords)
    taken, measured = inputs(family, name), name
    if "average" in taken.keywords:
        measured = f"{name}_{_one_of(name, _SET_AVERAGES, keywords.get('average'))}"
    scores, notes = measure(taken.predictions(columns, keywords), keywords, only=[measured])
    if measured in scores:
        return scores[measured].value
    raise UndefinedScoreError(notes[0] if notes else f"{name} is undefined: these data have nothing that it measures.")


def _of_labels(name: str, predictions: Any, references: Any, average: str = "binary") -> float:
    if name in _OF_LOGITS and np.ndim(predictions[0]) == 1:
        rows = np.asarray(predictions, np.float32)
        return _OF_LOGITS[name](rows, tuple(range(rows.shape[1])), np.asarray(references, np.int64)).value
    if name in REGRESSION_METRICS:
        score = REGRESSION_METRICS[name](np.asarray(predictions, np.float64), np.asarray(references, np.float64))
        return score.value
    counts = classification.class_counts(np.asarray(predictions, np.int64), np.asarray(references, np.int64))
    if name not in _OF_AVERAGE:
        return classification.label_score(name, counts).value
    _one_of(name, classification.AVERAGES, average)
    if average == "binary" and len(counts.labels) > 2:
        raise UsageError(
            f'The metric "{name}" of label 1 needs two classes, and there are {len(counts.labels)}. Pass '
            'average="macro", "weighted" or "micro".'
        )
    return float(_OF_AVERAGE[name](counts, average))


def _one_of(name: str, averages: tuple[str, ...], average: Any) -> str:
    if average not in averages:
        raise UsageError(f'The metric "{name}" takes average={" | ".join(averages)}, not average={average!r}.')
    return str(average)
