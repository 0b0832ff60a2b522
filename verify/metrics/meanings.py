"""What the name of a metric on a card can mean among the metrics that are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from verify.metrics.names import METRICS
from verify.store.predictions import Family

_AVERAGES = ("binary", "macro", "weighted", "micro", "samples")


def _averages(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{average}" for average in _AVERAGES)


OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    **{name: _averages(name) for name in ("f1", "precision", "recall")},
    # of entities the micro average is the standard one, and has no other name
    **{f"{name}_micro": (name,) for name in ("f1", "precision", "recall")},
    # the best of several checkpoints, except of answers, where it is the best threshold
    "best_f1": ("f1", *_averages("f1")),
    "best_exact_match": ("exact_match",),
    "roc_auc": ("roc_auc_macro", "roc_auc_micro"),
    "map": ("pr_auc",),
    "pos_accuracy": ("accuracy",),
    "tag_accuracy": ("accuracy",),
}
"""For a name that is not measured as it stands: the metrics that it can mean, the standard one first."""


@dataclass(frozen=True)
class Form:
    """Another form of the measured metric ``of``: ``value`` turns its score into the number that cards print."""

    of: str
    value: Callable[[float], float]
    greater_is_better: bool = False


def _rest(share: float) -> float:
    return 1 - share


FORMS: Mapping[str, Form] = {
    "error_rate": Form("accuracy", _rest),
    "wip": Form("wil", _rest, greater_is_better=True),
    "rmse": Form("mse", math.sqrt),
}
"""Names of numbers that follow from a measured metric."""

_FAMILIES: Mapping[str, tuple[Family, ...]] = {
    "sequence-classification": (Family.CLASSIFICATION, Family.MULTI_LABEL, Family.REGRESSION),
    "image-classification": (Family.CLASSIFICATION, Family.MULTI_LABEL, Family.REGRESSION),
    "audio-classification": (Family.CLASSIFICATION, Family.MULTI_LABEL, Family.REGRESSION),
    "token-classification": (Family.TAGGING,),
    "question-answering": (Family.ANSWERS,),
    "summarization": (Family.SUMMARIES,),
    "translation": (Family.TRANSLATIONS,),
    "automatic-speech-recognition": (Family.TRANSCRIPTS,),
    "sentence-similarity": (Family.SIMILARITY,),
    "perplexity": (Family.LIKELIHOOD,),
}


def measured_for(kind: str) -> tuple[str, ...]:
    """Every metric that a task of this kind can give, in alphabetical order."""
    families = set(_FAMILIES[kind])
    return tuple(sorted(name for name, metric in METRICS.items() if families.intersection(metric.families)))


def is_measured_for(name: str, kind: str) -> bool:
    """Whether a task of this kind can give what the name of a metric on a card can mean."""
    measured = measured_for(kind)
    return any(reading in measured for reading in readings(name, measured))


def readings(name: str, measured: Collection[str]) -> tuple[str, ...]:
    """Return which of the metrics ``measured`` a metric's name can mean, the standard reading first.

    A bare "f1" on two classes is by default the F1 of label 1, in scikit-learn and `evaluate` alike. On more classes
    both of them refuse to average unasked, so no order among macro, weighted and micro is standard. Where a metric of
    just that name is measured (the F1 of entities, or of answers), it is what is meant, and every name outside of this
    package's has one reading, itself. For a name in :data:`FORMS` it is the metric from which its number follows.
    """
    if name in FORMS and name not in measured:
        name = FORMS[name].of
    if name in measured or name not in OTHER_NAMES:
        return (name,)
    return tuple(other for other in OTHER_NAMES[name] if other in measured)
