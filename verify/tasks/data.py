"""Loading a task's examples with `datasets`, and checking that they are what the task says that they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import DataError, NotComparableError
from verify.foundation.spelling import suggestion
from verify.tasks.reading import load_table
from verify.types import TaskSpec


@dataclass(frozen=True)
class Examples:
    """The examples of one split: ``table`` is a `datasets.Dataset`, read a row or a slice at a time.

    ``labels`` are the class or tag names in label-id order, or None where neither data nor task name them, or where the
    kind has none; ``is_regression`` is true for a numeric target, ``is_multi_label`` where each example has a list of
    classes, ``is_labelled`` false for a split whose references the task says are kept secret. ``notes`` says what
    differs from the task file.
    """

    table: Any
    split: str
    columns: dict[str, str]
    labels: tuple[str, ...] | None
    is_regression: bool
    notes: tuple[str, ...]
    is_labelled: bool = True
    is_multi_label: bool = False

    def __len__(self) -> int:
        return len(self.table)

    def column(self, role: str, rows: Sequence[int] | None = None) -> list[Any]:
        """The values of one role (text, image, label …), of all rows or of the rows given."""
        name, *parts = [self.columns[role]] if self.columns[role] in self.table.column_names else _path(self, role)
        table = self.table.select_columns([name])
        values = list((table if rows is None else table.select(rows))[name][:])
        for part in parts:
            values = [None if value is None else value[part] for value in values]
        return values

    def require_references(self) -> None:
        """Raise NotComparableError if the task says that this split's references are kept secret."""
        if not self.is_labelled:
            raise NotComparableError(_UNLABELLED.format(self.split, "references are kept secret"))

    def reference_sets(self) -> NDArray[np.bool_]:
        """Which of ``labels`` each example has, [N, L].

        Raises NotComparableError if the split lacks references, DataError if some are none of the classes.
        """
        self.require_references()
        names = self.labels or ()
        ids = {name: i for i, name in enumerate(names)}
        sets = np.zeros((len(self), len(names)), dtype=np.bool_)
        for row, values in enumerate(self.column("label")):
            if values is None:
                raise NotComparableError(_UNLABELLED.format(self.split, f"labels are missing in row {row}"))
            for value in values:
                label = ids.get(value, -1) if isinstance(value, str) else int(value)
                if not 0 <= label < len(names):
                    raise DataError(
                        f"The label {value!r} in row {row} is not among the task's {len(names)} labels. Correct labels "
                        "in the task."
                    )
                sets[row, label] = True
        return sets

    def references(self) -> list[int] | list[float]:
        """Label ids (int), or targets (float) for regression.

        Raises NotComparableError if the split lacks some, DataError if some are none of the classes.
        """
        values = self.column("label")
        if not self.is_labelled or any(_is_missing(value, self.is_regression) for value in values):
            raise NotComparableError(_UNLABELLED.format(self.split, "labels of some examples are -1 or missing"))
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


_UNLABELLED = (
    "The split {} cannot be scored: its {}, so there is nothing to compare with. Choose a labelled split with "
    "override.split=NAME."
)


def load_examples(task: TaskSpec, split: str, revision: str | None = None, *, first: int | None = None) -> Examples:
    """Load one split of a task's data set; ``first`` streams only that many rows from the Hub.

    Raises DataError when the data set or a column is missing, and NotComparableError when it has no such split; both
    name what there is.
    """
    table = load_table(task, split, revision, first)
    columns = dict(task.columns)
    for role, column in columns.items():
        name = column if column in table.column_names else column.partition(".")[0]
        if name not in table.column_names:
            raise DataError(
                f"{task.file}: columns.{role}: the data set {task.dataset.path} has no column {name!r}. "
                f"{suggestion(name, table.column_names)}"
            )
        feature: Any = table.features[name]
        for part in column[len(name) :].split(".")[1:]:
            known = sorted(feature) if isinstance(feature, Mapping) else []
            if part not in known:
                raise DataError(
                    f"{task.file}: columns.{role}: {column}: there is no part {part!r}. "
                    + (suggestion(part, known) if known else f"The column {name} has no parts.")
                )
            feature = feature[part]
    labels, is_regression, is_multi_label = _labels(task, table)
    if task.drop_unlabelled:
        values = table[task.columns["label"]][:]
        labelled = [row for row, value in enumerate(values) if not _is_missing(value, is_regression)]
        table = table.select(labelled)
    expected, notes = task.rows.get(split), []
    if expected is not None and first is None and len(table) != expected:
        notes.append(f"{DIFFERENT_DATA}: {len(table)} rows in {split}, where the task states {expected}")
    is_labelled = split not in task.unlabelled
    return Examples(table, split, columns, labels, is_regression, tuple(notes), is_labelled, is_multi_label)


DIFFERENT_DATA = "the data at hand are not the claimed data"


def _is_missing(value: Any, is_regression: bool) -> bool:
    if value is None or isinstance(value, str):
        return value is None
    return bool(math.isnan(value)) if is_regression else bool(value < 0)


def _path(examples: Examples, role: str) -> list[str]:
    return examples.columns[role].split(".")


def _labels(task: TaskSpec, table: Any) -> tuple[tuple[str, ...] | None, bool, bool]:
    """The class names, whether the target is a number, and whether each example has a list of classes."""
    if task.kind == "token-classification":
        return _names(table.features[task.columns["tags"]]) or task.labels, False, False
    if "label" not in task.columns:
        return None, False, False
    column = task.columns["label"]
    feature = table.features[column]
    names = _names(feature)
    if hasattr(feature, "feature") or isinstance(feature, list):
        found = {value for row in table[column][:] for value in row or ()}
        if not found <= set(range(1_000_000)) and not all(isinstance(value, str) for value in found):
            raise DataError(f"{task.file}: columns.label: the lists in {column!r} hold neither class ids nor names.")
        named = sorted(str(value) for value in found if isinstance(value, str))
        ids = [str(i) for i in range(max((int(i) for i in found if not isinstance(i, str)), default=-1) + 1)]
        return names or task.labels or tuple(named or ids), False, True
    if names:
        return names, False, False
    dtype = getattr(feature, "dtype", "")
    if dtype.startswith("float"):
        if task.labels is not None:
            raise DataError(
                f"{task.file}: columns.label: the column {column!r} holds decimal numbers, where the "
                "task names classes. Whole numbers with gaps are read so too: fill the gaps, or take labels out."
            )
        return None, True, False
    if dtype in ("string", "large_string"):
        named_classes = {name for name in table[column][:] if name is not None}
        return task.labels or tuple(sorted(named_classes)), False, False
    if dtype.startswith(("int", "uint", "bool")):
        return task.labels, False, False
    raise DataError(
        f"{task.file}: columns.label: the column {column!r} holds {feature}, where a class or a number is expected."
    )


def _names(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of the ClassLabel inside a list."""
    inner = feature[0] if isinstance(feature, list) else getattr(feature, "feature", feature)
    names = getattr(inner, "names", None)
    return tuple(names) if names else None
