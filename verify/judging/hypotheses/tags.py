"""Causes that lie in how tags are counted: which entities they mark, entities or words, some types or all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

from verify.judging.cases import Case, Trial, once, replaced
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.additive import Additive, Floats
from verify.metrics.families.averages import RATIOS, averaged
from verify.metrics.families.entities import OUTSIDE
from verify.metrics.families.sequence import PLAIN, entity_counts, token_counts
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import Family, TagPredictions

MOST_TYPES = 8
"""The number of entity types up to which each is tried as the only one."""

_OTHER_SCHEME: Mapping[str, str] = {"IOB1": "IOB2", "IOB2": "IOB1", "IOE1": "IOE2", "IOE2": "IOE1"}

_AVERAGES = ("macro", "micro", "weighted")


def _strictness(case: Case) -> Iterator[Trial]:
    """The strict mode of seqeval for its default one, or the other way round, and the scheme's twin."""
    predictions = _predictions(case)
    if predictions.scheme == PLAIN or not _claims_entities(case):
        return
    lenient = _values(_lenient(case)[0])
    yield Trial("scheme", "seqeval's default, which makes something of every tag", _as_strict(case, lenient))
    for scheme in (predictions.scheme, _OTHER_SCHEME.get(predictions.scheme)):
        if scheme is not None:
            try:
                counts, _ = entity_counts(predictions, scheme)
            except UndefinedScoreError:
                continue
            scores = _values(counts)
            own = scheme == predictions.scheme
            setting = f"seqeval's strict mode for {scheme}"
            yield Trial("scheme", setting, _as_lenient(case, scores) | ({} if own else _as_strict(case, scores)))


def _words(case: Case) -> Iterator[Trial]:
    """Precision, recall and F1 of single words' tags, as scikit-learn gives them for the flattened tags."""
    predictions = _predictions(case)
    if predictions.scheme == PLAIN or not _claims_entities(case):
        return
    counts, names = token_counts(predictions.tags, predictions.reference)
    inside = counts[:, :, [name != OUTSIDE for name in names]]
    for which, chosen in (("all tags", counts), (f"all tags but {OUTSIDE}", inside)):
        for average in _AVERAGES:
            yield Trial("words", f"{average} average over {which}", _as_lenient(case, _values(chosen, average)))


def _types(case: Case) -> Iterator[Trial]:
    """One type of entity alone, or the ends of entities without their type."""
    predictions = _predictions(case)
    if predictions.scheme == PLAIN or not _claims_entities(case):
        return
    counts, names = _lenient(case)
    if len(names) < 2:
        return
    untyped, _ = entity_counts(predictions, typed=False)
    yield Trial("entity_types", "the type of an entity may be wrong", _as_lenient(case, _values(untyped)))
    for place, name in enumerate(names if len(names) <= MOST_TYPES else ()):
        one = counts[:, :, place : place + 1]
        yield Trial("entity_types", f"only entities of type {name} are counted", _as_lenient(case, _values(one)))


def _lenient(case: Case) -> tuple[Floats, list[str]]:
    return once(case, "entities", lambda: entity_counts(_predictions(case)))


def _values(counts: Floats, average: str = "micro") -> dict[str, float]:
    """F1, precision and recall, by name."""
    return {name: _value(metric) for name, metric in averaged(counts, average, "").items()}


def _value(metric: Additive) -> float:
    return float(metric.value(metric.statistics.sum(axis=0)))


def _as_lenient(case: Case, scores: Mapping[str, float]) -> dict[str, float]:
    """What claims of entities, in seqeval's default way, would print with ``scores`` in its place."""
    return replaced(case, scores)


def _as_strict(case: Case, scores: Mapping[str, float]) -> dict[str, float]:
    return replaced(case, {f"{name}_strict": value for name, value in scores.items()})


def _claims_entities(case: Case) -> bool:
    return any(claim.metric.partition("_")[0] in RATIOS for claim in case.claims)


def _predictions(case: Case) -> TagPredictions:
    return cast(TagPredictions, case.predictions)


_FAMILIES = frozenset({Family.TAGGING})

HYPOTHESES = (
    Hypothesis("words", "tags of words are scored and not entities ({setting})", _FAMILIES, _words, weight=1.2),
    Hypothesis("scheme", "entities are read off the tags in another way ({setting})", _FAMILIES, _strictness),
    Hypothesis("entity_types", "{setting}", _FAMILIES, _types, weight=0.6),
)
"""The hypotheses on tags, the most common first."""
