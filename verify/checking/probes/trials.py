"""Paying for an explanation: other settings are run one after the other, until one meets every claim of the case."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checking.measure import measure
from verify.checking.probes.facts import facts_of
from verify.checking.probes.probe import Probe, Variant, inputs_cut
from verify.checking.probes.registry import PROBES
from verify.checking.probes.screening import Outlook, outlook
from verify.checking.scoring import Cell, Subject
from verify.checking.subject import fetched, gated, subject_of
from verify.configuration.schema import VerifyConfig
from verify.errors import EngineError, VerifyError
from verify.hub import models, revisions
from verify.judging.cases import Case, Trial, each_reading
from verify.judging.explain import search
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.registry import measure as score_all
from verify.store.predictions import Predictions
from verify.store.runs import PROBE, RunFolder
from verify.tasks.kinds import settings_of
from verify.types import Emit, Measurement

_log = logging.getLogger(__name__)

EARLIER = Probe(
    "earlier revision", "the model is that of an earlier state of the repository, {setting}", None, lambda *_: (), 0.1
)
"""The last thing tried, because its weights must be downloaded."""


@dataclass(frozen=True)
class Attempt:
    """One setting that was run, or was to be, on ``n`` of ``population`` examples (0 where it failed).

    ``paid`` is what :func:`verify.judging.explain.search` takes. ``cut`` is how many inputs were cut off, if known.

    A trial that was ruled out by a part of the split holds the values expected of the whole. One that failed, or for
    which the time ran out, holds none, and ``problem`` says why. ``result`` is the path of the stored result.
    """

    hypothesis: Hypothesis
    trial: Trial
    variant: Variant
    n: int = 0
    population: int = 0
    problem: str | None = None
    result: str | None = None
    cut: int | None = None

    @property
    def paid(self) -> tuple[Hypothesis, Trial]:
        return self.hypothesis, self.trial


def paid_trials(
    subject: Subject, case: Case, config: VerifyConfig, budget_minutes: float, emit: Emit
) -> tuple[Attempt, ...]:
    """Run other settings on the model of a case, the likeliest and cheapest first, and return all that were tried.

    It ends with the first that meets every claim of the case, or when ``budget_minutes`` are spent: nothing is begun
    after that, and a run under way stops after the batch at hand (batches of one go on to their end). Each run stops as
    soon as its first examples rule out that the whole would meet the claims. Runs are stored as all others are, so what
    was run before costs nothing. A setting that fails is a trial without values. ``emit`` receives the engine's events,
    all for cell 0.

    ``config`` is that of the rerun, except for ``limit``, ``budget`` and the share of a second configuration.
    """
    deadline = time.monotonic() + 60 * budget_minutes
    attempts: list[Attempt] = []
    for hypothesis, variant in _candidates(subject, case, config):
        if time.monotonic() >= deadline:
            break
        if _is_idle(variant, attempts):
            continue
        emit({"event": "stage", "stage": f"trying {variant.setting}", "cell": 0})
        found = _attempts(subject, case, hypothesis, variant, deadline, emit)
        attempts += found
        if search(case, (), [one.paid for one in found]).best is not None:
            break
    return tuple(attempts)


def _candidates(subject: Subject, case: Case, config: VerifyConfig) -> Iterator[tuple[Hypothesis, Variant]]:
    """Every variant of the probes that bear on the task, those first that are likely for what they cost.

    The second value of a setting counts half of the first, the third a third. A hypothesis weighs what put its variant
    into its place: then all that came before the one that fits count in its chance of a coincidence. Earlier revisions
    of the repository, which only the Hub knows, are looked up once everything else was tried.
    """
    facts, task, split = facts_of(case, subject.folder), case.task, case.measurement.split
    ranked = [
        (probe.weight / (place + 1) / variant.cost, probe, variant)
        for probe in PROBES
        if probe.applies(task.kind)
        for place, variant in enumerate(probe.variants(task, split, config, facts))
    ]
    for weight, probe, variant in sorted(ranked, key=lambda one: -one[0]):
        yield replace(probe.hypothesis, weight=weight), variant
    least = min((weight for weight, _, _ in ranked), default=EARLIER.weight)
    for place, earlier in enumerate(_earlier(subject)):
        hypothesis = replace(EARLIER.hypothesis, weight=least / (place + 2))
        yield hypothesis, Variant(str(earlier), task, split, config, revision=earlier.commit)


def _earlier(subject: Subject) -> list[revisions.Earlier]:
    try:
        return [] if subject.revision is None else revisions.earlier_revisions(subject.model, subject.revision)
    except VerifyError as error:
        _log.warning("earlier revisions of %s are not known: %s", subject.model, error)
        return []


def _is_idle(variant: Variant, attempts: Sequence[Attempt]) -> bool:
    """Whether a lower limit of the input, tried before, cut nothing: then this one changes nothing."""
    return variant.cut_at is not None and any(
        one.variant.cut_at is not None and one.variant.cut_at < variant.cut_at and one.cut == 0 for one in attempts
    )


def _attempts(
    subject: Subject, case: Case, hypothesis: Hypothesis, variant: Variant, deadline: float, emit: Emit
) -> list[Attempt]:
    """Run one variant as far as it can meet the claims: an attempt for every reading of the names on the card."""
    try:
        found, expected = _run(_subject(subject, variant), case, variant, deadline, emit)
        scores = {} if expected else _scores(found, variant)
    except VerifyError as error:
        failed = Trial(hypothesis.name, variant.setting, {})
        return [Attempt(hypothesis, failed, variant, problem=str(error))]
    if expected:
        trials = [Trial(hypothesis.name, f"{variant.setting} (as a part of the examples shows)", expected.values)]
    else:
        trials = [
            Trial(hypothesis.name, f"{variant.setting}, {average} average" if average else variant.setting, values)
            for average, values in each_reading(case, scores)
        ]
    cut = inputs_cut(_preprocessing(found))
    return [
        Attempt(hypothesis, one, variant, found.n, found.population, result=found.result, cut=cut) for one in trials
    ]


def _run(
    subject: Subject, case: Case, variant: Variant, deadline: float, emit: Emit
) -> tuple[Measurement, Outlook | None]:
    """The measurement of a variant, and, where that ended early, what ruled it out.

    Raises a VerifyError if the run fails, or if the time runs out.
    """
    settings = settings_of(variant.task.kind, variant.task.settings)
    seen: list[Outlook] = []

    def is_ruled_out(cell: int, part: Predictions, rows: NDArray[np.int64], info: Mapping[str, Any]) -> bool:
        paired = variant.split == case.measurement.split
        seen.append(outlook(case, part, settings, int(info["population"]), paired=paired))
        return seen[-1].is_ruled_out

    minutes = max((deadline - time.monotonic()) / 60, 0.001)
    policy = replace(variant.config.policy, probe_share=1.0 if variant.is_alone else 0.0)
    config = replace(variant.config, limit=None, budget=minutes, policy=policy)
    cell = Cell(variant.task, variant.split, case.measurement.provenance.get("dataset_revision"))
    (found,) = measure(subject, [cell], config, emit, None if variant.is_alone else is_ruled_out)
    if isinstance(found, VerifyError):
        raise found
    if found.is_full:
        return found, None
    if seen and seen[-1].is_ruled_out:
        return found, seen[-1]
    raise EngineError(
        f"The time ran out after {found.n} of {found.population} examples. What was done is kept: with more time the "
        "next search goes on from there."
    )


def _scores(found: Measurement, variant: Variant) -> dict[str, float]:
    """The scores of a full run, or of its second configuration."""
    if not variant.is_alone:
        return {name: score.value for name, score in found.scores.items()}
    settings = settings_of(variant.task.kind, variant.task.settings)
    folder = RunFolder.behind(found)
    predictions = folder.predictions(PROBE, settings=settings) if folder else None
    if predictions is None or len(predictions) < found.population:
        raise EngineError(f"The second configuration in {found.result} is not complete. Run the same search again.")
    return {name: score.value for name, score in score_all(predictions, settings)[0].items()}


def _preprocessing(found: Measurement) -> Mapping[str, Any]:
    recorded = found.provenance.get("preprocessing")
    return recorded if isinstance(recorded, Mapping) else {}


def _subject(subject: Subject, variant: Variant) -> Subject:
    """The model to measure: that of the case, or an earlier revision of it, which is fetched."""
    if variant.revision is None:
        return subject
    config = replace(variant.config, base=subject.base.reference if subject.base else None)
    return subject_of(fetched(gated(models.on_hub(subject.model, variant.revision), config)))
