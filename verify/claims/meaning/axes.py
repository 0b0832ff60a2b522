"""The axes of a table: what the rows of its header and its columns of labels name, and which label is this model's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from verify.claims.form.grid import Cell, Grid
from verify.claims.form.values import Number
from verify.claims.meaning.identity import Owner, extends, is_precision, looks_like_model, owners, sizes
from verify.claims.meaning.labels import Said, read_label
from verify.claims.meaning.surroundings import Surroundings
from verify.claims.meaning.vocabulary import key
from verify.claims.meaning.words import heads

_DATASET_LINK = re.compile(r"(?:huggingface\.co|hf\.co)/datasets/([\w.-]{1,96}(?:/[\w.-]{1,96})?)")
_SIZE_HEADS = frozenset(("size", "modelsize", "params", "parameters", "param", "paramsb"))
_NEWER = re.compile(r"\b(?:updated?|new|newer|latest|after|current|release)\b", re.IGNORECASE)
_OLDER = re.compile(r"\b(?:original|old|older|previous|prior|before|preview)\b", re.IGNORECASE)


@dataclass
class Axis:
    """One row of the header, or one column of labels; ``places`` are the columns or rows that its labels stand for."""

    labels: list[str]
    targets: list[str | None]
    places: list[int]
    head: str
    said: list[Said]
    kind: str = "score"
    role: str = "dataset"
    owner: dict[int, Owner] = field(default_factory=dict)
    family: bool = False

    def at(self, place: int) -> Said:
        return self.by_place.get(place, NOTHING)

    def __post_init__(self) -> None:
        self.by_place = dict(zip(self.places, self.said, strict=True))
        self.label_at = dict(zip(self.places, self.labels, strict=True))


NOTHING = Said()


class Axes:
    """The axes of one table. ``numeric`` are its columns of numbers; ``numbers`` the numbers of each cell."""

    def __init__(
        self, grid: Grid, numbers: list[list[tuple[Number, ...]]], numeric: list[int], around: Surroundings
    ) -> None:
        self.grid, self.numbers, self.numeric, self.around = grid, numbers, numeric, around
        self.vocabulary, self.identity = around.vocabulary, around.identity
        self.averages: dict[int, bool] = {}
        self.groups = self._group_labels()
        header = [[row[column] for column in numeric] for row in grid.header]
        self.columns = [axis for row in header if (axis := self._header_axis(row))]
        self.rows = [
            self._label_axis(column)
            for column in range(grid.width)
            if column not in numeric and any(row[column].text for row in grid.rows) and not self._is_amount(column)
        ]
        self._drop_categories()
        self._add_sizes()
        self._choose_model_axes()

    def _drop_categories(self) -> None:
        """Beside a column that is headed as one of data sets, an unheaded column only sorts them."""
        if any(axis.head == "dataset" for axis in self.rows):
            self.rows = [axis for axis in self.rows if axis.head or axis.kind != "score"]

    def _add_sizes(self) -> None:
        """Where the size of a model stands in a column of its own, it is part of the model's name."""
        header = self.grid.header[-1] if self.grid.header else []
        column = next((place for place, cell in enumerate(header) if key(cell.text) in _SIZE_HEADS), None)
        if column is None:
            return
        for axis in self.rows:
            if axis.kind == "model":
                found = [self.grid.rows[place][column].text for place in axis.places]
                axis.labels = [
                    f"{label} {size}" if sizes(size) and not sizes(label) else label
                    for label, size in zip(axis.labels, found, strict=True)
                ]

    def _is_amount(self, column: int) -> bool:
        """True for a column of dates, sizes or token counts: its cells tell rows apart, and name nothing."""
        filled = [row[column].text for row in self.grid.rows if row[column].text]
        if self.grid.header and head_role(self.grid.header[-1][column].text) == "shots":
            return False
        if 2 * sum(1 for text in filled if re.search(r"[^\W\d_]", text)) < len(filled):
            return True
        head = self.grid.header[-1][column].text if self.grid.header else ""
        return bool(head) and head_role(head) == "" and read_label(head, self.vocabulary).not_score

    def _group_labels(self) -> dict[int, Said]:
        """For each row, what the last row without numbers above it says."""
        groups: dict[int, Said] = {}
        current = NOTHING
        for position, row in enumerate(self.grid.rows):
            if not any(self.numbers[position]):
                texts = [cell.text for cell in row if cell.text]
                if texts and len(set(texts)) == 1:
                    current = read_label(texts[0], self.vocabulary)
            groups[position] = current
        return groups

    def _header_axis(self, row: list[Cell]) -> Axis | None:
        if not any(cell.text for cell in row):
            return None
        if len(row) > 1 and len({cell.text for cell in row}) == 1:
            # One merged title over all numbers says the same of each.
            return self._axis([row[0].text] * len(row), row, self.numeric, "")
        return self._axis([cell.text for cell in row], row, self.numeric, "")

    def _label_axis(self, column: int) -> Axis:
        places = [position for position in range(len(self.grid.rows)) if any(self.numbers[position])]
        cells = [self.grid.rows[place][column] for place in places]
        head = self.grid.header[-1][column].text if self.grid.header else ""
        labels = [cell.text for cell in cells]
        if labels and labels[0] and not all(labels) and head_role(head) != "metric":
            for position in range(1, len(labels)):
                if not self.is_average(places[position]):
                    labels[position] = labels[position] or labels[position - 1]
        return self._axis(labels, cells, places, head)

    def is_average(self, row: int) -> bool:
        """True if a label of the row says that its numbers are means over data sets."""
        if row not in self.averages:
            header = self.grid.header[-1] if self.grid.header else []
            self.averages[row] = any(
                read_label(cell.text, self.vocabulary).average
                for column, cell in enumerate(self.grid.rows[row])
                if cell.text
                and not self.numbers[row][column]
                and not (header and head_role(header[column].text) == "metric")
            )
        return self.averages[row]

    def _axis(self, labels: list[str], cells: Sequence[Cell], places: list[int], head: str) -> Axis:
        said = [
            _linked(read_label(label, self.vocabulary), cell.target) for label, cell in zip(labels, cells, strict=True)
        ]
        axis = Axis(labels, [cell.target for cell in cells], places, head_role(head), said)
        axis.kind = self._kind(axis)
        axis.role = self._role(axis)
        return axis

    def _kind(self, axis: Axis) -> str:
        """What the labels of an axis name: "model", "metric", or "score" for anything else that was measured."""
        filled = [(label, said) for label, said in zip(axis.labels, axis.said, strict=True) if label]
        if not filled:
            return "score"
        metrics = sum(1 for _, said in filled if said.metrics and not said.benchmark)
        known = sum(1 for _, said in filled if said.metrics or said.benchmark or said.average or said.not_score)
        named = sum(1 for label, said in filled if self._names_model(label, said))
        benchmarks = sum(1 for _, said in filled if said.benchmark)
        if axis.head == "category":
            return "score"
        if metrics * 2 > len(filled) or (axis.head == "metric" and metrics >= benchmarks):
            return "metric"
        if axis.head == "model" and known * 2 <= len(filled):
            return "model"
        if axis.head in ("dataset", "split", "config", "shots"):
            return "score"
        versions = [label for label, _ in filled if _OLDER.search(label) or _NEWER.search(label)]
        if named and named * 2 >= len([1 for _, said in filled if not said.average]) and named >= known:
            return "model"
        if len(filled) > 1 and len(versions) * 2 >= len(filled) and any(_OLDER.search(label) for label, _ in filled):
            return "model"
        return "score"

    def _names_model(self, label: str, said: Said) -> bool:
        if said.metrics or said.benchmark or said.average or said.not_score:
            return False
        return looks_like_model(label) or key(label) in self.identity.names or is_precision(label)

    def _role(self, axis: Axis) -> str:
        """What a label that no rule recognises stands for: a dataset, a config or a class."""
        if axis.head in ("dataset", "config", "class", "split"):
            return "config" if axis.head == "split" else axis.head
        if any(said.benchmark for said in axis.said):
            return "dataset"
        if self.around.caption_dataset:
            return "config"
        unknown = [said.rest for said in axis.said if said.rest]
        proper = [rest for rest in unknown if re.search(r"[a-z][A-Z]|[A-Z]{2}|\d|^[A-Z][a-z]+ [A-Z]", rest)]
        return "dataset" if unknown and len(proper) * 2 >= len(unknown) else "config"

    def _choose_model_axes(self) -> None:
        axes = [axis for axis in (*self.rows, *self.columns) if axis.kind == "model"]
        for axis in axes:
            verdicts = self._owners(axis)
            axis.owner = dict(zip(axis.places, verdicts, strict=True))
        # Two axes that both read as models: the one that this model stands on is the one that counts.
        settled = [axis for axis in axes if Owner.OWN in axis.owner.values()]
        for axis in axes:
            if settled and axis not in settled and axis.head != "model":
                axis.kind, axis.owner = "score", {}

    def _owners(self, axis: Axis) -> list[Owner]:
        filled = [position for position, label in enumerate(axis.labels) if label]
        labels = [axis.labels[position] for position in filled]
        verdicts = [Owner.OTHER] * len(axis.labels)
        newer = [bool(_NEWER.search(label)) for label in labels]
        if any(_OLDER.search(label) for label in labels) and sum(newer) == 1:
            found = [Owner.OWN if new else Owner.OTHER for new in newer]
            if len(labels) > 2:
                found = owners(labels, self.identity, [axis.targets[position] for position in filled])
        else:
            found = owners(labels, self.identity, [axis.targets[position] for position in filled])
        if Owner.OWN not in found:
            family = [position for position, owner in enumerate(found) if owner is Owner.UNDECIDED]
            if len(family) > 1 and all(extends(labels[position], self.identity) for position in family):
                axis.family = True
                found = [Owner.OWN if position in family else Owner.OTHER for position in range(len(labels))]
        for position, owner in zip(filled, found, strict=True):
            verdicts[position] = owner
        return verdicts

    def owner(self, row: int, column: int) -> tuple[Owner, str | None]:
        """Whose number stands there, and the model's label where several siblings are claimed."""
        subject = None
        verdict = Owner.OWN
        for axis, place in ((axis, row) for axis in self.rows):
            verdict, subject = _worse(verdict, subject, axis, place)
        for axis, place in ((axis, column) for axis in self.columns):
            verdict, subject = _worse(verdict, subject, axis, place)
        return verdict, subject


def _worse(verdict: Owner, subject: str | None, axis: Axis, place: int) -> tuple[Owner, str | None]:
    if axis.kind != "model":
        return verdict, subject
    owner = axis.owner.get(place, Owner.OTHER)
    if axis.family or owner is Owner.UNDECIDED:
        subject = axis.label_at.get(place)
    order = (Owner.OWN, Owner.UNDECIDED, Owner.OTHER)
    return max(verdict, owner, key=order.index), subject


def _linked(said: Said, target: str | None) -> Said:
    """A label that links to a data set of the Hub is about that data set, whatever it calls it."""
    found = _DATASET_LINK.search(target) if target else None
    return replace(said, dataset=found.group(1), rest="") if found and not said.metrics else said


@lru_cache(maxsize=20_000)
def head_role(head: str) -> str:
    """The role that a column's header gives to its labels: "Benchmark (Metric)" holds data sets."""
    bare = re.sub(r"[(\[][^()\[\]]*[)\]]", " ", head)
    first = re.split(r"[\s/]+", bare.strip(" *#"))[0] if bare.strip() else ""
    roles = heads()
    return next((roles[name] for name in (key(head), key(bare), key(first)) if name in roles), "")
