"""``verify tasks list | show | check``: what can be measured, and whether a task file works."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from verify.configuration.compose import compose_config
from verify.errors import UsageError
from verify.tasks.kinds import KINDS, settings_of
from verify.tasks.registry import Registry, load_registry
from verify.types import FOREIGN, TaskSpec

if TYPE_CHECKING:
    from rich.table import Table

    from verify.tasks.data import Examples

ROWS_TO_TRY = 3


def run(action: str, name: str | None, overrides: Sequence[str]) -> int:
    """Carry out one action. Raises UsageError for an unknown task or a wrong task file."""
    config = compose_config(None, overrides)
    registry = load_registry(config.task_path)
    if action == "list":
        _list(registry)
        return 0
    task = registry.find(name or "")
    if action == "show":
        sys.stdout.write(f"# {task.file}\n{Path(task.file).read_text(encoding='utf-8')}")
        return 0
    _check(task, config.override.split or task.dataset.split)
    return 0


def _list(registry: Registry) -> None:
    """One line for each task, kind by kind, in columns that neither wrap nor are cut: lines are for grep, too."""
    lines = []
    for kind in KINDS.values():
        rows = [_row(task) for task in registry.values() if task.kind == kind.name]
        if rows:
            lines += [f"{kind.name}: {kind.summary} ({len(rows)})", *_aligned(rows), ""]
    sys.stdout.write("\n".join([*lines, f"{len(registry)} tasks. One of them: verify tasks show NAME", ""]))


def _row(task: TaskSpec) -> tuple[str, ...]:
    source = task.dataset
    data = source.path + (f" {source.name}" if source.name else "")
    rows = task.rows.get(source.split)
    return task.name, data, source.split, f"{rows:,} rows" if rows else "rows not stated", ", ".join(task.metrics)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _check(task: TaskSpec, split: str) -> None:
    """Load three rows, render them, and send a tiny untrained model over them through the whole path."""
    from rich.markup import escape

    from verify.checking.measure import check_metrics
    from verify.engine.job import Job
    from verify.engine.running.run import run as run_job
    from verify.engine.stub import save_stub
    from verify.metrics.registry import measure
    from verify.report.console import console_on
    from verify.store.runs import PREDICTIONS, RunFolder
    from verify.tasks.data import load_examples

    check_metrics(task)
    console = console_on()
    examples = load_examples(task, split, first=ROWS_TO_TRY)
    if len(examples) == 0:
        raise UsageError(f"{task.file}: the split {split} holds no rows. Choose another with override.split=NAME.")
    console.print(_rendered(task, split, examples))
    with tempfile.TemporaryDirectory(prefix="verify-task-") as scratch:
        model, results = Path(scratch, "model"), Path(scratch, "run")
        save_stub(task.kind, examples, model)
        job = Job(str(model), task, split, str(results), probe_share=1.0, device="cpu", first=ROWS_TO_TRY)
        run_job(job, lambda event: None)
        folder = RunFolder(results)
        settings = settings_of(task.kind, task.settings)
        predictions, info = folder.predictions(PREDICTIONS, settings=settings), folder.info()
        if predictions is None or info is None:
            raise UsageError(f"{task.file}: the trial run wrote no predictions.")
        scores, notes = measure(predictions, settings)
    aligned = f": {info['label_alignment']}" if "label_alignment" in info else ""
    console.print(escape(f"A tiny untrained model ran on {len(predictions.example)} rows{aligned}."))
    for note in (*examples.notes, *notes):
        console.print(f"  {escape(note)}")
    console.print(escape(f"It gives these metrics: {', '.join(sorted(scores))}."))
    asked = [name for name in task.metrics if not name.startswith(FOREIGN)]
    if lost := [name for name in asked if not any(re.fullmatch(f"{name}(_.*)?", score) for score in scores)]:
        console.print(f"[yellow]Not measured on these rows: {escape(', '.join(lost))}.[/yellow]")
    console.print(f"[green]The task {escape(task.name)} works.[/green]")


def _rendered(task: TaskSpec, split: str, examples: Examples) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{escape(task.name)}, {escape(split)}: the first {len(examples)} rows", title_justify="left")
    columns = {role: _shown(role, task, split, examples) for role in examples.columns}
    for role, column in examples.columns.items():
        table.add_column(escape(f"{role} ({column})"), overflow="fold")
    for i in range(len(examples)):
        table.add_row(*(escape(_cell(role, values[i], examples)) for role, values in columns.items()))
    return table


def _shown(role: str, task: TaskSpec, split: str, examples: Examples) -> list[object]:
    """The values of a role, pictures decoded."""
    from verify.engine.inputs.pictures import picture
    from verify.tasks.places import data_folder

    values, folder = examples.column(role), data_folder(task, split)
    if role != "image":
        return values
    return [picture(value, folder, f"{examples.columns[role]!r} in row {row}") for row, value in enumerate(values)]


def _cell(role: str, value: object, examples: Examples) -> str:
    if role == "label" and examples.labels and isinstance(value, int) and 0 <= value < len(examples.labels):
        return f"{value} = {examples.labels[value]}"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"image {value.size[0]} × {value.size[1]}, {value.mode}"
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        return f"{role}, {len(value['bytes']):,} bytes"
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
