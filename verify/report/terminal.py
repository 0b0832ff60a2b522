"""The verdicts on one model as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.types import Claim, Measurement, Unit, Verdict, VerdictKind

_STYLE = {
    VerdictKind.REPRODUCED: "green",
    VerdictKind.CONSISTENT: "green",
    VerdictKind.OVERSTATED: "bold red",
    VerdictKind.UNDERSTATED: "red",
    VerdictKind.EXPLAINED: "yellow",
    VerdictKind.IMPOSSIBLE: "bold red",
    VerdictKind.ERROR: "magenta",
    VerdictKind.BLOCKED: "magenta",
}


def show_verdicts(
    console: Console, model: str, verdicts: Sequence[Verdict], unclaimed: Sequence[Measurement] = ()
) -> None:
    """Print one row a claim, the reasons below it, and the scores of tasks about which the card claims nothing."""
    if verdicts:
        console.print(_table(f"Claims of {escape(model)}", verdicts))
        for number, verdict in enumerate(verdicts, start=1):
            console.print(f"[bold]{number}[/bold] {escape(verdict.reason)}")
            for note in dict.fromkeys(verdict.notes):
                console.print(f"  [dim]{escape(note)}[/dim]")
            if verdict.next_step and verdict.kind.holds is not True:
                console.print(f"  → {escape(verdict.next_step)}")
    else:
        console.print(f"{escape(model)}: the card makes no claim that could be read.")
    for measurement in unclaimed:
        console.print(_scores(measurement))


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts of each kind, flagged kinds first, and how many claims there were."""
    order = sorted(VerdictKind, key=lambda kind: {False: 0, True: 1, None: 2}[kind.holds])
    counts = [(kind, sum(verdict.kind is kind for verdict in verdicts)) for kind in order]
    listed = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return f"{len(verdicts)} claims: {listed}" if verdicts else "no claims"


def _table(title: str, verdicts: Sequence[Verdict]) -> Table:
    table = Table(title=title, title_justify="left")
    for name, justify in (
        ("", "right"),
        ("claim", "left"),
        ("where", "left"),
        ("measured", "right"),
        ("difference", "right"),
        ("verdict", "left"),
        ("why", "left"),
    ):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for number, verdict in enumerate(verdicts, start=1):
        style = _STYLE.get(verdict.kind, "")
        kind = f"[{style}]{verdict.kind}[/{style}]" if style else str(verdict.kind)
        table.add_row(
            str(number),
            escape(_claim(verdict.claim)),
            escape("\n".join(f"{place.file}:{place.line}" for place in verdict.claim.evidence)),
            _number(verdict, verdict.measured),
            _difference(verdict),
            kind,
            escape(verdict.rule),
        )
    return table


def _claim(claim: Claim) -> str:
    data = "/".join(part for part in (claim.dataset or claim.dataset_name, claim.config) if part) or "(no data set)"
    split = f" {claim.split}" if claim.split else ""
    sign = "%" if claim.unit is Unit.PERCENT and "%" not in claim.literal else ""
    return f"{claim.metric} {claim.literal}{sign}\n{data}{split}"


def _number(verdict: Verdict, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}%" if verdict.claim.unit is Unit.PERCENT else f"{value:.4f}"


def _difference(verdict: Verdict) -> str:
    if verdict.delta is None:
        return "–"
    if verdict.claim.unit is Unit.RAW:
        return f"{verdict.delta:+.4f}"
    points = verdict.delta if verdict.claim.unit is Unit.PERCENT else verdict.delta * 100
    return f"{points:+.2f} points"


def _scores(measurement: Measurement) -> Table:
    share = "" if measurement.is_full else f", {measurement.n} of {measurement.population} examples"
    table = Table(title=f"Measured on {measurement.task}, {measurement.split}{share} (no claim)", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, score in measurement.scores.items():
        table.add_row(name, f"{score.value:.4f}")
    return table
