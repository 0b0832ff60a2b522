"""Verdicts as JSON for other programs; versioned by ``schema``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from verify.checking.claim_json import claim_entry, finding_entry
from verify.claims.meaning.group import Finding
from verify.types import Measurement, Verdict

SCHEMA = "verify.check/1"


def check_object(
    model: str,
    revision: str | None,
    exit_code: int,
    verdicts: Sequence[Verdict],
    measurements: Sequence[Measurement] = (),
    findings: Sequence[Finding] = (),
) -> dict[str, Any]:
    """The object that ``verify check --json`` prints, strictly JSON: a number that is not finite becomes null.

    ``attempted`` counts the claims that were compared with anything, ``flagged`` those that do not hold. ``missing``
    lists, for each claim that could not be settled, what stood in the way and what would help.
    ``findings`` are what arithmetic on the card alone shows. ``measurements`` holds every score (fractions or raw) of
    every task that was run, with its settings.
    """
    found = {
        "schema": SCHEMA,
        "model": model,
        "revision": revision,
        "exit_code": exit_code,
        "attempted": sum(verdict.is_attempted for verdict in verdicts),
        "flagged": sum(verdict.kind.holds is False for verdict in verdicts),
        "verdicts": [_verdict(verdict) for verdict in verdicts],
        "missing": [
            {"claim_id": verdict.claim.claim_id, "reason": verdict.reason, "next": verdict.next_step}
            for verdict in verdicts
            if verdict.kind.holds is None
        ],
        "findings": [finding_entry(finding) for finding in findings],
        "measurements": [asdict(measurement) for measurement in measurements],
    }
    return {name: _strict(value) for name, value in found.items()}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    interval = verdict.interval
    return {
        "kind": str(verdict.kind),
        "claim": claim_entry(verdict.claim, verdict.claim.evidence[0]),
        "measured": verdict.measured,
        "delta": verdict.delta,
        "interval": [interval.low, interval.high] if interval else None,
        "n": verdict.n,
        "population": verdict.population,
        "evidence": str(verdict.rung) if verdict.rung else None,
        "task": verdict.task,
        "split": verdict.split,
        "flips": verdict.flips,
        "probed": verdict.probed,
        "e_value": verdict.e_value,
        "rule": verdict.rule,
        "reason": verdict.reason,
        "next": verdict.next_step,
        "notes": list(dict.fromkeys(verdict.notes)),
        "explanation": verdict.explanation,
        "result": verdict.result,
    }


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
