"""The claims of a card as a table for people."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.claims.extract import Extraction
from verify.types import Claim


def show(extraction: Extraction, model: str, stream: TextIO) -> None:
    """Write claims, candidates and findings, each apart."""
    console = Console(file=stream, highlight=False)
    if not extraction.claims:
        console.print(f"{escape(model)} states no number that could be read as a claim.")
    else:
        console.print(_table(f"Claims of {escape(model)}", extraction.claims))
    if extraction.candidates:
        console.print(_table("Candidates: numbers that may be claims, and are not judged", extraction.candidates))
    for finding in extraction.findings:
        console.print(f"[yellow]{escape(finding.kind)}[/yellow]: {escape(finding.sentence)}")


def _table(title: str, claims: tuple[Claim, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in ("metric", "value", "unit", "dataset", "config", "split", "where"):
        table.add_column(name, justify="right" if name == "value" else "left", overflow="fold")
    for claim in claims:
        where = "\n".join(f"{place.file}:{place.line}" for place in claim.evidence)
        cells = (claim.metric, claim.literal, str(claim.unit), claim.dataset, claim.config, claim.split, where)
        table.add_row(*(escape(cell or "-") for cell in cells))
    return table
