"""A whole sweep for people: the models by their verdicts, those with flagged claims first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.judging.tally import Judged, Swept, Tally
from verify.report.console import foreign
from verify.report.sweep import duration
from verify.report.terminal import cause
from verify.types import Unit, VerdictKind

MOST_ROWS = 50
"""Of a table in a terminal, where more would push the first out of sight."""
MOST_CHARACTERS = 160
_FAILURES = (VerdictKind.ERROR, VerdictKind.BLOCKED)
_FLAGGED_FIRST = sorted(VerdictKind, key=lambda kind: {False: 0, True: 1, None: 2}[kind.holds])


def show_sweep(console: Console, tally: Tally, file: str) -> None:
    """Print one row for each model, then what was attempted and flagged. ``file`` is where all of it is stored."""
    if tally.models:
        console.print(_table(console, tally))
    for model, verdict in tally.not_settled[:MOST_ROWS]:
        console.print(_not_settled(model, verdict, tally), soft_wrap=True)
    if (more := len(tally.not_settled) - MOST_ROWS) > 0:
        console.print(f"and {more} more that are left open in the same way", soft_wrap=True)
    console.print(escape(summary_of(tally)), soft_wrap=True)
    console.print(escape(f"All of it: {file}. One model: the verdicts.json in its folder."), soft_wrap=True)


def summary_of(tally: Tally) -> str:
    """Models, verdicts of each kind, claims attempted and flagged, and at which false discovery rate."""
    models = f"{len(tally.models)} model{'' if len(tally.models) == 1 else 's'}"
    cut = "" if tally.is_complete else " (interrupted)"
    of_parts = f" at a false discovery rate of {tally.alpha:.0%} over the whole sweep" if tally.flagged else ""
    counts = _counts(tally.kinds) or "no claims"
    return (
        f"{tally.name}{cut}: {models} in {duration(tally.seconds)}: {counts} "
        f"({tally.attempted} claims attempted, {tally.flagged} flagged{of_parts})"
    )


def _table(console: Console, tally: Tally) -> Table:
    table = Table(title=f"Sweep of {escape(tally.name)}", title_justify="left")
    table.add_column("model", overflow="fold", ratio=3)
    table.add_column("verdicts", overflow="fold", ratio=3)
    table.add_column("claims attempted", justify="right")
    table.add_column("flagged", justify="right")
    table.add_column("time", justify="right")
    table.add_column("what stands out", overflow="fold", ratio=4)
    shown = tally.models[:MOST_ROWS] if console.is_terminal else tally.models
    for model in shown:
        table.add_row(
            foreign(model.model),
            foreign(_counts(model.kinds) or "no claims", _style(model)),
            str(model.attempted),
            str(len(model.flagged)),
            duration(model.seconds),
            foreign(_short(_standing_out(model))),
        )
    if len(shown) < len(tally.models):
        left = tally.models[len(shown) :]
        counts = _counts(sum((model.kinds for model in left), Counter()))
        table.add_row(foreign(f"and {len(left)} more"), foreign(counts), "", "", "", "")
    return table


def _counts(kinds: Mapping[VerdictKind, int]) -> str:
    return ", ".join(f"{kinds[kind]} {kind}" for kind in _FLAGGED_FIRST if kinds[kind])


def _style(model: Swept) -> str:
    if model.flagged:
        return "bold red"
    return "magenta" if model.kinds[VerdictKind.ERROR] or model.error else "green" if model.attempted else ""


def _standing_out(model: Swept) -> str:
    """The flagged claim that is furthest off, else why something failed."""
    if model.error is not None:
        return model.error
    if model.flagged:
        return _far_off(max(model.flagged, key=_points))
    failed = next((one for kind in _FAILURES for one in model.verdicts if one.kind is kind), None)
    return str(failed.entry["reason"]) if failed else ""


def _points(verdict: Judged) -> float:
    """How far off a claim is, in points where it has a scale."""
    delta = float(verdict.entry["delta"] or 0.0)
    return abs(delta) * (100 if verdict.entry["claim"]["unit"] == Unit.FRACTION else 1)


def _far_off(verdict: Judged) -> str:
    entry = verdict.entry
    delta, explanation = entry["delta"], (entry["explanation"] or {}).get("found")
    if delta is None:
        return f"{_named(verdict)}: {verdict.kind}"
    is_raw = entry["claim"]["unit"] == Unit.RAW
    size = f"{delta:+.4g}" if is_raw else f"{delta * (100 if entry['claim']['unit'] == Unit.FRACTION else 1):+.2f} pt"
    why = f", explained by {cause(explanation)}" if verdict.kind is VerdictKind.EXPLAINED and explanation else ""
    return f"{_named(verdict)}: {size}{why}"


def _named(verdict: Judged) -> str:
    claim: Mapping[str, Any] = verdict.entry["claim"]
    sign = "%" if claim["unit"] == Unit.PERCENT and "%" not in claim["literal"] else ""
    data = claim["dataset"] or claim["dataset_name"] or verdict.entry["task"]
    return f"{claim['metric']} {claim['literal']}{sign}{f' on {data}' if data else ''}"


def _not_settled(model: Swept, verdict: Judged, tally: Tally) -> str:
    return escape(
        f"{model.model}, {_named(verdict)}: left open here. A part of its split says {verdict.own_kind}, and the "
        f"verdict stored with the model stays so; beside all {tally.attempted} claims that this sweep attempted that "
        "evidence may be chance. To settle it, run the whole split: policy=strict."
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[: MOST_CHARACTERS - 1]}…"
