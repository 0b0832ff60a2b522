"""The claims of a card as a table for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.markup import escape
from rich.table import Table

from verify.checking.claim_json import confidence
from verify.report.clean import shortened
from verify.report.console import console_on
from verify.report.terminal import NAME_WIDTH
from verify.tasks.match import Match
from verify.tasks.resolve import Resolved
from verify.types import Claim


def show(resolved: Resolved, model: str, stream: TextIO) -> None:
    """Write claims with their tasks, candidates and findings, each apart."""
    console = console_on(file=stream)
    if not resolved.claims:
        console.print(f"{escape(model)} states no number that could be read as a claim.")
    else:
        console.print(_table(f"Claims of {escape(model)}", resolved.claims, resolved.matches))
        for reason, numbers in _reasons(resolved.matches).items():
            console.print(f"[dim]no task for {', '.join(map(str, numbers))}: {escape(reason)}[/dim]")
    if resolved.candidates:
        console.print(_table("Candidates: numbers that may be claims, and are not judged", resolved.candidates))
    for finding in resolved.findings:
        console.print(f"[yellow]{escape(finding.kind)}[/yellow]: {escape(finding.sentence)}")


def _table(title: str, claims: Sequence[Claim], matches: Sequence[Match] = ()) -> Table:
    table = Table(title=title, title_justify="left")
    columns = ["", "metric", "value", "data", "where", "confidence"]
    for name in [*columns, "task"] if matches else columns:
        table.add_column(name, justify="right" if name in ("", "value") else "left", overflow="fold")
    for number, claim in enumerate(claims, start=1):
        where = "\n".join(f"{place.file}:{place.line}" for place in claim.evidence)
        data = "/".join(part for part in (claim.dataset or claim.dataset_name, claim.config) if part)
        about = f"{data or '-'}\n{claim.split}" if claim.split else data
        cells = [str(number), claim.metric, f"{claim.literal}\n{claim.unit}", about, where, confidence(claim)]
        if matches:
            task = matches[number - 1].task
            cells.append(task.name if task else "")
        table.add_row(*(escape(shortened(cell, NAME_WIDTH) or "-") for cell in cells))
    return table


def _reasons(matches: Sequence[Match]) -> dict[str, list[int]]:
    """Each reason why a claim has no task, with the numbers of the claims."""
    reasons: dict[str, list[int]] = {}
    for number, match in enumerate(matches, start=1):
        if match.task is None:
            reasons.setdefault(match.reason, []).append(number)
    return reasons
