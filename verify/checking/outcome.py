"""What became of the claims of one model: the verdicts, the exit code that they stand for, and where both are kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.checking.verdict_json import check_object
from verify.claims.meaning.group import Finding
from verify.store.files import write_json
from verify.types import Measurement, Verdict, VerdictKind

HOLDS, DOES_NOT_HOLD, NOTHING_SETTLED, ERRORS = 0, 1, 3, 4
FILE = "verdicts.json"


@dataclass(frozen=True)
class Outcome:
    """What became of the claims of one model, and what was measured for them."""

    model: str
    revision: str | None
    verdicts: tuple[Verdict, ...]
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 every settled claim holds; 1 at least one does not; 3 nothing was settled; 4 a measurement failed."""
        holds = [verdict.kind.holds for verdict in self.verdicts]
        if False in holds:
            return DOES_NOT_HOLD
        if any(verdict.kind is VerdictKind.ERROR for verdict in self.verdicts):
            return ERRORS
        return HOLDS if True in holds else NOTHING_SETTLED


def store(outcome: Outcome, folder: Path) -> None:
    """Write the verdicts into the model's folder of results, in the form in which ``--json`` prints them."""
    write_json(folder / FILE, exported(outcome))


def exported(outcome: Outcome) -> dict[str, Any]:
    """The object that ``--json`` prints of an outcome."""
    return check_object(
        outcome.model, outcome.revision, outcome.exit_code, outcome.verdicts, outcome.measurements, outcome.findings
    )
