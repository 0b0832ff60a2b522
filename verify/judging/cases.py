"""What a search for an explanation is given, and what one tried setting gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from verify.metrics.meanings import FORMS, readings
from verify.store.predictions import Predictions
from verify.types import Claim, Measurement, Score, Setting, TaskSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """One full rerun and the claims about it, at least one of which it contradicts.

    ``predictions`` are those of the rerun, ``settings`` what the task says of its kind. ``claims`` are all claims about
    this task and split; ``differing`` the ids of those that do not hold. ``rows`` gives the number of examples of every
    split of the task that is known. ``epochs`` are the card's own table of training epochs: for each metric (canonical
    name) the values in order, on the scale of :class:`verify.types.Score`. ``kept`` holds what one replay computed and
    another needs too (see :func:`once`).
    """

    task: TaskSpec
    predictions: Predictions
    settings: Mapping[str, Setting]
    measurement: Measurement
    claims: tuple[Claim, ...]
    differing: frozenset[str]
    rows: Mapping[str, int] = field(default_factory=dict)
    epochs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Trial:
    """One setting that was tried: what the card would print if that were how its numbers were made.

    ``hypothesis`` is the name of the registry's entry, ``setting`` says in plain words what differs from the rerun
    ("positive and negative exchanged"). ``values`` gives, for the id of each claim that the setting bears on, the
    number (a fraction, or raw: the scale of :class:`verify.types.Score`); the other claims keep what was measured.

    ``reach`` (same scale) is how far from its value a number may lie, where the setting is random by nature. ``chance``
    is the probability that a number unrelated to the rerun meets this trial wherever it lies, where the values were
    chosen after the claim: many numbers are some count of another split's examples.
    """

    hypothesis: str
    setting: str
    values: Mapping[str, float]
    reach: float = 0.0
    chance: float = 0.0


def once(case: Case, key: str, compute: Callable[[], T]) -> T:
    """What ``compute`` returns, computed for the first who asks for ``key`` and kept with the case."""
    if key not in case.kept:
        case.kept[key] = compute()
    found: T = case.kept[key]
    return found


def wanted(case: Case) -> tuple[str, ...]:
    """The measured metrics that the claims of the case can be about, in every reading, by canonical name."""
    measured = case.measurement.scores
    names = (name for claim in case.claims for name in readings(claim.metric, measured) if name in measured)
    return tuple(dict.fromkeys(names))


def replaced(case: Case, scores: Mapping[str, float]) -> dict[str, float]:
    """The number that each claim of the case would print if ``scores`` took the place of what was measured.

    Unlike :func:`as_read`, a claim stands for the same metric as in the rerun, whatever is among the scores. Claims
    whose metric is not, or has no value there, are left out.
    """
    found = {}
    for claim in case.claims:
        name = standard_reading(claim.metric, case.measurement.scores)
        if name is not None and math.isfinite(scores.get(name, math.nan)):
            found[claim.claim_id] = in_form(claim.metric, name, scores[name])
    return found


def as_read(case: Case, scores: Mapping[str, float]) -> dict[str, float]:
    """The number that each claim of the case would print, given scores by canonical name, in the standard reading.

    Claims whose metric is not among the scores are left out.
    """
    found = {}
    for claim in case.claims:
        name = standard_reading(claim.metric, scores)
        if name is not None:
            found[claim.claim_id] = in_form(claim.metric, name, scores[name])
    return found


def each_reading(case: Case, scores: Mapping[str, float]) -> Iterator[tuple[str, dict[str, float]]]:
    """The numbers of :func:`as_read`, once for each average that the names on the card leave open.

    On more than two classes a bare "f1" has no standard average, so that all claims are read once with macro averages,
    once with weighted ones, and so on. Yields the average ("" where all names say theirs) and the numbers.
    """
    open_names: dict[str, dict[str, str]] = {}
    for claim in case.claims:
        found = [name for name in readings(claim.metric, scores) if name in scores]
        if len(found) > 1 and not found[0].endswith("_binary"):
            open_names[claim.claim_id] = {name.rpartition("_")[2]: name for name in found}
    standard = as_read(case, scores)
    if not open_names:
        yield "", standard
    for average in dict.fromkeys(average for names in open_names.values() for average in names):
        read = {claim_id: scores[names[average]] for claim_id, names in open_names.items() if average in names}
        yield average, standard | read


def differing_readings(case: Case) -> Iterator[tuple[Claim, str]]:
    """Each claim of the case that does not hold, with the measured metric that its name stands for first of all."""
    for claim in case.claims:
        name = standard_reading(claim.metric, case.measurement.scores)
        if claim.claim_id in case.differing and name is not None:
            yield claim, name


def exchanged(case: Case, hypothesis: str, others: Mapping[str, str]) -> Iterator[Trial]:
    """A trial for each metric of ``others`` that the claims that differ stand for: they hold the other one's number."""
    measured = case.measurement.scores
    for name, other in others.items():
        values = {
            claim.claim_id: measured[other].value
            for claim, reading in differing_readings(case)
            if reading == name and other in measured
        }
        if values:
            yield Trial(hypothesis, f"{name} is {other}", values)


def standard_reading(metric: str, measured: Mapping[str, object]) -> str | None:
    """The measured metric that a claimed name stands for first of all; None where there is none."""
    return next((name for name in readings(metric, measured) if name in measured), None)


def in_form(claimed: str, name: str, value: float) -> float:
    """The score ``value`` of the metric ``name`` in the form that a claim of ``claimed`` prints (1 − accuracy …)."""
    return FORMS[claimed].value(value) if claimed != name and claimed in FORMS else value


def score_in_form(claimed: str, name: str, score: Score) -> Score:
    """The measured ``score`` of the metric ``name``, and its budget, in the form that a claim of ``claimed`` prints."""
    turned = in_form(claimed, name, score.value)
    moved = [in_form(claimed, name, max(score.value + way * score.budget, 0.0)) for way in (-1, 1)]
    budget = score.budget if claimed == name or claimed not in FORMS else max(abs(one - turned) for one in moved)
    return Score(turned, score.n, budget=budget)
