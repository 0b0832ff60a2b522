"""A whole sweep as JSON for other programs; versioned by ``schema``."""

from __future__ import annotations

from collections import Counter
from typing import Any

from verify.judging.tally import Judged, Swept, Tally
from verify.types import VerdictKind

SCHEMA = "verify.sweep/1"
_OF_CLAIMS = ("claim_id", "metric", "literal", "unit", "dataset", "config", "split", "file", "line")
_OF_VERDICTS = (
    "measured",
    "delta",
    "n",
    "population",
    "evidence",
    "e_value",
    "task",
    "split",
    "reason",
    "next",
    "result",
)


def sweep_object(tally: Tally, exit_code: int) -> dict[str, Any]:
    """The object that ``verify sweep --json`` prints.

    ``models`` has a row for each, ``flagged_claims`` every claim that does not hold, and ``errors`` what failed; the
    whole verdicts lie in the ``folder`` of each model. ``false_discovery_control`` says at which rate (a fraction)
    flagged claims are held among all that were attempted, and which ones were left open for it although their own
    model's verdicts contradict them.
    """
    open_again = tally.not_settled
    return {
        "schema": SCHEMA,
        "suite": tally.name,
        "exit_code": exit_code,
        "complete": tally.is_complete,
        "attempted": tally.attempted,
        "flagged": tally.flagged,
        "verdicts": _counts(tally.kinds),
        "false_discovery_control": {
            "method": "e-BH",
            "alpha": tally.alpha,
            "attempted": tally.attempted,
            "contradicted": tally.flagged + len(open_again),
            "flagged": tally.flagged,
            "not_settled": [_claim(model, verdict) for model, verdict in open_again],
        },
        "models": [_model(model) for model in tally.models],
        "flagged_claims": [_claim(model, verdict) for model in tally.models for verdict in model.flagged],
        "errors": [error for model in tally.models for error in _errors(model)],
        "seconds": round(tally.seconds, 3),
    }


def _model(model: Swept) -> dict[str, Any]:
    return {
        "model": model.model,
        "reference": model.reference,
        "verdicts": _counts(model.kinds) if model.error is None else {},
        "attempted": model.attempted,
        "flagged": len(model.flagged),
        "not_settled": sum(not verdict.stands for verdict in model.verdicts),
        "error": model.error,
        "error_kind": model.error_kind,
        "folder": model.folder,
        "seconds": round(model.seconds, 3),
    }


def _claim(model: Swept, verdict: Judged) -> dict[str, Any]:
    """Which claim of which model, and how far off it is, in the claim's own unit."""
    entry = verdict.entry
    claim = {name: entry["claim"].get(name) for name in _OF_CLAIMS}
    known = {name: entry.get(name) for name in _OF_VERDICTS}
    found = (entry.get("explanation") or {}).get("found") if verdict.kind is VerdictKind.EXPLAINED else None
    cause = {"hypothesis": found["hypothesis"], "setting": found["setting"]} if found else None
    return {"model": model.model, "kind": str(verdict.kind), "claim": claim, **known, "explained_by": cause}


def _errors(model: Swept) -> list[dict[str, Any]]:
    if model.error is not None:
        return [{"model": model.model, "claim_id": None, "reason": model.error, "next": None}]
    return [
        {
            "model": model.model,
            "claim_id": verdict.entry["claim"]["claim_id"],
            "reason": verdict.entry["reason"],
            "next": verdict.entry["next"],
        }
        for verdict in model.verdicts
        if verdict.kind is VerdictKind.ERROR
    ]


def _counts(kinds: Counter[VerdictKind]) -> dict[str, int]:
    return {str(kind): kinds[kind] for kind in VerdictKind if kinds[kind]}
