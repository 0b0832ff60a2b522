"""Verdicts as JSON for other programs; versioned by ``schema``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from verify.types import Measurement, Verdict
from verify.verbs.claims import claim_entry

SCHEMA = "verify.check/1"


def check_object(
    model: str,
    revision: str | None,
    exit_code: int,
    verdicts: Sequence[Verdict],
    measurements: Sequence[Measurement] = (),
) -> dict[str, Any]:
    """The object that ``verify check --json`` prints.

    ``missing`` lists, for each claim that could not be settled, what stood in the way and what would help.
    ``measurements`` holds every score (fractions or raw) of every task that was run, with its settings.
    """
    return {
        "schema": SCHEMA,
        "model": model,
        "revision": revision,
        "exit_code": exit_code,
        "verdicts": [_verdict(verdict) for verdict in verdicts],
        "missing": [
            {"claim_id": verdict.claim.claim_id, "reason": verdict.reason, "next": verdict.next_step}
            for verdict in verdicts
            if verdict.kind.holds is None
        ],
        "measurements": [_measurement(measurement) for measurement in measurements],
    }


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
        "rule": verdict.rule,
        "reason": verdict.reason,
        "next": verdict.next_step,
        "notes": list(dict.fromkeys(verdict.notes)),
        "explanation": verdict.explanation,
        "result": verdict.result,
    }


def _measurement(measurement: Measurement) -> dict[str, Any]:
    return asdict(measurement)
