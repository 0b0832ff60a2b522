"""Results on disk: one folder per run, found by the content of what was run, never by a path or a name alone.

    results/<model>/<task>.<split>/<key>/
        run.json                      what was run: labels, settings, versions, device
        predictions/<sha256>.parquet  append-only shards; the name is the checksum of the bytes
        probe/<sha256>.parquet        the same examples in a second configuration
        measurements/<key>.json       scores, one file per scorer version and selection of rows

Every write is atomic (a temporary file, flushed, then renamed), so that a killed run loses at most the rows it had not
flushed. A shard whose bytes do not match its name is ignored, and its rows are run again.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.content import content_key
from verify.errors import StoreError
from verify.types import Measurement, Predictions, Score

PREDICTIONS = "predictions"
PROBE = "probe"


class RunFolder:
    """One run of one model on one split; safe to write from several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def for_run(cls, root: Path, model: str, task: str, split: str, identity: Mapping[str, Any]) -> RunFolder:
        """The folder for a run; ``identity`` is everything that can change a prediction (digests, task, settings)."""
        return cls(root / slug(model) / f"{slug(task)}.{slug(split)}" / content_key(identity))

    def write_info(self, info: Mapping[str, Any]) -> None:
        _write(self.path / "run.json", _dumps(info))

    def info(self) -> dict[str, Any] | None:
        """What :meth:`write_info` wrote, or None."""
        return _read_json(self.path / "run.json")

    def append(self, kind: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows as one shard. ``columns``: example [n], logits [n, C], reference [n]."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        logits = columns["logits"]
        flat = pa.array(np.ascontiguousarray(logits, dtype=np.float32).ravel())
        table = pa.table(
            {
                "example": pa.array(columns["example"]),
                "logits": pa.FixedSizeListArray.from_arrays(flat, logits.shape[1]),
                "reference": pa.array(columns["reference"]),
            }
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        content = buffer.getvalue()
        _write(self.path / kind / f"{hashlib.sha256(content).hexdigest()}.parquet", content)

    def rows(self, kind: str) -> dict[str, NDArray[Any]] | None:
        """Every sound row of a kind, in ascending order of example and each once; None if there is none."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for file in sorted((self.path / kind).glob("*.parquet")):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise StoreError(f"The shard {file} cannot be read: {error.strerror}. Check or delete it.") from error
            if hashlib.sha256(content).hexdigest() == file.stem:
                tables.append(pq.read_table(pa.BufferReader(content)))
        if not tables:
            return None
        table = pa.concat_tables(tables)
        example, first = np.unique(table["example"].to_numpy(), return_index=True)
        flat = table["logits"].combine_chunks()
        width = flat.type.list_size
        logits = flat.flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        return {"example": example, "logits": logits[first], "reference": table["reference"].to_numpy()[first]}

    def predictions(self, kind: str, examples: NDArray[np.int64] | None = None) -> Predictions | None:
        """The stored predictions, of all rows or of the ``examples`` given; None if there is none."""
        info, rows = self.info(), self.rows(kind)
        if info is None or rows is None:
            return None
        if examples is not None:
            wanted = np.isin(rows["example"], examples)
            rows = {name: column[wanted] for name, column in rows.items()}
        labels = info["label_of_logit"]
        return Predictions(
            rows["example"], rows["logits"], rows["reference"], None if labels is None else tuple(labels)
        )

    def measurement_file(self, identity: Mapping[str, Any]) -> Path:
        return self.path / "measurements" / f"{content_key(identity)}.json"

    def write_measurement(self, identity: Mapping[str, Any], measurement: Measurement) -> None:
        _write(self.measurement_file(identity), _dumps({"schema": 1, **asdict(measurement)}))

    def measurement(self, identity: Mapping[str, Any]) -> Measurement | None:
        """A stored measurement, or None if there is none (or an unreadable one, which will be made again)."""
        found = _read_json(self.measurement_file(identity))
        if found is None or found.pop("schema", None) != 1:
            return None
        try:
            scores = {name: Score(**score) for name, score in found.pop("scores").items()}
            return Measurement(**{**found, "scores": scores, "notes": tuple(found["notes"])})
        except (KeyError, TypeError, AttributeError):
            return None


def slug(name: str) -> str:
    """A file name for a model, task or split: no separators, nothing hidden, no two names alike.

    >>> slug("org/model")
    'org--model'
    """
    joined = name.replace("/", "--")
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", joined).lstrip(".") or "_"
    is_ambiguous = "--" in name or re.search(r"-/|/-|[-/][0-9a-f]{8}$", name)
    if plain == joined and len(plain) < 100 and not is_ambiguous:
        return plain
    return f"{plain[:90]}-{content_key(name)[:8]}"


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. Raises StoreError if that is impossible."""
    _write(file, _dumps(value))


def _dumps(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a result file")


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        raise StoreError(f"The result file {file} cannot be read: {error.strerror}.") from error
    return found if isinstance(found, dict) else None


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary = file.parent / f".writing-{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"The results folder cannot be written ({file.parent}: {error.strerror}). What was done before is kept. "
            "Free some space or choose another folder with results=FOLDER, then run the same command again."
        ) from error
