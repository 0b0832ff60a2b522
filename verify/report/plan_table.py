"""What a sweep would do and cost, before anything is run: for people and for programs."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from verify.report.console import foreign
from verify.report.sweep import duration
from verify.report.sweep_table import MOST_ROWS
from verify.sweeping.plan.planning import Plan, Planned, PlannedCell

SCHEMA = "verify.plan/1"
MOST_CELLS = 4
"""Of one model in the table; --json lists all."""


def show_plan(console: Console, name: str, plan: Plan, *, only_totals: bool = False) -> None:
    """Print the models in the order of running, then those that are refused and why, then what all will take.

    With ``only_totals`` the models are left out.
    """
    bound = MOST_ROWS if console.is_terminal else max(len(plan.planned), len(plan.refused))
    if plan.planned and not only_totals:
        console.print(_table(name, plan, bound))
    for one in plan.refused[:bound]:
        console.print(escape(f"Not run: {one.model}: {one.error}"), soft_wrap=True)
    if (more := len(plan.refused) - bound) > 0:
        console.print(f"and {more} more that are not run (--json lists them)", soft_wrap=True)
    for sentence in (*_totals(plan), *plan.notes):
        console.print(escape(sentence), soft_wrap=True)


def plan_object(name: str, plan: Plan) -> dict[str, Any]:
    """The object that ``verify sweep --dry-run --json`` prints: seconds and bytes, and every model with its cells."""
    return {
        "schema": SCHEMA,
        "suite": name,
        "models": plan.models,
        "cells": plan.cells,
        "claims": plan.claims,
        "settled_by_arithmetic": plan.by_arithmetic,
        "settled_earlier": [one.model for one in plan.earlier],
        "refused": [{"model": one.model, "reason": one.error} for one in plan.refused],
        "workers": plan.workers,
        "seconds": plan.seconds,
        "device_seconds": plan.device_seconds,
        "memory": plan.memory,
        "download": plan.download,
        "rate": plan.rate,
        "notes": list(plan.notes),
        "planned": [_planned(one) for one in plan.planned],
    }


def _planned(one: Planned) -> dict[str, Any]:
    return {
        "model": one.model,
        "reference": one.unit.reference,
        "cells": [{"task": at.task, "split": at.split, "rows": at.rows, "seconds": at.seconds} for at in one.cells],
        "devices": one.unit.devices,
        "seconds": one.seconds,
        "memory": one.memory,
        "download": one.download,
        "claims": one.claims,
        "settled_by_arithmetic": one.by_arithmetic,
    }


def _table(name: str, plan: Plan, bound: int) -> Table:
    table = Table(title=f"Plan of {escape(name)}, cheapest first", title_justify="left")
    table.add_column("model", overflow="fold", ratio=3)
    table.add_column("to be run", overflow="fold", ratio=4)
    for head in ("devices", "time", "memory", "download"):
        table.add_column(head, justify="right")
    for one in plan.planned[:bound]:
        table.add_row(
            foreign(one.model),
            foreign(_to_run(one)),
            str(one.unit.devices),
            duration(one.seconds),
            decimal(one.memory),
            decimal(one.download) if one.download else "–",
        )
    if left := plan.planned[bound:]:
        cells = sum(len(one.cells) for one in left)
        seconds = duration(sum(one.seconds for one in left))
        table.add_row(foreign(f"and {len(left)} more"), f"{cells} cells", "", seconds, "", "")
    return table


def _to_run(one: Planned) -> str:
    shown = ", ".join(map(_cell, one.cells[:MOST_CELLS])) or "nothing: no claim needs a run"
    more = len(one.cells) - MOST_CELLS
    return f"{shown} and {more} more" if more > 0 else shown


def _cell(cell: PlannedCell) -> str:
    rows = f" ({cell.rows:,} examples)" if cell.rows is not None else ""
    return f"{cell.task}/{cell.split}{rows}"


def _totals(plan: Plan) -> list[str]:
    """What all of it will take, in sentences."""
    of_claims = f", of whose {plan.claims} claims arithmetic alone settles {plan.by_arithmetic}" if plan.claims else ""
    return [
        f"{plan.models} models: {len(plan.planned)} to run{of_claims}; {len(plan.earlier)} settled by earlier sweeps; "
        f"{len(plan.refused)} that cannot be run.",
        f"{plan.cells} cells (a model on a split of a task), about {duration(plan.seconds)} with {plan.workers} "
        f"worker{'' if plan.workers == 1 else 's'}, {decimal(plan.memory)} of memory, {decimal(plan.download)} to "
        "download.",
        *([plan.rate] if plan.rate else []),
    ]
