"""Every claim of a card with the task that can check it, and what arithmetic on the card alone says of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from verify.claims.extract import Extraction
from verify.claims.meaning.arithmetic import examine
from verify.claims.meaning.group import Finding
from verify.tasks.match import Match, Matcher
from verify.types import Claim, TaskSpec


@dataclass(frozen=True)
class Resolved:
    """The claims of one card, a match for each, and the findings.

    ``impossible`` maps the id of a claim to the finding that rules it out as one run on its split. ``epochs`` is the
    card's own table of training epochs, as in :class:`verify.claims.extract.Extraction`.
    """

    claims: tuple[Claim, ...]
    matches: tuple[Match, ...]
    candidates: tuple[Claim, ...] = ()
    findings: tuple[Finding, ...] = ()
    impossible: Mapping[str, Finding] = field(default_factory=dict)
    epochs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def resolve_claims(
    extraction: Extraction,
    tasks: Mapping[str, TaskSpec],
    *,
    claims: Sequence[Claim] | None = None,
    only: Collection[str] | None = None,
    split: str | None = None,
) -> Resolved:
    """Match every claim to a task and examine the numbers against the splits' sizes; nothing is loaded or run.

    ``claims`` replaces the extraction's own (after corrections by hand). ``only`` and ``split`` are the user's choices,
    as in :class:`verify.tasks.match.Matcher`; with another ``split`` than the card's, sizes say nothing.
    """
    read = tuple(extraction.claims if claims is None else claims)
    matcher = Matcher(tasks, only=only, split=split)
    matches = {claim.claim_id: matcher.match(claim) for claim in read}
    sizes = {key: {} if split is not None else split_sizes(match) for key, match in matches.items()}
    found = examine(read, lambda claim: sizes[claim.claim_id])
    impossible = {key: finding for finding in found if finding.kind == "granularity" for key in finding.claim_ids}
    return Resolved(
        read,
        tuple(matches[claim.claim_id] for claim in read),
        extraction.candidates,
        (*extraction.findings, *found),
        impossible,
        extraction.epochs,
    )


def split_sizes(match: Match) -> dict[str, int]:
    """The number of examples of each split of the task, also under the names that cards use for the splits."""
    if match.task is None:
        return {}
    rows = dict(match.task.rows)
    aliases = {name: rows[split] for name, split in match.task.split_aliases.items() if split in rows}
    return rows | aliases
