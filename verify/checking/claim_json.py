"""Claims, candidates and findings as JSON for other programs; versioned by ``schema``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verify.claims.form.values import read_number
from verify.claims.meaning.group import Finding
from verify.claims.meaning.reading import in_unit
from verify.tasks.match import Match
from verify.tasks.resolve import Resolved
from verify.types import Claim, Evidence, Source

SCHEMA = "verify.claims/1"
_WRITTEN_BY_MACHINES = (Source.MODEL_INDEX, Source.EVAL_RESULTS, Source.EVAL_LIST)


def claims_object(resolved: Resolved, model: str, revision: str | None) -> dict[str, Any]:
    """The object that ``verify claims --json`` prints.

    A claim that stands in several places has one entry for each, with equal ``claim_id``, so that every value stands as
    its place prints it. An entry has ``resolved_task``, or the ``reason`` why there is none.
    """
    return {
        "schema": SCHEMA,
        "model": model,
        "revision": revision,
        "claims": [
            claim_entry(claim, evidence) | _resolution(match)
            for claim, match in zip(resolved.claims, resolved.matches, strict=True)
            for evidence in claim.evidence
        ],
        "candidates": claim_entries(resolved.candidates),
        "findings": [finding_entry(finding) for finding in resolved.findings],
    }


def claim_entries(claims: Sequence[Claim]) -> list[dict[str, Any]]:
    """One entry for each place of each claim."""
    return [claim_entry(claim, evidence) for claim in claims for evidence in claim.evidence]


def claim_entry(claim: Claim, evidence: Evidence) -> dict[str, Any]:
    """One place of a claim. ``value`` and ``interval`` are in ``unit``, as printed in that place."""
    literal = evidence.literal or claim.literal
    value, unit, interval = claim.value, claim.unit, claim.interval
    number = read_number(literal)
    if number is not None and literal != claim.literal:
        value = number.value
        unit, interval = in_unit(number, claim.unit, claim)
    return {
        "claim_id": claim.claim_id,
        "metric": claim.metric,
        "value": value,
        "literal": literal,
        "unit": str(unit),
        "interval": [interval.low, interval.high],
        "task": claim.task,
        "dataset": claim.dataset,
        "dataset_name": claim.dataset_name,
        "config": claim.config,
        "split": claim.split,
        "settings": {**claim.settings, **_verification(claim)},
        "subject": claim.subject,
        "where": str(evidence.source),
        "file": evidence.file,
        "line": evidence.line,
        "end_line": evidence.end_line,
        "quote": evidence.quote,
        "confidence": confidence(claim),
        "date": claim.date,
        "notes": list(claim.notes),
    }


def confidence(claim: Claim) -> str:
    """How sure the reading is: high where a program wrote the number, or where it stands in two places; else medium."""
    places = {(evidence.file, evidence.line) for evidence in claim.evidence}
    by_machine = any(evidence.source in _WRITTEN_BY_MACHINES for evidence in claim.evidence)
    return "high" if by_machine or len(places) > 1 else "medium"


def _resolution(match: Match) -> dict[str, Any]:
    if match.task is None:
        return {"resolved_task": None, "reason": match.reason}
    return {"resolved_task": match.task.name, "resolved_split": match.split, "reason": None}


def _verification(claim: Claim) -> dict[str, bool]:
    found = {"verified": True} if claim.verified else {}
    return found | ({"verifyToken": True} if claim.verify_token else {})


def finding_entry(finding: Finding) -> dict[str, Any]:
    """One finding, with the claims and the places that it is about."""
    return {
        "kind": finding.kind,
        "sentence": finding.sentence,
        "claim_ids": list(finding.claim_ids),
        "evidence": [{"file": place.file, "line": place.line, "quote": place.quote} for place in finding.evidence],
    }
