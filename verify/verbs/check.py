"""``verify check``: from a model's id to a verdict on each of its claims."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify import hub
from verify.config import VerifyConfig, worst
from verify.errors import UsageError, VerifyError
from verify.measure import Cell, Subject, check_metrics, measure
from verify.record import Conditions, recorded, write_record
from verify.report.progress import ProgressView
from verify.store import slug
from verify.tasks.registry import Registry, load_registry
from verify.tasks.resolve import Resolved
from verify.types import Measurement, TaskSpec
from verify.verbs.claims import resolved_claims
from verify.verbs.parts import is_measurable, settled_by
from verify.verbs.verdicts import Outcome, explained, judged, measurements_of, show, store


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
        store(outcome, Path(config.results) / slug(outcome.model))
        show(outcome, as_json=as_json, on_one_line=one_of_several or len(models) > 1, err=err)
        codes.append(outcome.exit_code)
    return worst(codes)


def check_model(
    reference: str, config: VerifyConfig, registry: Registry, only: Sequence[str] | None, retry: str, err: Console
) -> Outcome:
    """Read the claims of one model, measure what they are about, and judge them.

    What judging needs is left in the model's folder of results, so that ``verify judge`` can do it again. Raises a
    VerifyError if the repository itself cannot be read; whatever fails later becomes the verdict of the claims
    concerned.
    """
    repository = hub.resolve(reference)
    texts, model, revision = hub.texts(repository), repository.model, repository.revision
    resolved = resolved_claims(texts, model, revision, config, registry)
    cells = _cells(resolved, [registry[name] for name in only or ()], config)
    for finding in resolved.impossible.values():
        err.print(f"{escape(model)}, before anything is run: {escape(finding.sentence)}")
    results: dict[tuple[str, str], Measurement | VerifyError] = {}
    subject = None
    if cells:
        try:
            hub.check_safety(repository)
            repository = hub.fetch_weights(repository)
            hub.check_safety(repository)
            subject = Subject(repository.model, repository.revision, repository.folder, hub.digests(repository))
        except VerifyError as error:
            results = dict.fromkeys(cells, error)
        else:
            results = _measured(subject, cells, resolved, config, err)
    claimed = {(match.task.name, match.split) for match in resolved.matches if match.task}
    for cell, result in results.items():
        if isinstance(result, VerifyError) and cell not in claimed:
            raise result
    folder = Path(config.results) / slug(model)
    verdicts = judged(resolved, results, config.policy, retry)
    verdicts = explained(verdicts, resolved, results, folder)
    record = recorded(
        resolved,
        results,
        cells,
        folder,
        model=model,
        reference=str(repository.folder.resolve()) if repository.is_local else f"{model}@{revision}",
        revision=revision,
        digests=subject.digests if subject else {},
        retry=retry,
        policy=config.policy.name,
        conditions=_conditions(config),
    )
    write_record(folder, record)
    return Outcome(model, revision, verdicts, measurements_of(results), resolved.findings)


def _cells(resolved: Resolved, asked: Sequence[TaskSpec], config: VerifyConfig) -> dict[tuple[str, str], TaskSpec]:
    """What must be measured: (task, split) for every claim still open, and for every task asked for by name."""
    cells = {
        (match.task.name, match.split): match.task
        for claim, match in zip(resolved.claims, resolved.matches, strict=True)
        if match.task is not None and claim.claim_id not in resolved.impossible and is_measurable(claim, match.task)
    }
    covered = {name for name, _ in cells}
    for task in asked:
        if task.name not in covered:
            cells[(task.name, config.override.split or task.dataset.split)] = task
    for task in cells.values():
        check_metrics(task)
    return cells


def _measured(
    subject: Subject,
    cells: Mapping[tuple[str, str], TaskSpec],
    resolved: Resolved,
    config: VerifyConfig,
    err: Console,
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
        settled = settled_by(config.policy, resolved, list(pinned))
        measured = measure(subject, list(pinned.values()), config, view.emit, settled)
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


def _models(config: VerifyConfig) -> list[str]:
    if config.model:
        return [config.model]
    if config.suite and config.suite.models:
        return config.suite.models
    raise UsageError("Name a model: verify check MODEL, where MODEL is ORG/NAME, ORG/NAME@revision or a folder.")


def _asked_tasks(config: VerifyConfig, registry: Registry) -> list[str] | None:
    asked = config.asked_tasks()
    return None if asked is None else [registry.find(name).name for name in asked]
