"""Result tables: which cell is a score of this model, on what, by which metric.

A table is read as axes: the rows of its header and its columns of labels. An axis names models, or it names what was
measured (metrics, data sets, splits, classes). Every number takes the words of all axes that it stands under.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from verify.claims.form.grid import Cell, Grid
from verify.claims.form.values import Number
from verify.claims.meaning.axes import Axes, Axis, head_role
from verify.claims.meaning.cells import cell_numbers, cell_settings
from verify.claims.meaning.identity import Owner, looks_like_model
from verify.claims.meaning.labels import Said, read_label
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.surroundings import Surroundings
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.types import Evidence, Setting, Source

_AVERAGED = {
    f"{average}{word}": average for average in ("macro", "micro", "weighted") for word in ("", "avg", "average")
}
_AGGREGATES = {
    **_AVERAGED,
    "samplesavg": "samples",
    **dict.fromkeys(("accuracy", "overall", "all", "total", "average", "avg", "avgtotal", "mean"), ""),
}
_CURVE = frozenset(("epoch", "epochs", "step", "steps", "iteration", "iterations", "globalstep", "ep"))
_TRAINING = frozenset(("trainingloss", "trainloss", "tloss"))
_MOST_EPOCHS = 2_000
_LAST_EPOCH = ("the last row of the table of training epochs",)
_PAIR = "matched and mismatched, in this order"
UNNAMED = Metric("score", "unknown", True)


@dataclass(frozen=True)
class TableReadings:
    """What one table states. ``curve`` are the numbers of the last row of a table of training epochs."""

    claims: list[Reading] = field(default_factory=list)
    candidates: list[Reading] = field(default_factory=list)
    curve: list[Reading] = field(default_factory=list)
    epochs: list[list[Reading]] = field(default_factory=list)


def read_results(grid: Grid, around: Surroundings, file: str) -> TableReadings:
    """Read one table; ``around`` is what the card says outside it."""
    numbers = [[cell_numbers(cell.text) for cell in row] for row in grid.rows]
    numeric = _numeric_columns(grid, numbers, around.vocabulary)
    if not numeric:
        return TableReadings()
    if _is_curve(grid, numeric, around):
        epochs = _epochs(grid, numeric, numbers, around, file)
        return TableReadings(curve=epochs[-1] if epochs else [], epochs=epochs)
    return _Table(grid, numbers, numeric, around, file).read()


def _numeric_columns(grid: Grid, numbers: list[list[tuple[Number, ...]]], vocabulary: Vocabulary) -> list[int]:
    chosen = []
    for column in range(grid.width):
        filled = [row[column].text for row in grid.rows if row[column].text.strip(" -–—/")]
        counted = sum(1 for row in numbers if row[column])
        head = grid.header[-1][column].text if grid.header else ""
        if (
            counted
            and head_role(head) != "shots"
            and counted * 2 >= len([text for text in filled if text.casefold() not in ("n/a", "na", "nan")])
        ):
            chosen.append(column)
    return chosen


def _is_curve(grid: Grid, numeric: list[int], around: Surroundings) -> bool:
    heads = {key(row[column].text) for row in grid.header for column in range(grid.width)}
    if heads & _TRAINING and (heads & _CURVE or len(heads) > 1):
        return True
    if not heads & _CURVE:
        return False
    labels = [row[column].text for column in range(grid.width) if column not in numeric for row in grid.rows]
    named = [label for label in labels if label and (looks_like_model(label) or key(label) in around.identity.names)]
    return not named and any(
        read_label(row[column].text, around.vocabulary).metrics for row in grid.header for column in numeric
    )


def _epochs(
    grid: Grid, numeric: list[int], numbers: list[list[tuple[Number, ...]]], around: Surroundings, file: str
) -> list[list[Reading]]:
    """The evaluation scores of each row of a table of training epochs, in the order of training."""
    header = grid.header[-1] if grid.header else []
    heads = {column: read_label(header[column].text, around.vocabulary) for column in numeric if header}
    validated = any(said.split == "validation" for said in heads.values())
    epochs: list[list[Reading]] = []
    for row, values_of in zip(grid.rows[-_MOST_EPOCHS:], numbers[-_MOST_EPOCHS:], strict=True):
        readings = []
        for column, said in heads.items():
            values = values_of[column]
            if said.metric is None or said.not_score or said.split == "train" or len(values) != 1:
                continue
            context = replace(around.context, split=said.split or ("validation" if validated else around.context.split))
            if reading := _reading(row[column], values[0], said.metric, context, file, grid, notes=_LAST_EPOCH):
                readings.append(reading)
        if readings:
            epochs.append(readings)
    return epochs


def _reading(
    cell: Cell,
    number: Number,
    metric: Metric,
    context: Context,
    file: str,
    grid: Grid,
    header: str = "",
    notes: tuple[str, ...] = (),
) -> Reading | None:
    """The reading of one number of a cell; None if the number does not stand there in the same characters."""
    shown = quote(" ".join(cell.raw.split()), number.literal)
    if number.literal not in cell.raw or number.literal not in shown:
        return None
    if number.spread:
        notes = (f"printed with a spread of ± {number.spread}", *notes)
    evidence = Evidence(Source.TABLE, file, cell.line, cell.end_line, shown, number.literal)
    return Reading(metric, number, evidence, context, f"{file}:table:{grid.line}", header, notes=notes)


class _Table:
    """The axes of one table and the readings of its cells."""

    def __init__(
        self,
        grid: Grid,
        numbers: list[list[tuple[Number, ...]]],
        numeric: list[int],
        around: Surroundings,
        file: str,
    ) -> None:
        self.grid, self.numbers, self.numeric, self.around, self.file = grid, numbers, numeric, around, file
        self.vocabulary = around.vocabulary
        self.axes = Axes(grid, numbers, numeric, around)
        self.rows, self.columns = self.axes.rows, self.axes.columns

    def read(self) -> TableReadings:
        result = TableReadings()
        averages: list[Reading] = []
        per_class = self._class_axis()
        aggregates = self._aggregate_rows(per_class) if per_class else {}
        for row in range(len(self.grid.rows)):
            if not any(self.numbers[row]):
                continue
            for column in self.numeric:
                values = self.numbers[row][column]
                if not values:
                    continue
                owner, subject = self.axes.owner(row, column)
                if owner is Owner.OTHER:
                    continue
                found, average = self._cell(row, column, values, subject, per_class, aggregates)
                target = result.claims if owner is Owner.OWN else result.candidates
                (averages if average and owner is Owner.OWN else target).extend(found)
        (result.claims if not result.claims else result.candidates).extend(averages)
        return result

    def _class_axis(self) -> Axis | None:
        """The column of class names in a table of precision and recall, or of a score and its support."""
        heads = [axis.at(column) for axis in self.columns for column in self.numeric]
        names = {metric.name for said in heads for metric in said.metrics}
        support = any(key(said.text) == "support" for said in heads)
        if not (support or {"precision", "recall"} <= names):
            return None
        for axis in self.rows:
            known = [said for said in axis.said if said.benchmark or said.split]
            if (
                axis.kind != "model"
                and axis.head not in ("dataset", "config", "split")
                and len(known) * 2 <= len(axis.said)
            ):
                return axis if len(axis.said) > 1 or support else None
        return None

    def _aggregate_rows(self, axis: Axis) -> dict[int, str]:
        return {
            place: _AGGREGATES[squashed]
            for place, label in axis.label_at.items()
            if (squashed := key(label)) in _AGGREGATES
        }

    def _cell(
        self,
        row: int,
        column: int,
        values: tuple[Number, ...],
        subject: str | None,
        per_class: Axis | None,
        aggregates: dict[int, str],
    ) -> tuple[list[Reading], bool]:
        """The readings of one cell, and whether it is an average over several data sets."""
        across = [(axis, axis.at(column)) for axis in reversed(self.columns) if axis.kind != "model"]
        down = [(axis, axis.at(row)) for axis in self.rows if axis.kind != "model" and axis.head != "category"]
        down.sort(key=lambda pair: pair[0].head != "dataset")
        extra: dict[str, Setting] = {}
        average_of: str | None = None
        if per_class is not None:
            down = [(axis, said) for axis, said in down if axis is not per_class]
            if aggregates:
                if row not in aggregates:
                    return [], False
                average_of = aggregates[row]
                if key(per_class.label_at[row]) == "accuracy":
                    if any(key(said.text) == "support" for _, said in across):
                        return [], False
                    accuracy = self.vocabulary.canonical["accuracy"]
                    f1 = [said for _, said in across if said.metric and said.metric.name == "f1"]
                    if (
                        len(self.columns)
                        and not f1
                        and any(self.numbers[row][other] for other in self.numeric if other > column)
                    ):
                        return [], False
                    across = [(axis, Said(said.text, (accuracy,))) for axis, said in across]
            else:
                extra["class"] = per_class.label_at.get(row, "")
        labels = [*across, *down]
        if any(said.not_score or said.split == "train" for _, said in labels):
            return [], False
        average = any(said.average for axis, said in labels if axis.head != "metric") or (
            per_class is None and self.axes.is_average(row)
        )
        metrics, reason = self._metrics(labels, len(values), average)
        if not metrics:
            return [], False
        if average_of:
            metrics = [self.vocabulary.canonical.get(f"{metric.name}_{average_of}", metric) for metric in metrics]
        context = self._context(
            labels, row, average, {**extra, **cell_settings(self.grid.rows[row][column].text, self.vocabulary)}
        )
        header = " ".join(said.text for _, said in labels if said.percent) or ("%" if self.around.percent else "")
        if subject is not None:
            context = replace(context, subject=subject)
        contexts = [context] * len(metrics)
        if _PAIR in reason:
            contexts = [replace(context, config=config) for config in ("matched", "mismatched")]
        cell = self.grid.rows[row][column]
        found = [
            _reading(cell, number, metric, its, self.file, self.grid, header, reason)
            for number, metric, its in zip(values, metrics, contexts, strict=False)
            if _plausible(number, metric)
        ]
        return [reading for reading in found if reading], average

    def _metrics(
        self, labels: list[tuple[Axis, Said]], count: int, average: bool
    ) -> tuple[list[Metric], tuple[str, ...]]:
        """One metric for each of the ``count`` numbers of a cell; none if the table does not say that it scores."""
        for axis, said in labels:
            if axis.head == "metric" and axis.kind == "metric" and not said.metrics and said.rest:
                return self._unknown_metric(said, labels, count)
        named = [said.metrics for _, said in labels if said.metrics]
        if count == 2 and any(said.benchmark and said.benchmark.name == "mnli" for _, said in labels):
            return [self.vocabulary.canonical["accuracy"]] * 2, (_PAIR,)
        if count > 1:
            pairs = [metrics for metrics in (*named, self.around.metrics) if len(metrics) == count]
            return (list(pairs[0]), ()) if pairs else ([], ())
        if named:
            return [named[0][0]], ()
        if any(axis.kind == "metric" and said.rest for axis, said in labels):
            return [], ()
        benchmark = next((said.benchmark for _, said in labels if said.benchmark), None)
        if self.around.metrics:
            return [self.around.metrics[0]], ("the metric stands in the text around the table",)
        if benchmark is not None:
            usual = self.vocabulary.usual_metric(benchmark)
            return [usual], (f"the card names no metric; {usual.name} is the usual one of {benchmark.name}",)
        has_data = any(said.rest for _, said in labels) or average
        if (
            (self.around.has_results or average)
            and has_data
            and any(axis.kind == "model" for axis in (*self.rows, *self.columns))
        ):
            return [UNNAMED], ("the card names no metric",)
        if any(said.benchmark for axis in (*self.rows, *self.columns) for said in axis.said) and has_data:
            return [UNNAMED], ("the card names no metric",)
        return [], ()

    def _unknown_metric(
        self, said: Said, labels: list[tuple[Axis, Said]], count: int
    ) -> tuple[list[Metric], tuple[str, ...]]:
        """A metric that the table names and the vocabulary lacks: the card's word, or the benchmark's usual metric."""
        if not re.search(r"[^\W\d_]{2}", said.rest):
            return [], ()
        benchmark = next((other.benchmark for _, other in labels if other.benchmark), None)
        if benchmark is None or "_" in said.text or "/" in said.text:
            return [Metric(said.text, "unknown")] * count, ()
        usual = self.vocabulary.usual_metric(benchmark)
        return [usual] * count, (f"the card calls the metric {said.text}; {usual.name} is usual for {benchmark.name}",)

    def _context(
        self, labels: list[tuple[Axis, Said]], row: int, average: bool, settings: dict[str, Setting]
    ) -> Context:
        around = self.around.context
        said_all = [said for _, said in labels]
        group = self.axes.groups[row]
        dataset = next((said.dataset for said in (*said_all, group) if said.dataset), None)
        config = None
        for axis, said in labels:
            if not said.rest or said.average or axis.head == "shots" or (axis.kind == "metric" and not said.metrics):
                continue
            if axis.role == "dataset":
                dataset = dataset or said.rest
            elif config is None and axis.head != "class":
                config = said.rest
        config = config or next((said.config for said in said_all if said.config), None)
        if average:
            dataset = next((said.rest for said in said_all if said.average), "average")
            config = None
        for axis, said in labels:
            if axis.head == "shots" and (value := cell_numbers(said.text)):
                settings.setdefault("num_fewshot", int(value[0].decimal))
        for said in said_all:
            settings = {**said.settings, **settings}
        settings = {**self.around.settings, **settings}
        splits = [said.split for axis, said in labels if said.metrics or axis.kind != "metric"]
        split = next((split for split in (*splits, group.split) if split), None) or around.split
        own_name = around.dataset if dataset is None else dataset
        return Context(
            task=around.task if dataset is None else None,
            dataset=own_name,
            dataset_name=around.dataset_name if dataset is None else None,
            config=config,
            split=split,
            settings=settings,
        )


def _plausible(number: Number, metric: Metric) -> bool:
    """A score of a bounded metric lies between 0 and 100; an error rate may be somewhat above."""
    if metric.unit == "raw":
        return True
    limit = 300 if metric.unit == "rate" else 100
    return -100 <= number.decimal <= limit
