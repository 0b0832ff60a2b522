"""The tasks of a record as they are now: in the user's own files, never in a file that received results name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from verify.checking.measure import check_metrics
from verify.errors import UsageError, VerifyError
from verify.store.files import DamagedError
from verify.store.record import Record, rooted
from verify.tasks.kinds import inference_settings
from verify.tasks.places import is_local, source_digest
from verify.tasks.registry import load_registry
from verify.tasks.schema import parse_task
from verify.types import FOREIGN, DatasetSource, TaskSpec


@dataclass(frozen=True)
class PresentTasks:
    """Every task of a record by name.

    ``own`` names those that stand in a file of the user's, or of this package: only these may name code and data.
    """

    tasks: Mapping[str, TaskSpec]
    own: frozenset[str]
    notes: tuple[str, ...]


def present_tasks(record: Record, task_path: Sequence[str], *, is_made_here: bool) -> PresentTasks:
    """The tasks of a record as their files are now, and a note on each that now asks for other predictions.

    The file that the user had given when the record was made is read again if it ``is_made_here``; else the files are
    those in the folders of ``task_path``, and the built-in ones.
    """
    given = load_registry(task_path) if task_path or not is_made_here else {}
    tasks, own, notes = dict[str, TaskSpec](), set[str](), list[str]()
    for task in record.tasks:
        now = rooted(given[task.name]) if task.name in given else _read_again(task) if is_made_here else None
        if now is not None and not _asks_the_same(now, task, record, is_made_here=is_made_here):
            notes.append(
                f"{now.file} has changed in what is run, so {task.name} is judged as it was when it was run. To run it "
                "as it is now, check the model again."
            )
            now = None
        tasks[task.name] = now or task
        if now is not None or is_made_here:
            own.add(task.name)
        else:
            notes += _without_code(task)
    return PresentTasks(tasks, frozenset(own), tuple(notes))


def _without_code(task: TaskSpec) -> list[str]:
    """A note on the metrics of a received task that are code. Raises DamagedError for one that is none at all."""
    code = [name for name in task.metrics if name.startswith(FOREIGN)]
    try:
        check_metrics(replace(task, metrics=tuple(name for name in task.metrics if name not in code)))
    except UsageError as error:
        raise DamagedError(f"The record of these results is damaged, or another program changed it: {error}") from error
    if not code:
        return []
    return [
        f"{', '.join(code)} of {task.name} is code that these results name, and code is run from your own task files "
        "only. What it gave is shown as far as it is stored. To run it, name the folder of your task file: "
        "task_path=[FOLDER]."
    ]


def _read_again(task: TaskSpec) -> TaskSpec | None:
    """The task as its file is now; None where the file is gone."""
    file = Path(task.file)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return rooted(parse_task(text, name=task.name, file=str(file)))


def _asks_the_same(now: TaskSpec, task: TaskSpec, record: Record, *, is_made_here: bool) -> bool:
    """Whether the predictions of a task would be those that are stored.

    The data of received results lay elsewhere, so their content is compared, not their place.
    """
    if _asks_for(now, now.dataset) == _asks_for(task, task.dataset):
        return True
    if is_made_here or not is_local(now) or not is_local(task):
        return False
    if _asks_for(now, _nowhere(now.dataset)) != _asks_for(task, _nowhere(task.dataset)):
        return False
    try:
        digest = source_digest(now)
    except VerifyError:
        return False
    return all(cell.dataset_digest == digest for cell in record.cells if cell.task == task.name and cell.run)


def _nowhere(source: DatasetSource) -> DatasetSource:
    if source.data_files is None:
        return replace(source, path="")
    return replace(source, data_files=dict.fromkeys(source.data_files, ""))


def _asks_for(task: TaskSpec, source: DatasetSource) -> tuple[object, ...]:
    """All of a task on which predictions depend."""
    return (
        task.kind,
        source,
        dict(task.columns),
        task.labels,
        dict(task.label_aliases),
        task.drop_unlabelled,
        inference_settings(task.kind, task.settings),
    )
