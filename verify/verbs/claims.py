"""``verify claims``: print what a card claims, without running anything."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

from verify.claims.extract import Extraction, read_claims
from verify.claims.group import Finding
from verify.claims.reading import in_unit
from verify.claims.values import read_number
from verify.errors import UsageError
from verify.types import Claim, Evidence

SCHEMA = "verify.claims/1"
_CARD = "README.md"
_LARGEST = 50_000_000
_PATTERNS = (_CARD, ".eval_results/*.yaml", ".eval_results/*.yml", "*_results.json")


def run(target: str, *, as_json: bool, as_jsonl: bool) -> int:
    """Print the claims of ``target``: a README.md, a model folder, a Hub id, or (JSONL) a folder of cards.

    Returns the exit code 0. Raises :class:`verify.errors.UsageError` for a target that is none of these.
    """
    if as_jsonl:
        for name, files in _cards(Path(target)):
            extraction = read_claims(files, name)
            print(json.dumps({"id": name, "claims": _entries(extraction.claims)}, ensure_ascii=False))  # noqa: T201
        return 0
    model, revision, files = _repository(target)
    extraction = read_claims(files, model, revision)
    if as_json:
        print(json.dumps(as_object(extraction, model, revision), ensure_ascii=False, indent=1))  # noqa: T201
    else:
        from verify.report.claims import show

        show(extraction, model, sys.stdout)
    return 0


def as_object(extraction: Extraction, model: str, revision: str | None) -> dict[str, Any]:
    """The object that ``--json`` prints; see DESIGN.md, machine output."""
    return {
        "schema": SCHEMA,
        "model": model,
        "revision": revision,
        "claims": _entries(extraction.claims),
        "candidates": _entries(extraction.candidates),
        "findings": [_finding(finding) for finding in extraction.findings],
    }


def _entries(claims: tuple[Claim, ...]) -> list[dict[str, Any]]:
    """One entry for each place of each claim, so that every value stands as its place prints it."""
    return [claim_entry(claim, evidence) for claim in claims for evidence in claim.evidence]


def claim_entry(claim: Claim, evidence: Evidence) -> dict[str, Any]:
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
        "date": claim.date,
        "notes": list(claim.notes),
    }


def _verification(claim: Claim) -> dict[str, bool]:
    found = {"verified": True} if claim.verified else {}
    return found | ({"verifyToken": True} if claim.verify_token else {})


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "sentence": finding.sentence,
        "claim_ids": list(finding.claim_ids),
        "evidence": [{"file": place.file, "line": place.line, "quote": place.quote} for place in finding.evidence],
    }


def _repository(target: str) -> tuple[str, str | None, dict[str, str]]:
    path = Path(target)
    if path.is_file():
        return path.resolve().parent.name, None, {_CARD: _text(path)}
    if path.is_dir():
        files = _files(path)
        if not files:
            raise UsageError(
                f"{path} holds no {_CARD} and no .eval_results: name a model's folder or its card, "
                "or pass --jsonl for a folder of many cards."
            )
        return path.resolve().name, None, files
    hub = importlib.import_module("verify.hub")  # only here, because it imports the Hub's client
    repository = hub.resolve(target)
    return repository.model, repository.revision, hub.texts(repository)


def _cards(folder: Path) -> list[tuple[str, dict[str, str]]]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: --jsonl reads a folder of cards, NAME/{_CARD}.")
    cards = [(child.name, files) for child in sorted(folder.iterdir()) if child.is_dir() and (files := _files(child))]
    if not cards:
        raise UsageError(f"No card found: --jsonl looks for {folder}/NAME/{_CARD}.")
    return cards


def _files(folder: Path) -> dict[str, str]:
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file()}
    return {path.relative_to(folder).as_posix(): _text(path) for path in sorted(found)}


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise UsageError(f"{path} is larger than {_LARGEST // 1_000_000} MB, which no model card is.")
    return path.read_bytes().decode("utf-8", errors="replace")
