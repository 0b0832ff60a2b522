"""A RESULT of the command line: where it is stored, what was claimed, and what was measured, all without a model.

Results are data. Of those that were not made here nothing is run, and no file is read that they name.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from verify.checking.kept_trials import require_readable
from verify.checking.measure import check_metrics
from verify.checking.outcome import FILE as VERDICTS
from verify.checking.outcome import Outcome, store
from verify.checking.present import PresentTasks, present_tasks
from verify.checking.rescore import rescore
from verify.checking.scoring import NOT_MADE_HERE, Code, Subject
from verify.checking.scoring import Cell as Measured
from verify.checking.verdicts import explained, judged, measurements_of
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError, UsageError, VerifyError
from verify.hub.repository import Base
from verify.store.files import DamagedError, ReadOnlyError, damaged
from verify.store.record import FILE, Cell, Record, failure, stored_record
from verify.store.runs import RunFolder
from verify.tasks.resolve import Resolved
from verify.types import FOREIGN, Measurement, Tell, Verdict

_KINDS_OF_RESULT = (
    f"a model's folder in results/, the {VERDICTS} in it, the folder of one run, or one file of measurements, as "
    "`verify check --json` prints it under result"
)


@dataclass(frozen=True)
class Stored:
    """The results of one model in ``folder``; ``cells`` are those that RESULT names, all of them or one.

    ``is_made_here`` says whether the record carries this user's seal.
    """

    folder: Path
    record: Record
    cells: tuple[Cell, ...]
    is_made_here: bool

    @property
    def is_whole(self) -> bool:
        return self.cells == self.record.cells

    @property
    def retry(self) -> str:
        """The command that checks the model again; a stranger's is not repeated."""
        return self.record.retry if self.is_made_here else shlex.join(["verify", "check", self.record.model])

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
    tasks: PresentTasks


def find(result: str) -> Stored:
    """The stored results that a RESULT names.

    Raises UsageError if it is none, and StoreError if it is one that cannot be read.
    """
    try:
        return _found(result)
    except (OSError, RuntimeError) as error:  # the latter: links that lead in a circle
        problem = getattr(error, "strerror", None) or "links lead in a circle"
        raise StoreError(f"{result} cannot be read: {problem}. Name {_KINDS_OF_RESULT}.") from error


def _found(result: str) -> Stored:
    path = Path(result).expanduser()
    if not os.path.lexists(path):
        raise UsageError(f"There is no {result}. Name {_KINDS_OF_RESULT}.")
    path = path.resolve(strict=True)
    if path.name in (FILE, VERDICTS):
        path = path.parent
    if os.path.lexists(path / FILE) or os.path.lexists(path / VERDICTS):
        record, is_made_here = _record(path)
        return Stored(_as_seen(path, result), record, record.cells, is_made_here)
    run = path.parents[1] if path.is_file() and path.parent.name == "measurements" else path
    if not os.path.lexists(run / "run.json"):
        raise UsageError(f"{result} is no result of a check. Name {_KINDS_OF_RESULT}.")
    folder = run.parents[1]
    record, is_made_here = _record(folder)
    cells = tuple(cell for cell in record.cells if cell.run is not None and folder / cell.run == run)
    if not cells:
        raise UsageError(
            f"{result} belongs to another run than the last check of {record.model}, whose claims stand in "
            f"{folder / FILE}. Name {_listed(record, folder)}, or check the model again with the settings of that run; "
            "it answers from what is stored."
        )
    return Stored(_as_seen(folder, result), record, cells, is_made_here)


def _record(folder: Path) -> tuple[Record, bool]:
    """The record beside results. Raises StoreError if it is gone or damaged."""
    try:
        return stored_record(folder)
    except UsageError as error:
        raise StoreError(str(error)) from error


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
    if not stored.is_made_here:
        notes.append(f"{stored.folder}: {NOT_MADE_HERE}")
    present = present_tasks(record, config.task_path, is_made_here=stored.is_made_here)
    notes += present.notes
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
        key = (cell.task, cell.split)
        if cell.failure is not None:
            results[key] = failure(cell.failure)
            continue
        try:
            results[key] = _scored(stored, cell, present, subject, rows)
        except (UsageError, DamagedError):
            raise
        except VerifyError as error:
            results[key] = error
    resolved = record.resolved()
    matches = tuple(replace(one, task=present.tasks[one.task.name]) if one.task else one for one in resolved.matches)
    return Again(replace(resolved, matches=matches), results, tuple(notes), present)


def _scored(stored: Stored, cell: Cell, present: PresentTasks, subject: Subject, rows: VerifyConfig) -> Measurement:
    """The scores of one cell. Raises StoreError if its run is gone, DamagedError if it is not what was stored."""
    task = present.tasks[cell.task]
    folder = _run_folder(stored, cell)
    if folder.info() is None:
        raise StoreError(f"The run in {folder.path} is gone or unreadable. To run it again: {stored.retry}")
    with doubted(folder.path) if folder.received else contextlib.nullcontext():
        code = None
        if cell.task not in present.own and any(name.startswith(FOREIGN) for name in task.metrics):
            code = Code(folder.measurement_in(stored.folder / cell.scores) if cell.scores else None)
        else:
            check_metrics(task)
        measured = Measured(task, cell.split, cell.dataset_revision)
        return rescore(subject, measured, folder, cell.dataset_digest, rows, code)


def _run_folder(stored: Stored, cell: Cell) -> RunFolder:
    """The run of a cell: as it was made here, else as it was received."""
    path = stored.folder / (cell.run or "")
    if not stored.is_made_here and not path.resolve().is_relative_to(stored.folder.resolve()):
        raise DamagedError(damaged(stored.folder / FILE, f"{cell.run} leads outside the folder"))
    folder = RunFolder(path)
    if folder.info() is None:
        folder = RunFolder(path, received=True)
    folder.require_sound()
    require_readable(path)
    return folder


@contextlib.contextmanager
def doubted(place: Path) -> Iterator[None]:
    """Have whatever goes wrong with results that were not made here said of them: any program may have written them."""
    try:
        yield
    except VerifyError:
        raise
    except Exception as error:
        raise DamagedError(damaged(place, f"what is stored does not fit together ({type(error).__name__})")) from error


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


def opened(results: Sequence[str], config: VerifyConfig, tell: Tell) -> Iterator[tuple[Stored, Again]]:
    """Every RESULT with its scores; all are found before the first is scored, and notes go to ``tell``.

    Raises UsageError for one that cannot be read.
    """
    for result, stored in [(result, find(result)) for result in results]:
        with doubt(stored):
            again = measured_again(stored, config)
            require_current(result, stored, again)
        for note in again.notes:
            tell(note)
        yield stored, again


def doubt(stored: Stored) -> contextlib.AbstractContextManager[None]:
    """:func:`doubted` for results that were not made here; errors in what was are those of this program."""
    return contextlib.nullcontext() if stored.is_made_here else doubted(stored.folder)


def concluded(stored: Stored, again: Again, verdicts: tuple[Verdict, ...], tell: Tell) -> Outcome:
    """Store the verdicts on the whole model; what of them is about the cells that RESULT names.

    Results that may only be read are told like any other, and ``tell`` hears that nothing was written.
    """
    record = stored.record
    if not stored.is_made_here:
        verdicts = tuple(replace(one, notes=tuple(dict.fromkeys((NOT_MADE_HERE, *one.notes)))) for one in verdicts)
    whole = Outcome(record.model, record.revision, verdicts, measurements_of(again.results), again.resolved.findings)
    try:
        store(whole, stored.folder)
    except ReadOnlyError:
        tell(f"{stored.folder} may not be written, so the verdicts are shown and not stored.")
    return stored.part(whole)


def judge_stored(stored: Stored, again: Again, config: VerifyConfig, tell: Tell) -> Outcome:
    """Judge stored results by the policy of ``config``, and store the verdicts; nothing is run."""
    with doubt(stored):
        verdicts = judged(again.resolved, again.results, config.policy, stored.retry)
        return concluded(stored, again, explained(verdicts, again.resolved, again.results, stored.folder), tell)


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


def _listed(record: Record, folder: Path) -> str:
    runs = [str(folder / cell.run) for cell in record.cells if cell.run]
    return " or ".join(runs) if runs else str(folder)
