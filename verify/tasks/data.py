"""Loading a task's examples with `datasets`, and checking that they are what the task says that they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.errors import DataError, NotComparableError
from verify.spelling import suggestion
from verify.types import TaskSpec


@dataclass(frozen=True)
class Examples:
    """The examples of one split: ``table`` is a `datasets.Dataset`, read a row or a slice at a time.

    ``labels`` are the class names in label-id order, or None where neither data nor task name them; ``is_regression``
    is true for a numeric target. ``notes`` says what differs from the task file.
    """

    table: Any
    split: str
    columns: dict[str, str]
    labels: tuple[str, ...] | None
    is_regression: bool
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)

    def column(self, role: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of one role (text, image, label …), of all rows or of the rows given."""
        table = self.table.select_columns([self.columns[role]])
        return list((table if rows is None else table.select(rows))[self.columns[role]])

    def references(self) -> list[int] | list[float]:
        """Label ids (int), or targets (float) for regression. Raises NotComparableError if the split has none."""
        values = self.column("label")
        if self.is_regression:
            return [float(value) for value in values]
        if values and isinstance(values[0], str):
            ids = {name: i for i, name in enumerate(self.labels or ())}
            if unknown := sorted({value for value in values if value not in ids}):
                raise DataError(f"The label {unknown[0]!r} is not among the task's labels. Correct labels in the task.")
            return [ids[value] for value in values]
        if any(value is None or value < 0 for value in values):
            raise NotComparableError(
                f"The split {self.split} carries no labels for some of its examples (they are -1 or missing), so "
                "nothing can be scored on it. Choose a labelled split with override.split=NAME."
            )
        return [int(value) for value in values]


def load_examples(task: TaskSpec, split: str, revision: str | None = None, *, first: int | None = None) -> Examples:
    """Load one split of a task's data set; ``first`` streams only that many rows from the Hub.

    Raises DataError when the data set, split or a column is missing (naming the ones that exist).
    """
    table = _load(task, split, revision, first)
    columns = dict(task.columns)
    for role, column in columns.items():
        if column not in table.column_names:
            raise DataError(
                f"{task.file}: columns.{role}: the data set {task.dataset.path} has no column {column!r}. "
                f"{suggestion(column, table.column_names)}"
            )
    labels, is_regression = _labels(task, table)
    expected, notes = task.rows.get(split), []
    if expected is not None and first is None and len(table) != expected:
        notes.append(f"{DIFFERENT_DATA}: {len(table)} rows in {split}, where the task states {expected}")
    return Examples(table, split, columns, labels, is_regression, tuple(notes))


DIFFERENT_DATA = "the data at hand are not the claimed data"


def source_digest(task: TaskSpec) -> str | None:
    """Sixteen hex digits over the local files of a data set (names and bytes); None for a data set on the Hub."""
    source = task.dataset
    if source.data_files is not None:
        files = sorted(Path(file) for file in source.data_files.values())
    elif Path(source.path).is_dir():
        files = sorted(path for path in Path(source.path).rglob("*") if path.is_file())
    else:
        return None
    digest = hashlib.sha256()
    for file in files:
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{task.file}: the data file {file} cannot be read: {error.strerror}.") from error
        digest.update(f"{file.name}\0{content}\0".encode())
    return digest.hexdigest()[:16]


def _load(task: TaskSpec, split: str, revision: str | None, first: int | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    source = task.dataset
    streaming = first is not None and source_digest(task) is None
    files = dict(source.data_files) if source.data_files is not None else None
    if files is not None and split not in files:
        raise DataError(f"{task.file}: dataset.data_files names no split {split!r}. {suggestion(split, files)}")
    try:
        if streaming:
            stream = datasets.load_dataset(
                source.path, source.name, split=split, revision=revision or source.revision, streaming=True
            )
            return datasets.Dataset.from_list(list(stream.take(first)), features=stream.features)
        table = datasets.load_dataset(
            source.path,
            source.name,
            data_files={split: files[split]} if files is not None else None,
            split=split,
            revision=(revision or source.revision) if source_digest(task) is None else None,
        )
    except Exception as error:
        raise _data_error(task, split, error) from error
    return table if first is None else table.select(range(min(first, len(table))))


def _data_error(task: TaskSpec, split: str, error: Exception) -> DataError:
    where = f"The data set {task.dataset.path}" + (f" ({task.dataset.name})" if task.dataset.name else "")
    text = " ".join(str(error).split())
    if "Unknown split" in text or "Bad split" in text:
        return DataError(f"{where} has no split {split!r}: {text} Choose one with override.split=NAME.")
    if "scripts are no longer supported" in text:
        return DataError(
            f"{where} needs its author's loading script, which is refused. Point the task at a copy as files."
        )
    if "BuilderConfig" in text:
        return DataError(f"{where}: {text} Correct dataset.name in {task.file}.")
    return DataError(
        f"{where}, split {split}, could not be loaded: {type(error).__name__}: {text[:400]} "
        "Check the name, your connection, and HF_TOKEN if the data set is gated."
    )


def _labels(task: TaskSpec, table: Any) -> tuple[tuple[str, ...] | None, bool]:
    feature = table.features[task.columns["label"]]
    names = getattr(feature, "names", None)
    if names:
        return tuple(names), False
    dtype = getattr(feature, "dtype", "")
    if dtype.startswith("float"):
        return None, True
    if dtype in ("string", "large_string"):
        return task.labels or tuple(sorted(set(table[task.columns["label"]]))), False
    if dtype.startswith(("int", "uint", "bool")):
        return task.labels, False
    raise DataError(
        f"{task.file}: columns.label: the column {task.columns['label']!r} holds {feature}, where a class "
        "or a number is expected."
    )
