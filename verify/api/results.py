"""The verdicts stored in a folder of results, read strictly: a folder may come from anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from verify.checking.outcome import FILE
from verify.checking.verdict_json import SCHEMA
from verify.errors import StoreError, UsageError
from verify.foundation.plain import UnreadableError, from_plain
from verify.report.frames import frame_of_verdicts
from verify.store.files import read_stored
from verify.types import Rung, Unit, VerdictKind


@dataclass(frozen=True)
class _Claim:
    """What a frame shows of a claim."""

    metric: str
    literal: str
    unit: Unit
    dataset: str | None
    config: str | None
    file: str | None
    line: int | None


@dataclass(frozen=True)
class _Verdict:
    """What a frame shows of a verdict."""

    kind: VerdictKind
    claim: _Claim
    measured: float | None
    delta: float | None
    n: int | None
    population: int | None
    evidence: Rung | None
    task: str | None
    split: str | None
    reason: str
    next: str | None
    result: str | None


@dataclass(frozen=True)
class StoredVerdicts:
    """The last verdicts on one model, each as an entry of ``verify check --json``, but for what no frame shows."""

    model: str
    revision: str | None
    verdicts: tuple[_Verdict, ...]

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [{**asdict(one), "kind": str(one.kind)} for one in self.verdicts]


def stored_verdicts(folder: str) -> list[StoredVerdicts]:
    """The verdicts on every model in a folder of results, or on the one whose own folder it is, by the folders' names.

    Raises UsageError if there is no such folder or it holds no verdicts, StoreError if one cannot be read.
    """
    try:
        place = Path(folder).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{folder} cannot be found: {error}.") from error
    files = [place / FILE] if (place / FILE).is_file() else sorted(place.glob(f"*/{FILE}"))
    if not files:
        raise UsageError(f"{folder} holds no verdicts (MODEL/{FILE}). Name the results folder of a check.")
    return [_read(file) for file in files]


def _read(file: Path) -> StoredVerdicts:
    found, _ = read_stored(file, depth=2) or ({}, False)
    try:
        read = _shaped(found)
        frame_of_verdicts([(read.model, read.revision, read.entries)])
    except (UnreadableError, OverflowError) as error:
        problem = error if isinstance(error, UnreadableError) else "a count is beyond 64 bits"
        raise StoreError(
            f"{file} holds no verdicts as this version stores them: {problem}. Judge the model again: "
            f"{shlex.join(['verify', 'judge', str(file.parent)])}"
        ) from error
    return read


def _shaped(found: Mapping[str, Any]) -> StoredVerdicts:
    """What a file of verdicts holds. Raises UnreadableError for anything else."""
    if found.get("schema") != SCHEMA:
        raise UnreadableError(f"its schema is not {SCHEMA}")
    verdicts = found.get("verdicts")
    if not isinstance(verdicts, list):
        raise UnreadableError("it lists no verdicts")
    plain = {**_part(StoredVerdicts, found), "verdicts": [_verdict(one) for one in verdicts]}
    read: StoredVerdicts = from_plain(StoredVerdicts, plain)
    return read


def _verdict(entry: Any) -> Any:
    return (
        {**_part(_Verdict, entry), "claim": _part(_Claim, entry.get("claim"))} if isinstance(entry, Mapping) else entry
    )


def _part(shape: type[Any], entry: Any) -> Any:
    """Of an entry what the shape asks for; what is no mapping stays, for the shape to refuse."""
    if not isinstance(entry, Mapping):
        return entry
    return {one.name: entry[one.name] for one in fields(shape) if one.name in entry}
