"""The verdicts on one model for people: a table where there is room for one, else a list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.claims.meaning.group import Finding
from verify.metrics.names import METRICS
from verify.report.clean import shortened
from verify.types import Claim, Measurement, Score, Unit, Verdict, VerdictKind

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
NAME_WIDTH = 200
"""The most characters of a name that a claim in one line shows."""
TABLE_WIDTH = 100
"""The narrowest terminal, in characters, whose cells hold more than a word each."""


def show_verdicts(
    console: Console,
    model: str,
    verdicts: Sequence[Verdict],
    measurements: Sequence[Measurement] = (),
    findings: Sequence[Finding] = (),
) -> None:
    """Print what became of every claim and why, what the card alone shows, and what was run.

    The scores of tasks that no claim is about are printed too.
    """
    if not verdicts:
        console.print(f"{escape(model)}: the card makes no claim that could be read.")
    elif console.width < TABLE_WIDTH:
        console.print(f"[italic]Claims of {escape(model)}[/italic]")
    else:
        console.print(_table(f"Claims of {escape(model)}", verdicts))
    for number, verdict in enumerate(verdicts, start=1):
        if console.width < TABLE_WIDTH:
            console.print(paragraph(f"{number}.", escape(heading(verdict))))
            console.print(paragraph("", f"{_kind(verdict)}{_comparison(verdict)}: {escape(verdict.reason)}"))
        else:
            console.print(paragraph(f"{number}.", f"[bold]{verdict.kind}[/bold]: {escape(verdict.reason)}"))
        if verdict.next_step and verdict.kind.holds is not True:
            console.print(paragraph("", f"→ {escape(verdict.next_step)}"))
    for note, numbers in _notes(verdicts).items():
        console.print(paragraph("", f"[dim]{escape(note)} ({', '.join(map(str, numbers))})[/dim]"))
    reasons = {verdict.reason for verdict in verdicts}
    for finding in findings:
        if finding.sentence not in reasons:
            console.print(paragraph("", f"[yellow]{escape(finding.kind)}[/yellow]: {escape(finding.sentence)}"))
    claimed = {(verdict.task, verdict.split) for verdict in verdicts}
    for measurement in measurements:
        console.print(paragraph("", f"[dim]{escape(_settings(measurement))}[/dim]"))
        if measurement.probed:
            console.print(paragraph("", f"[dim]{escape(_budgets(measurement, verdicts))}[/dim]"))
        if (measurement.task, measurement.split) not in claimed:
            console.print(_scores(measurement))


def paragraph(head: str, text: str) -> Table:
    """A numbered paragraph that wraps inside its own column."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=3, justify="right")
    grid.add_column(overflow="fold")
    grid.add_row(head, text)
    return grid


def heading(verdict: Verdict) -> str:
    """The claim in one line: its metric and number, the data, and where it stands."""
    places = ", ".join(f"{place.file}:{place.line}" for place in verdict.claim.evidence)
    return f"{claimed(verdict.claim)}, {_data(verdict.claim)} ({places})"


def claimed(claim: Claim) -> str:
    """The metric and the number that the card prints, cut where it has very many digits."""
    sign = "%" if claim.unit is Unit.PERCENT and "%" not in claim.literal else ""
    literal = claim.literal if len(claim.literal) <= LITERAL_WIDTH else f"{claim.literal[: LITERAL_WIDTH - 1]}…"
    return f"{shortened(claim.metric, NAME_WIDTH)} {literal}{sign}"


def shown(claim: Claim, value: float | None) -> str:
    """A number in the claim's own unit."""
    if value is None:
        return "–"
    return f"{value:.2f}%" if claim.unit is Unit.PERCENT else f"{value:.4f}"


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts of each kind, flagged kinds first, and how many claims were attempted and flagged at all."""
    order = sorted(VerdictKind, key=lambda kind: {False: 0, True: 1, None: 2}[kind.holds])
    counts = [(kind, sum(verdict.kind is kind for verdict in verdicts)) for kind in order]
    listed = ", ".join(f"{count} {kind}" for kind, count in counts if count)
    if not verdicts:
        return "no claims"
    attempted = sum(verdict.is_attempted for verdict in verdicts)
    flagged = sum(verdict.kind.holds is False for verdict in verdicts)
    claims = f"{len(verdicts)} claim{'' if len(verdicts) == 1 else 's'}"
    return f"{claims}: {listed} ({attempted} attempted, {flagged} flagged)"


def _notes(verdicts: Sequence[Verdict]) -> dict[str, list[int]]:
    """Each note once, with the numbers of the claims that it is about."""
    notes: dict[str, list[int]] = {}
    for number, verdict in enumerate(verdicts, start=1):
        own = () if verdict.kind.holds else verdict.claim.notes
        for note in dict.fromkeys((*verdict.notes, *own)):
            notes.setdefault(note, []).append(number)
    return notes


def _table(title: str, verdicts: Sequence[Verdict]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("", justify="right")
    table.add_column("claim", overflow="fold")
    table.add_column("where", overflow="fold")
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("split run", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for number, verdict in enumerate(verdicts, start=1):
        table.add_row(
            str(number),
            escape(f"{claimed(verdict.claim)}\n{_data(verdict.claim)}"),
            escape("\n".join(f"{place.file}:{place.line}" for place in verdict.claim.evidence)),
            shown(verdict.claim, verdict.measured),
            _difference(verdict),
            _kind(verdict),
            _share(verdict),
            escape(_why(verdict)),
        )
    return table


def _data(claim: Claim) -> str:
    data = "/".join(part for part in (claim.dataset or claim.dataset_name, claim.config) if part) or "(no data set)"
    return shortened(f"{data} {claim.split}" if claim.split else data, NAME_WIDTH)


def _kind(verdict: Verdict) -> str:
    style = _STYLE.get(verdict.kind, "bold")
    return f"[{style}]{verdict.kind}[/{style}]"


def _comparison(verdict: Verdict) -> str:
    """What was measured, how far off that is, and how much of the split it took, where anything was run."""
    if verdict.measured is None:
        return ""
    cost = f", {_share(verdict)} of the split run" if verdict.population else ""
    return f" ({shown(verdict.claim, verdict.measured)}, {_difference(verdict)}{cost})"


def _difference(verdict: Verdict) -> str:
    if verdict.delta is None:
        return "–"
    if verdict.claim.unit is Unit.RAW:
        return f"{verdict.delta:+.4f}"
    points = verdict.delta if verdict.claim.unit is Unit.PERCENT else verdict.delta * 100
    return f"{points:+.2f} pt"


def _share(verdict: Verdict) -> str:
    """The part of the split that the verdict cost: all of it is 100%, and nothing less is."""
    if verdict.n is None or not verdict.population:
        return "–"
    share = 100 * verdict.n / verdict.population
    if 99.5 <= share < 100:
        return "99%"
    return f"{share:.0f}%" if share >= 9.5 else f"{max(share, 0.1):.1f}%"


def _why(verdict: Verdict) -> str:
    """The rule that decided; for an explanation also the setting and the chance of a coincidence."""
    found = (verdict.explanation or {}).get("found")
    if verdict.kind is not VerdictKind.EXPLAINED or not found or not verdict.explanation:
        return verdict.rule
    chance = percentage(verdict.explanation["chance"])
    return f"explained by {cause(found)}: {found['setting']} (chance of a coincidence {chance})"


def cause(tried: Mapping[str, Any]) -> str:
    """The name of a hypothesis, of which one setting was tried, as words."""
    return str(tried["hypothesis"]).replace("_", " ")


def percentage(chance: float) -> str:
    """A chance (a fraction) for people."""
    return f"{chance:.2%}" if chance >= 0.0001 else "below 0.01%"


def _settings(measurement: Measurement) -> str:
    """What was run, in one line: examples, flips, device, precision, preprocessing, revision and where it is stored."""
    origin = measurement.provenance
    applied = {**origin.get("preprocessing", {}), "dtype": origin.get("dtype"), "device": origin.get("device")}
    listed = ("dtype", "device", "max_length", "processor", "size", "crop_size")
    settings = ", ".join(f"{name} {applied[name]}" for name in listed if applied.get(name) is not None)
    revision = f", revision {origin['model_revision'][:12]}" if origin.get("model_revision") else ""
    return (
        f"{measurement.task} {measurement.split}: {measurement.n} of {measurement.population} examples were run; "
        f"{measurement.flips} of the {measurement.probed} that ran a second time in another configuration came out "
        f"differently (flips); {settings}{revision}; {measurement.result}"
    )


def _budgets(measurement: Measurement, verdicts: Sequence[Verdict]) -> str:
    """How far flips may move each metric, those of the claims first."""
    asked = {verdict.claim.metric for verdict in verdicts if verdict.task == measurement.task}
    names = sorted(measurement.scores, key=lambda name: not _is_asked(name, asked))
    listed = ", ".join(f"{name} {_budget(name, measurement.scores[name])}" for name in names)
    return f"So much may such flips move a score of {measurement.task} {measurement.split}: {listed}."


def _is_asked(name: str, asked: Collection[str]) -> bool:
    return any(name == metric or name.startswith(f"{metric}_") for metric in asked)


def _budget(name: str, score: Score) -> str:
    """The flip budget in points, or in the metric's own unit."""
    if name not in METRICS or METRICS[name].unit is Unit.RAW:
        return f"{score.budget:.2g}"
    points = 100 * score.budget
    return f"{points:.2f} pt" if points >= 0.005 or not points else f"{points:.1g} pt"


def _scores(measurement: Measurement) -> Table:
    share = "" if measurement.is_full else f", {measurement.n} of {measurement.population} examples"
    where = escape(f"{measurement.task}, {measurement.split}{share}")
    table = Table(title=f"Measured on {where} (no claim)", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, score in measurement.scores.items():
        table.add_row(escape(name), f"{score.value:.4f}")
    return table
