"""One check of one model, step by step: what ``verify check``, ``verify sweep`` and the Python functions share.

A model is opened (:mod:`verify.checking.opening`), its cells, the splits of tasks, are measured, every claim is judged,
what differs is explained from the stored predictions, and what judging needs is recorded. Each step takes the frozen
result of the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from verify.checking.kept_trials import drop_damaged
from verify.checking.measure import RunJobs, measure
from verify.checking.opening import Key, Opened, data_revision, open_model
from verify.checking.outcome import Outcome, store
from verify.checking.parts import settled_by
from verify.checking.scoring import Cell, Subject
from verify.checking.subject import reference_to
from verify.checking.verdicts import explained, judged, measurements_of
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError, VerifyError
from verify.store.record import Conditions, recorded, write_record
from verify.store.runs import slug
from verify.tasks.registry import Registry
from verify.types import Emit, Measurement, Tell, Verdict

Follow = Callable[[str, Sequence[Key]], AbstractContextManager[Emit]]
"""From a model's name and the cells to measure to what receives the engine's events about them, meanwhile.

``cell`` in an event is a position among these cells."""


@dataclass(frozen=True)
class Measured:
    """An opened model with what each of its cells gave: scores, or why there are none."""

    opened: Opened
    results: Mapping[Key, Measurement | VerifyError]

    def folder(self, config: VerifyConfig) -> Path:
        """Where the results of the model are stored."""
        return Path(config.results) / slug(self.opened.model)


@dataclass(frozen=True)
class Judged:
    """A measured model with a verdict on each of its claims; ``retry`` is the command that tries again what failed."""

    measured: Measured
    verdicts: tuple[Verdict, ...]
    retry: str


def check_model(
    reference: str,
    config: VerifyConfig,
    registry: Registry,
    only: Sequence[str] | None,
    *,
    retry: str,
    follow: Follow,
    tell: Tell,
) -> Outcome:
    """Read the claims of one model, measure what they are about, judge them, and store the verdicts.

    ``only`` are the tasks to look at, None for whatever the card claims. ``tell`` hears what arithmetic on the card
    alone shows, before anything is run. Raises a VerifyError if the repository itself cannot be read; whatever fails
    later becomes the verdict of the claims concerned.
    """
    opened = open_model(reference, config, registry, only)
    for finding in opened.resolved.impossible.values():
        tell(f"{opened.model}, before anything is run: {finding.sentence}")
    outcome = check_opened(opened, config, retry, follow)
    store(outcome, Path(config.results) / slug(outcome.model))
    return outcome


def check_opened(
    opened: Opened, config: VerifyConfig, retry: str, follow: Follow, run: RunJobs | None = None
) -> Outcome:
    """All steps for an opened model; whatever fails becomes the verdict of the claims concerned.

    It is raised if no claim is about it. ``retry`` is the command that tries again, ``run`` what runs jobs (None: a
    worker process of their own).
    """
    measured = measure_opened(opened, config, follow, run)
    return record_judged(explain_judged(judge_measured(measured, config, retry), config), config)


def measure_opened(opened: Opened, config: VerifyConfig, follow: Follow, run: RunJobs | None = None) -> Measured:
    """Measure the cells of an opened model. Raises the error of a cell that no claim is about."""
    results: dict[Key, Measurement | VerifyError] = {}
    if opened.failure is not None:
        results = dict.fromkeys(opened.cells, opened.failure)
    elif opened.subject is not None:
        results = _results(opened, opened.subject, config, follow, run)
    claimed = {(match.task.name, match.split) for match in opened.resolved.matches if match.task}
    for cell, result in results.items():
        if isinstance(result, VerifyError) and cell not in claimed:
            raise result
    for measurement in measurements_of(results):
        if measurement.result:
            drop_damaged(Path(measurement.result).parents[1])
    return Measured(opened, results)


def judge_measured(measured: Measured, config: VerifyConfig, retry: str) -> Judged:
    """Judge every claim by what was measured."""
    return Judged(measured, judged(measured.opened.resolved, measured.results, config.policy, retry), retry)


def explain_judged(one: Judged, config: VerifyConfig) -> Judged:
    """Search the stored predictions for what explains the claims that differ; no model is run."""
    measured = one.measured
    found = explained(one.verdicts, measured.opened.resolved, measured.results, measured.folder(config))
    return replace(one, verdicts=found)


def record_judged(one: Judged, config: VerifyConfig) -> Outcome:
    """Leave in the model's folder of results what judging again needs. Raises StoreError if it cannot be written."""
    measured, opened = one.measured, one.measured.opened
    subject, revision = opened.subject, opened.repository.revision
    record = recorded(
        opened.resolved,
        measured.results,
        opened.cells,
        measured.folder(config),
        model=opened.model,
        reference=reference_to(opened.repository),
        revision=revision,
        digests=subject.digests if subject else {},
        retry=one.retry,
        policy=config.policy.name,
        conditions=_conditions(config),
        base=subject.base.reference if subject and subject.base else None,
    )
    write_record(measured.folder(config), record)
    return Outcome(opened.model, revision, one.verdicts, measurements_of(measured.results), opened.resolved.findings)


def _results(
    opened: Opened, subject: Subject, config: VerifyConfig, follow: Follow, run: RunJobs | None
) -> dict[Key, Measurement | VerifyError]:
    results: dict[Key, Measurement | VerifyError] = {}
    pinned: dict[Key, Cell] = {}
    for key, task in opened.cells.items():
        try:
            pinned[key] = Cell(task, key[1], data_revision(task, config))
        except UsageError:
            raise
        except VerifyError as error:
            results[key] = error
    with follow(opened.model, list(pinned)) as emit:
        settled = settled_by(config.policy, opened.resolved, list(pinned))
        measured = measure(subject, list(pinned.values()), config, emit, settled, run)
    for result in measured:
        if isinstance(result, UsageError):
            raise result
    return {**results, **dict(zip(pinned, measured, strict=True))}


def _conditions(config: VerifyConfig) -> Conditions:
    return Conditions(
        limit=config.limit,
        seed=config.seed,
        probe_share=config.policy.probe_share,
        dtype=config.engine.dtype,
        precision=config.engine.precision,
        max_length=config.override.max_length,
    )
