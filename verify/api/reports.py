"""What the functions return: verdicts, claims and sweeps, as objects that show as a table in a notebook."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from verify.checking.outcome import Outcome, exported
from verify.claims.meaning.group import Finding
from verify.report.clean import clean_line
from verify.report.frames import frame_of_claims, frame_of_models, frame_of_verdicts
from verify.report.html import page_of
from verify.report.terminal import summary
from verify.types import Claim, Measurement, Verdict

if TYPE_CHECKING:
    import pandas

    from verify.sweeping.whole import SweptSuite

__all__ = ["ClaimsReport", "Report", "SweepReport", "frame_of_verdicts"]


@dataclass(frozen=True, repr=False)
class Report:
    """What became of the claims of one model.

    ``notes`` are sentences that the command line would have printed beside the verdicts.
    """

    outcome: Outcome
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return self.outcome.model

    @property
    def revision(self) -> str | None:
        """The commit on the Hub; None for a local folder."""
        return self.outcome.revision

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        return self.outcome.verdicts

    @property
    def measurements(self) -> tuple[Measurement, ...]:
        return self.outcome.measurements

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What arithmetic on the card alone shows."""
        return self.outcome.findings

    @property
    def exit_code(self) -> int:
        """What the command line would exit with: 0 all settled claims hold, 1 one does not, 3 none settled, 4 error."""
        return self.outcome.exit_code

    @property
    def holds(self) -> bool | None:
        """Whether every claim that could be settled holds; None if none could be."""
        found = [verdict.kind.holds for verdict in self.verdicts if verdict.kind.holds is not None]
        return all(found) if found else None

    def to_dict(self) -> dict[str, Any]:
        """The object that ``verify check --json`` prints."""
        return exported(self.outcome)

    def to_frame(self) -> pandas.DataFrame:
        """A row for each claim: what is claimed, what was measured, how far off it is, and the verdict."""
        return frame_of_verdicts([(self.model, self.revision, self.to_dict()["verdicts"])])

    def __repr__(self) -> str:
        return clean_line(f"<Report on {self.model}: {summary(self.verdicts)}>")

    def _repr_html_(self) -> str:
        columns = ["kind", "metric", "claimed", "measured", "delta", "task", "split", "n", "reason"]
        return page_of(self.to_frame()[columns], self.model, [summary(self.verdicts), *self.notes])


@dataclass(frozen=True, repr=False)
class ClaimsReport:
    """What a card claims, each claim with the task that it is about, or why there is none."""

    claims: tuple[Claim, ...]
    _entries: Mapping[str, Any] = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return str(self._entries["model"])

    def to_dict(self) -> dict[str, Any]:
        """The object that ``verify claims --json`` prints."""
        return copy.deepcopy(dict(self._entries))

    def to_frame(self) -> pandas.DataFrame:
        """A row for each place of each claim, with the fields of ``verify claims --json``."""
        return frame_of_claims(self._entries["claims"])

    def __len__(self) -> int:
        return len(self.claims)

    def __repr__(self) -> str:
        return clean_line(f"<ClaimsReport on {self.model}: {_counted(len(self.claims), 'claim')}>")

    def _repr_html_(self) -> str:
        columns = ["metric", "literal", "unit", "dataset", "split", "resolved_task", "file", "line"]
        return page_of(self.to_frame()[columns], self.model, [_counted(len(self.claims), "claim"), *self.notes])


@dataclass(frozen=True, repr=False)
class SweepReport:
    """What became of the claims of many models, counted once more over all of them."""

    swept: SweptSuite
    notes: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """As of :attr:`Report.exit_code`, over all claims."""
        return self.swept.exit_code

    def to_dict(self) -> dict[str, Any]:
        """The object that ``verify sweep --json`` prints."""
        from verify.sweeping.sweep_json import sweep_object

        return sweep_object(self.swept.tally, self.exit_code)

    def to_frame(self) -> pandas.DataFrame:
        """A row for each claim of each model, as :meth:`Report.to_frame`; ``kind`` is what the sweep makes of it.

        A model of which nothing could be judged has one row, with the reason.
        """
        return frame_of_verdicts(_entries(self.swept))

    def __repr__(self) -> str:
        return clean_line(f"<SweepReport on {self.swept.tally.name}: {self._counts}>")

    def _repr_html_(self) -> str:
        models = frame_of_models(self.to_dict()["models"])
        return page_of(models, self.swept.tally.name, [self._counts, *self.notes])

    @property
    def _counts(self) -> str:
        tally = self.swept.tally
        flagged = f"{tally.flagged} of {_counted(tally.attempted, 'claim')} flagged"
        return f"{_counted(len(tally.models), 'model')}, {flagged}"


def _entries(swept: SweptSuite) -> Iterable[tuple[str, str | None, Sequence[Mapping[str, Any]]]]:
    for model in swept.tally.models:
        if model.error is not None:
            (kind,) = model.kinds
            yield model.model, None, [{"kind": str(kind), "reason": model.error}]
        else:
            yield model.model, None, [{**one.entry, "kind": str(one.kind)} for one in model.verdicts]


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
