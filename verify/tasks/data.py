"""Loading a task's examples with `datasets`, and checking that they are what the task says that they are."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.errors import DataError, NotComparableError, VerifyError
from verify.spelling import suggestion
from verify.types import TaskSpec


@dataclass(frozen=True)
class Examples:
    """The examples of one split: ``table`` is a `datasets.Dataset`, read a row or a slice at a time.

    ``labels`` are the class names in label-id order, or None where neither data nor task name them; ``is_regression``
    is true for a numeric target, ``is_labelled`` false for a split whose labels the task says are kept secret.
    ``notes`` says what differs from the task file.
    """

    table: Any
    split: str
    columns: dict[str, str]
    labels: tuple[str, ...] | None
    is_regression: bool
    notes: tuple[str, ...]
    is_labelled: bool = True

    def __len__(self) -> int:
        return len(self.table)

    def column(self, role: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of one role (text, image, label …), of all rows or of the rows given."""
        table = self.table.select_columns([self.columns[role]])
        return list((table if rows is None else table.select(rows))[self.columns[role]])

    def references(self) -> list[int] | list[float]:
        """Label ids (int), or targets (float) for regression.

        Raises NotComparableError if the split lacks some, DataError if some are none of the classes.
        """
        values = self.column("label")
        if not self.is_labelled or any(_is_missing(value, self.is_regression) for value in values):
            raise NotComparableError(
                f"The split {self.split} carries no labels for some of its examples (they are -1 or missing), so "
                "nothing can be scored on it. Choose a labelled split with override.split=NAME."
            )
        if self.is_regression:
            return [float(value) for value in values]
        names = self.labels
        if values and isinstance(values[0], str):
            ids = {name: i for i, name in enumerate(names or ())}
            if unknown := sorted({value for value in values if value not in ids}):
                raise DataError(f"The label {unknown[0]!r} is not among the task's labels. Correct labels in the task.")
            return [ids[value] for value in values]
        if names is not None and values and max(values) >= len(names):
            raise DataError(
                f"The split {self.split} holds the label {max(values)}, but the {len(names)} labels have the ids 0 to "
                f"{len(names) - 1} ({', '.join(names[:6])}{', …' if len(names) > 6 else ''}). Correct labels in the "
                "task, or the data."
            )
        return [int(value) for value in values]


def load_examples(task: TaskSpec, split: str, revision: str | None = None, *, first: int | None = None) -> Examples:
    """Load one split of a task's data set; ``first`` streams only that many rows from the Hub.

    Raises DataError when the data set or a column is missing, and NotComparableError when it has no such split; both
    name what there is.
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
    return Examples(table, split, columns, labels, is_regression, tuple(notes), split not in task.unlabelled)


DIFFERENT_DATA = "the data at hand are not the claimed data"


def is_local(task: TaskSpec) -> bool:
    """Whether a task's data are files or a folder here, and not a data set on the Hub."""
    return task.dataset.data_files is not None or Path(task.dataset.path).is_dir()


def source_digest(task: TaskSpec) -> str | None:
    """Sixteen hex digits over the local files of a data set, their bytes and what they are called inside it.

    None for a data set on the Hub. A split or a class may be told by a folder's name alone, so names count.
    """
    if not is_local(task):
        return None
    source = task.dataset
    if source.data_files is not None:
        files = {split: Path(file) for split, file in source.data_files.items()}
    else:
        folder = Path(source.path)
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{task.file}: the data file {file} cannot be read: {error.strerror}.") from error
        digest.update(f"{name}\0{content}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _load(task: TaskSpec, split: str, revision: str | None, first: int | None) -> Any:
    import datasets

    datasets.disable_progress_bars()
    source = task.dataset
    on_hub = not is_local(task)
    files = dict(source.data_files) if source.data_files is not None else None
    if files is not None and split not in files:
        raise NotComparableError(
            f"{task.file}: dataset.data_files names no split {split!r}. {suggestion(split, files)}"
        )
    if files is not None and not Path(files[split]).is_file():
        raise DataError(
            f"The data set {source.path}, split {split}, could not be loaded: {task.file}: the data file "
            f"{files[split]} cannot be read: No such file."
        )
    try:
        if on_hub and first is not None:
            stream = datasets.load_dataset(
                source.path, source.name, split=split, revision=revision or source.revision, streaming=True
            )
            return datasets.Dataset.from_list(list(stream.take(first)), features=stream.features)
        table = datasets.load_dataset(
            source.path,
            source.name,
            data_files={split: files[split]} if files is not None else None,
            split=split,
            revision=(revision or source.revision) if on_hub else None,
        )
    except Exception as error:
        raise _data_error(task, split, error) from error
    return table if first is None else table.select(range(min(first, len(table))))


def _data_error(task: TaskSpec, split: str, error: Exception) -> VerifyError:
    where = f"The data set {task.dataset.path}" + (f" ({task.dataset.name})" if task.dataset.name else "")
    while type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split())
    if "Unknown split" in text or "Bad split" in text:
        return NotComparableError(f"{where} has no split {split!r}: {text} Choose one with override.split=NAME.")
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


def _is_missing(value: Any, is_regression: bool) -> bool:
    if value is None or isinstance(value, str):
        return value is None
    return bool(math.isnan(value)) if is_regression else bool(value < 0)


def _labels(task: TaskSpec, table: Any) -> tuple[tuple[str, ...] | None, bool]:
    feature = table.features[task.columns["label"]]
    names = getattr(feature, "names", None)
    if names:
        return tuple(names), False
    dtype = getattr(feature, "dtype", "")
    if dtype.startswith("float"):
        if task.labels is not None:
            raise DataError(
                f"{task.file}: columns.label: the column {task.columns['label']!r} holds decimal numbers, where the "
                "task names classes. Whole numbers with gaps are read so too: fill the gaps, or take labels out."
            )
        return None, True
    if dtype in ("string", "large_string"):
        named = {name for name in table[task.columns["label"]] if name is not None}
        return task.labels or tuple(sorted(named)), False
    if dtype.startswith(("int", "uint", "bool")):
        return task.labels, False
    raise DataError(
        f"{task.file}: columns.label: the column {task.columns['label']!r} holds {feature}, where a class "
        "or a number is expected."
    )
