"""The search for an explanation for people: what was found, how likely that is by chance, and all that was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.report.terminal import cause, heading, paragraph, percentage, shown
from verify.types import Claim, Verdict


def show_explanations(console: Console, verdicts: Sequence[Verdict]) -> None:
    """Print every difference that was searched: its sentence, the setting found, and the chance of a coincidence.

    All settings that were tried follow with the number that each gives, those that meet the card first, then the
    nearest.
    """
    searched = [verdict for verdict in verdicts if verdict.explanation]
    for number, verdict in enumerate(searched, start=1):
        console.print(paragraph(f"{number}.", escape(heading(verdict))))
        console.print(paragraph("", f"[bold]{verdict.kind}[/bold]: {escape(verdict.reason)}"))
        console.print(paragraph("", escape(_found(verdict))))
        if verdict.next_step:
            console.print(paragraph("", f"→ {escape(verdict.next_step)}"))
        console.print(_table(verdict))


def _found(verdict: Verdict) -> str:
    explanation: Mapping[str, Any] = verdict.explanation or {}
    chance, found = percentage(explanation["chance"]), explanation["found"]
    count = len(explanation["tried"])
    if found is None:
        return f"No setting was found: none of the {count} that were tried gives the card's numbers."
    sure = "Found" if explanation["certain"] else "Possible, and not certain"
    return (
        f"{sure}: {cause(found)}, {found['setting']}. The chance that an unrelated number would meet one of the "
        f"{count} settings that were tried is {chance}."
    )


def _table(verdict: Verdict) -> Table:
    claim, tried = verdict.claim, (verdict.explanation or {})["tried"]
    table = Table(
        title=f"Tried for {escape(claim.metric)}; the card says {escape(claim.literal)}", title_justify="left"
    )
    table.add_column("cause", overflow="fold")
    table.add_column("setting", overflow="fold")
    table.add_column("gives", justify="right", no_wrap=True)
    table.add_column("fits", no_wrap=True)
    for entry in sorted(tried, key=lambda entry: (not entry["fits"], _distance(claim, entry["value"]))):
        fits = "[green]yes[/green]" if entry["fits"] else ""
        table.add_row(escape(cause(entry)), escape(entry["setting"]), shown(claim, entry["value"]), fits)
    return table


def _distance(claim: Claim, value: float | None) -> float:
    return math.inf if value is None else abs(value - claim.value)
