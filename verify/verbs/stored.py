"""A RESULT of the command line: where it is stored, what was claimed, and what was measured, all without a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify.config import VerifyConfig
from verify.errors import StoreError, UsageError, VerifyError
from verify.measure import Cell as Measured
from verify.measure import Subject, check_metrics, rescore
from verify.record import FILE, Cell, Record, failure, read_record, rooted
from verify.repository import Base
from verify.store import RunFolder
from verify.tasks.kinds import inference_settings
from verify.tasks.registry import load_registry
from verify.tasks.resolve import Resolved
from verify.tasks.schema import parse_task
from verify.types import Measurement, TaskSpec, Verdict
from verify.verbs.verdicts import FILE as VERDICTS
from verify.verbs.verdicts import Outcome, measurements_of, store

_KINDS_OF_RESULT = (
    f"a model's folder in results/, the {VERDICTS} in it, the folder of one run, or one file of measurements, as "
    "`verify check --json` prints it under result"
)


@dataclass(frozen=True)
class Stored:
    """The results of one model in ``folder``; ``cells`` are those that RESULT names, all of them or one."""

    folder: Path
    record: Record
    cells: tuple[Cell, ...]

    @property
    def is_whole(self) -> bool:
        return self.cells == self.record.cells

    def part(self, outcome: Outcome) -> Outcome:
        """What of an outcome is about the cells that RESULT names."""
        if self.is_whole:
            return outcome
        keys = {(cell.task, cell.split) for cell in self.cells}
        return replace(
            outcome,
            verdicts=tuple(one for one in outcome.verdicts if (one.task, one.split) in keys),
            measurements=tuple(one for one in outcome.measurements if (one.task, one.split) in keys),
            findings=(),
        )


@dataclass(frozen=True)
class Again:
    """The claims of a record and their scores by the present version and tasks; ``notes`` are for the user."""

    resolved: Resolved
    results: dict[tuple[str, str], Measurement | VerifyError]
    notes: tuple[str, ...]


def find(result: str) -> Stored:
    """The stored results that a RESULT names. Raises UsageError if it is none, or none that can be read."""
    path = Path(result).expanduser()
    if not path.exists():
        raise UsageError(f"There is no {result}. Name {_KINDS_OF_RESULT}.")
    path = path.resolve()
    if path.name in (FILE, VERDICTS):
        path = path.parent
    if (path / FILE).is_file() or (path / VERDICTS).is_file():
        record = read_record(path)
        return Stored(_as_seen(path, result), record, record.cells)
    run = path.parents[1] if path.is_file() and path.parent.name == "measurements" else path
    if not (run / "run.json").is_file():
        raise UsageError(f"{result} is no result of a check. Name {_KINDS_OF_RESULT}.")
    folder = run.parents[1]
    record = read_record(folder)
    cells = tuple(cell for cell in record.cells if cell.run is not None and folder / cell.run == run)
    if not cells:
        raise UsageError(
            f"{result} belongs to another run than the last check of {record.model}, whose claims stand in "
            f"{folder / FILE}. Name {_listed(record, folder)}, or check the model again with the settings of that run; "
            "it answers from what is stored."
        )
    return Stored(_as_seen(folder, result), record, cells)


def _as_seen(folder: Path, result: str) -> Path:
    """The folder as the user would write it: from the working folder, if that is how RESULT is named."""
    here = Path.cwd()
    is_relative = not Path(result).expanduser().is_absolute()
    return folder.relative_to(here) if is_relative and folder.is_relative_to(here) else folder


def measured_again(stored: Stored, config: VerifyConfig) -> Again:
    """Every score of a record, read where it is stored for the present scorer and task files, else computed anew.

    A task file that was changed since counts, unless it now asks for other predictions. The rows are those that the
    check chose, and so is the share of them that ran a second time. ``config`` gives the rest.
    """
    record, notes = stored.record, []
    tasks, changed = _present_tasks(record, config.task_path)
    notes += changed
    rows = replace(
        config,
        limit=record.conditions.limit,
        seed=record.conditions.seed,
        policy=replace(config.policy, probe_share=record.conditions.probe_share),
    )
    if config.policy.probe_share > record.conditions.probe_share:
        notes.append(
            f"The policy {config.policy.name} asks that {config.policy.probe_share:.0%} of the examples run a second "
            f"time; {record.conditions.probe_share:.0%} did. For more: verify check with this policy."
        )
    base = Base(record.base, Path(record.base)) if record.base else None
    subject = Subject(record.model, record.revision, Path(record.reference), record.digests, base=base)
    results: dict[tuple[str, str], Measurement | VerifyError] = {}
    for cell in record.cells:
        task = tasks[cell.task]
        key = (cell.task, cell.split)
        if cell.failure is not None:
            results[key] = failure(cell.failure)
            continue
        check_metrics(task)
        folder = RunFolder(stored.folder / (cell.run or ""))
        measured = Measured(task, cell.split, cell.dataset_revision)
        try:
            if folder.info() is None:
                raise StoreError(f"The run in {folder.path} is gone or unreadable. To run it again: {record.retry}")
            results[key] = rescore(subject, measured, folder, cell.dataset_digest, rows)
        except UsageError:
            raise
        except VerifyError as error:
            results[key] = error
    resolved = record.resolved()
    matches = tuple(replace(one, task=tasks[one.task.name]) if one.task else one for one in resolved.matches)
    return Again(replace(resolved, matches=matches), results, tuple(notes))


def rerun_config(stored: Stored, config: VerifyConfig) -> VerifyConfig:
    """The configuration of a check like the recorded one, on the engine that ``config`` asks for."""
    conditions = stored.record.conditions
    return replace(
        config,
        results=str(stored.folder.parent),
        limit=None,
        seed=conditions.seed,
        engine=replace(config.engine, dtype=conditions.dtype, precision=conditions.precision),
        override=replace(config.override, max_length=conditions.max_length),
    )


def opened(results: Sequence[str], config: VerifyConfig, err: Console) -> Iterator[tuple[Stored, Again]]:
    """Every RESULT with its scores; all are found before the first is scored, and notes go to ``err``.

    Raises UsageError for one that cannot be read.
    """
    for result, stored in [(result, find(result)) for result in results]:
        again = measured_again(stored, config)
        require_current(result, stored, again)
        for note in again.notes:
            err.print(escape(note))
        yield stored, again


def concluded(stored: Stored, again: Again, verdicts: tuple[Verdict, ...]) -> Outcome:
    """Store the verdicts on the whole model; what of them is about the cells that RESULT names."""
    record = stored.record
    whole = Outcome(record.model, record.revision, verdicts, measurements_of(again.results), again.resolved.findings)
    store(whole, stored.folder)
    return stored.part(whole)


def require_current(result: str, stored: Stored, again: Again) -> None:
    """Raise UsageError if RESULT is a file of scores, and not of those that are judged."""
    path = Path(result).expanduser().resolve()
    if not path.is_file() or path.parent.name != "measurements":
        return
    (cell,) = stored.cells
    now = again.results[cell.task, cell.split]
    current = [stored.folder / (cell.scores or "")]
    if isinstance(now, Measurement) and now.result:
        current.append(Path(now.result))
    if path not in [file.resolve() for file in current]:
        raise UsageError(
            f"{result} was measured on other rows, or for another version of the task, than the last check of "
            f"{stored.record.model}. Name {cell.scores} in {stored.folder}, or check the model again with the "
            "settings of that measurement; it answers from what is stored."
        )


def _present_tasks(record: Record, task_path: Sequence[str]) -> tuple[dict[str, TaskSpec], list[str]]:
    """The tasks of a record as their files are now, and a note on each that now asks for other predictions."""
    given = load_registry(task_path) if task_path else {}
    tasks, notes = {}, []
    for task in record.tasks:
        now = rooted(given[task.name]) if task.name in given else _read_again(task)
        if now is not None and _asks_for(now) != _asks_for(task):
            notes.append(
                f"{now.file} has changed in what is run, so {task.name} is judged as it was when it was run. To run it "
                "as it is now, check the model again."
            )
            now = None
        tasks[task.name] = now or task
    return tasks, notes


def _read_again(task: TaskSpec) -> TaskSpec | None:
    """The task as its file is now; None where the file is gone."""
    file = Path(task.file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return rooted(parse_task(text, name=task.name, file=str(file)))


def _asks_for(task: TaskSpec) -> tuple[object, ...]:
    """All of a task on which predictions depend."""
    return (
        task.kind,
        task.dataset,
        dict(task.columns),
        task.labels,
        dict(task.label_aliases),
        task.drop_unlabelled,
        inference_settings(task.kind, task.settings),
    )


def _listed(record: Record, folder: Path) -> str:
    runs = [str(folder / cell.run) for cell in record.cells if cell.run]
    return " or ".join(runs) if runs else str(folder)
