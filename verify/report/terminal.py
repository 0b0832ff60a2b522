"""The verdicts on one model as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.claims.group import Finding
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


LITERAL_WIDTH = 9


def show_verdicts(
    console: Console,
    model: str,
    verdicts: Sequence[Verdict],
    measurements: Sequence[Measurement] = (),
    findings: Sequence[Finding] = (),
) -> None:
    """Print one row a claim, the reasons below it, what the card alone shows, and what was run.

    The scores of tasks that no claim is about are printed too.
    """
    if verdicts:
        console.print(_table(f"Claims of {escape(model)}", verdicts))
        for number, verdict in enumerate(verdicts, start=1):
            console.print(_paragraph(f"{number}.", f"[bold]{verdict.kind}[/bold]: {escape(verdict.reason)}"))
            if verdict.next_step and verdict.kind.holds is not True:
                console.print(_paragraph("", f"→ {escape(verdict.next_step)}"))
        for note, numbers in _notes(verdicts).items():
            console.print(_paragraph("", f"[dim]{escape(note)} ({', '.join(map(str, numbers))})[/dim]"))
    else:
        console.print(f"{escape(model)}: the card makes no claim that could be read.")
    reasons = {verdict.reason for verdict in verdicts}
    for finding in findings:
        if finding.sentence not in reasons:
            console.print(_paragraph("", f"[yellow]{escape(finding.kind)}[/yellow]: {escape(finding.sentence)}"))
    claimed = {(verdict.task, verdict.split) for verdict in verdicts}
    for measurement in measurements:
        console.print(_paragraph("", f"[dim]{escape(_settings(measurement))}[/dim]"))
        if (measurement.task, measurement.split) not in claimed:
            console.print(_scores(measurement))


def _paragraph(head: str, text: str) -> Table:
    """A numbered paragraph that wraps inside its own column."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    grid.add_row(head, text)
    return grid


def _notes(verdicts: Sequence[Verdict]) -> dict[str, list[int]]:
    """Each note once, with the numbers of the claims that it is about."""
    notes: dict[str, list[int]] = {}
    for number, verdict in enumerate(verdicts, start=1):
        own = () if verdict.kind.holds else verdict.claim.notes
        for note in dict.fromkeys((*verdict.notes, *own)):
            notes.setdefault(note, []).append(number)
    return notes


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts of each kind, flagged kinds first, and how many claims there were."""
    order = sorted(VerdictKind, key=lambda kind: {False: 0, True: 1, None: 2}[kind.holds])
    counts = [(kind, sum(verdict.kind is kind for verdict in verdicts)) for kind in order]
    listed = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    return f"{len(verdicts)} claims: {listed}" if verdicts else "no claims"


def _table(title: str, verdicts: Sequence[Verdict]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    table.add_column("claim", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("why", overflow="fold")
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
    literal = claim.literal if len(claim.literal) <= LITERAL_WIDTH else f"{claim.literal[: LITERAL_WIDTH - 1]}…"
    return f"{claim.metric} {literal}{sign}\n{data}{split}"


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
    return f"{points:+.2f} pt"


def _settings(measurement: Measurement) -> str:
    """What was run, in one line: examples, flips, device, precision, preprocessing, revision and where it is stored."""
    origin = measurement.provenance
    applied = {**origin.get("preprocessing", {}), "dtype": origin.get("dtype"), "device": origin.get("device")}
    shown = ("dtype", "device", "max_length", "processor", "size", "crop_size")
    settings = ", ".join(f"{name} {applied[name]}" for name in shown if applied.get(name) is not None)
    revision = f", revision {origin['model_revision'][:12]}" if origin.get("model_revision") else ""
    return (
        f"{measurement.task} {measurement.split}: {measurement.n} of {measurement.population} examples, "
        f"{measurement.flips} flips in {measurement.probed} run again in a second configuration; {settings}{revision}; "
        f"{measurement.result}"
    )


def _scores(measurement: Measurement) -> Table:
    share = "" if measurement.is_full else f", {measurement.n} of {measurement.population} examples"
    where = escape(f"{measurement.task}, {measurement.split}{share}")
    table = Table(title=f"Measured on {where} (no claim)", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, score in measurement.scores.items():
        table.add_row(escape(name), f"{score.value:.4f}")
    return table
