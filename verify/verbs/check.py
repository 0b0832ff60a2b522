"""``verify check``: from a model's id to a verdict on each of its claims."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify import hub
from verify.claims.group import Finding
from verify.config import VerifyConfig, worst
from verify.errors import UsageError, VerifyError
from verify.judge.compare import failed, impossible, judge, no_task, unmeasurable
from verify.measure import FOREIGN, Cell, Subject, check_metrics, measure
from verify.metrics.meanings import is_measured_for
from verify.report.export import check_object
from verify.report.progress import ProgressView
from verify.report.terminal import show_verdicts, summary
from verify.store import slug, write_json
from verify.tasks.match import Match
from verify.tasks.registry import Registry, load_registry
from verify.tasks.resolve import Resolved
from verify.types import Claim, Measurement, TaskSpec, Verdict, VerdictKind
from verify.verbs.claims import resolved_claims

HOLDS, DOES_NOT_HOLD, NOTHING_SETTLED, ERRORS = 0, 1, 3, 4


@dataclass(frozen=True)
class Outcome:
    """What ``verify check`` found out about one model."""

    model: str
    revision: str | None
    verdicts: tuple[Verdict, ...]
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 every settled claim holds; 1 at least one does not; 3 nothing was settled; 4 a measurement failed."""
        holds = [verdict.kind.holds for verdict in self.verdicts]
        if False in holds:
            return DOES_NOT_HOLD
        if any(verdict.kind is VerdictKind.ERROR for verdict in self.verdicts):
            return ERRORS
        return HOLDS if True in holds else NOTHING_SETTLED


def run(config: VerifyConfig, *, as_json: bool, one_of_several: bool = False, command: str | None = None) -> int:
    """Check the model of ``config``, or every model of its suite; prints, stores and returns the exit code.

    With ``as_json`` one object goes to standard output, and everything else to standard error; an object is one line if
    there are several models, or if this run is ``one_of_several``. ``command`` is what the
    user typed, to be named as the way to try again.
    """
    err = Console(stderr=True, highlight=False)
    registry = load_registry(config.task_path)
    models, only = _models(config), _asked_tasks(config, registry)
    codes = []
    for model in models:
        try:
            retry = command or shlex.join(["verify", "check", model])
            outcome = check_model(model, config, registry, only, retry, err)
        except UsageError:
            raise
        except VerifyError as error:
            if len(models) == 1:
                raise
            err.print(f"[red]{escape(model)}[/red]: {escape(str(error))}", highlight=False)
            codes.append(error.exit_code)
            continue
        _report(outcome, config, as_json=as_json, on_one_line=one_of_several or len(models) > 1, err=err)
        codes.append(outcome.exit_code)
    return worst(codes)


def check_model(
    reference: str, config: VerifyConfig, registry: Registry, only: Sequence[str] | None, retry: str, err: Console
) -> Outcome:
    """Read the claims of one model, measure what they are about, and judge them.

    Raises a VerifyError if the repository itself cannot be read; whatever fails later becomes the verdict of the claims
    concerned.
    """
    repository = hub.resolve(reference)
    texts, model, revision = hub.texts(repository), repository.model, repository.revision
    resolved = resolved_claims(texts, model, revision, config, registry)
    cells = _cells(resolved, [registry[name] for name in only or ()], config)
    for finding in resolved.impossible.values():
        err.print(f"{escape(model)}, before anything is run: {escape(finding.sentence)}")
    results: dict[tuple[str, str], Measurement | VerifyError] = {}
    if cells:
        try:
            hub.check_safety(repository)
            repository = hub.fetch_weights(repository)
            hub.check_safety(repository)
            subject = Subject(repository.model, repository.revision, repository.folder, hub.digests(repository))
        except VerifyError as error:
            results = dict.fromkeys(cells, error)
        else:
            results = _measured(subject, cells, config, err)
    verdicts = tuple(
        _verdict(claim, match, resolved, results, config, retry)
        for claim, match in zip(resolved.claims, resolved.matches, strict=True)
    )
    claimed = {(match.task.name, match.split) for match in resolved.matches if match.task}
    for cell, result in results.items():
        if isinstance(result, VerifyError) and cell not in claimed:
            raise result
    measurements = tuple(result for result in results.values() if isinstance(result, Measurement))
    return Outcome(model, revision, verdicts, measurements, resolved.findings)


def _cells(resolved: Resolved, asked: Sequence[TaskSpec], config: VerifyConfig) -> dict[tuple[str, str], TaskSpec]:
    """What must be measured: (task, split) for every claim still open, and for every task asked for by name."""
    cells = {
        (match.task.name, match.split): match.task
        for claim, match in zip(resolved.claims, resolved.matches, strict=True)
        if match.task is not None and claim.claim_id not in resolved.impossible and _is_measurable(claim, match.task)
    }
    covered = {name for name, _ in cells}
    for task in asked:
        if task.name not in covered:
            cells[(task.name, config.override.split or task.dataset.split)] = task
    for task in cells.values():
        check_metrics(task)
    return cells


def _is_measurable(claim: Claim, task: TaskSpec) -> bool:
    return is_measured_for(claim.metric, task.kind) or any(name.startswith(FOREIGN) for name in task.metrics)


def _measured(
    subject: Subject, cells: Mapping[tuple[str, str], TaskSpec], config: VerifyConfig, err: Console
) -> dict[tuple[str, str], Measurement | VerifyError]:
    results: dict[tuple[str, str], Measurement | VerifyError] = {}
    pinned: dict[tuple[str, str], Cell] = {}
    for key, task in cells.items():
        try:
            revision = config.override.dataset_revision or task.dataset.revision
            if task.dataset.data_files is None:
                revision = hub.dataset_revision(task.dataset.path, revision)
            pinned[key] = Cell(task, key[1], revision)
        except UsageError:
            raise
        except VerifyError as error:
            results[key] = error
    titles = [f"{subject.model} on {name}" for name, _ in pinned]
    with ProgressView(titles, err) as view:
        measured = measure(subject, list(pinned.values()), config, view.emit)
    for result in measured:
        if isinstance(result, UsageError):
            raise result
    return {**results, **dict(zip(pinned, measured, strict=True))}


def _verdict(
    claim: Claim,
    match: Match,
    resolved: Resolved,
    results: dict[tuple[str, str], Measurement | VerifyError],
    config: VerifyConfig,
    retry: str,
) -> Verdict:
    if match.task is None:
        return no_task(claim, match)
    result = results.get((match.task.name, match.split))
    if finding := resolved.impossible.get(claim.claim_id):
        full = result if isinstance(result, Measurement) and result.is_full else None
        measured = judge(claim, match, full, config.policy.tolerance) if full else None
        return impossible(claim, match, finding.sentence, measured)
    if result is None or not _is_measurable(claim, match.task):
        return unmeasurable(claim, match)
    if isinstance(result, VerifyError):
        return failed(claim, match, result, retry)
    return judge(claim, match, result, config.policy.tolerance)


def _models(config: VerifyConfig) -> list[str]:
    if config.model:
        return [config.model]
    if config.suite and config.suite.models:
        return config.suite.models
    raise UsageError("Name a model: verify check MODEL, where MODEL is ORG/NAME, ORG/NAME@revision or a folder.")


def _asked_tasks(config: VerifyConfig, registry: Registry) -> list[str] | None:
    asked = config.asked_tasks()
    return None if asked is None else [registry.find(name).name for name in asked]


def _report(outcome: Outcome, config: VerifyConfig, *, as_json: bool, on_one_line: bool, err: Console) -> None:
    found = check_object(
        outcome.model, outcome.revision, outcome.exit_code, outcome.verdicts, outcome.measurements, outcome.findings
    )
    write_json(Path(config.results) / slug(outcome.model) / "verdicts.json", found)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=None if on_one_line else 1))  # noqa: T201
    console = err if as_json else Console(file=sys.stdout, highlight=False)
    show_verdicts(console, outcome.model, outcome.verdicts, outcome.measurements, outcome.findings)
    err.print(summary(outcome.verdicts))
