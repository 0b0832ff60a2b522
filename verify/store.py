"""Results on disk: one folder per run, found by the content of what was run, never by a path or a name alone.

    results/<model>/<task>.<split>/<key>/
        run.json                      what was run: labels, settings, versions, device
        predictions/<sha256>.parquet  append-only shards; the name is the checksum of the bytes
        probe/<sha256>.parquet        the same examples in a second configuration
        draft/<sha256>.parquet        the low-precision pass of precision=adaptive
        measurements/<key>.json       scores, one file per scorer version and selection of rows
        statistics/<key>/<sha256>.parquet  what comparing texts gave, one folder per scorer version and way to compare

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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.content import content_key
from verify.errors import StoreError
from verify.predictions import Column, Family, Predictions, from_table
from verify.types import Measurement, Score, Setting

PREDICTIONS = "predictions"
PROBE = "probe"
DRAFT = "draft"
STATISTICS = "statistics"

_WRITING = ".writing-"
_ENOUGH = ".enough"


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
        return read_json(self.path / "run.json")

    def append(self, kind: str, form: type[Predictions], columns: Mapping[str, Column]) -> None:
        """Add rows as one shard; ``columns`` are those that ``form`` states."""
        import pyarrow as pa

        self._write_shard(kind, pa.table({name: _array(columns[name], arrow) for name, arrow in form.COLUMNS.items()}))

    def _write_shard(self, kind: str, table: Any) -> Path:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        content = buffer.getvalue()
        file = self.path / kind / f"{hashlib.sha256(content).hexdigest()}.parquet"
        _write(file, content)
        return file

    def examples(self, kind: str) -> NDArray[np.int64]:
        """The numbers of the examples that are stored, ascending and each once."""
        tables = list(self._shards(kind, ["example"]))
        found = [table["example"].to_numpy() for table in tables] or [np.empty(0, dtype=np.int64)]
        return np.unique(np.concatenate(found))

    def rows(self, kind: str) -> Any:
        """Every sound row of a kind as an Arrow table, in ascending order of example and each once; None for none."""
        import pyarrow as pa

        tables = list(self._shards(kind))
        if not tables:
            return None
        table = pa.concat_tables(tables)
        _, first = np.unique(table["example"].to_numpy(), return_index=True)
        return table.take(pa.array(first))

    def predictions(
        self, kind: str, examples: NDArray[np.int64] | None = None, settings: Mapping[str, Setting] | None = None
    ) -> Predictions | None:
        """The stored predictions, of all rows or of the ``examples`` given; None if there is none.

        ``settings`` are those of the task that say how predictions are read (a threshold).
        """
        import pyarrow as pa

        info, rows = self.info(), self.rows(kind)
        if info is None or rows is None:
            return None
        if examples is not None:
            rows = rows.filter(pa.array(np.isin(rows["example"].to_numpy(), examples)))
        return from_table(Family(info["family"]), {**info, **(settings or {}), **_kept(info)}, rows)

    def _shards(self, kind: str, columns: list[str] | None = None) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for file in sorted((self.path / kind).glob("*.parquet")):
            try:
                content = file.read_bytes()
            except OSError as error:
                raise StoreError(f"The shard {file} cannot be read: {error.strerror}. Check or delete it.") from error
            if hashlib.sha256(content).hexdigest() == file.stem:
                # without threads: Arrow's pools can abort a process that ends right after it has read
                yield pq.read_table(pa.BufferReader(content), columns=columns, use_threads=False, pre_buffer=False)

    def statistics(self, key: str) -> Iterator[tuple[list[bytes], NDArray[np.float64]]]:
        """What :meth:`add_statistics` wrote under a key, part by part; none that is damaged or cannot be read."""
        try:
            for table in self._shards(f"{STATISTICS}/{key}"):
                columns = [column.to_numpy() for column in table.columns[1:]]
                yield table.column(0).to_pylist(), np.stack(columns, axis=1)
        except StoreError:
            return

    def add_statistics(self, key: str, texts: Sequence[bytes], statistics: NDArray[np.float64]) -> None:
        """Keep statistics [N, K] under a key, each for the ``texts`` [N] that they are of (a digest)."""
        import pyarrow as pa

        columns = {str(place): pa.array(column) for place, column in enumerate(statistics.T)}
        self._write_shard(f"{STATISTICS}/{key}", pa.table({"texts": pa.array(texts, pa.binary()), **columns}))

    def drop(self, kind: str, examples: NDArray[np.int64]) -> None:
        """Take the rows of ``examples`` out; a kill in between leaves them all, or some of them."""
        import pyarrow as pa

        rows, before = self.rows(kind), list((self.path / kind).glob("*.parquet"))
        if rows is None or not np.isin(rows["example"].to_numpy(), examples).any():
            return
        kept = self._write_shard(kind, rows.filter(pa.array(~np.isin(rows["example"].to_numpy(), examples))))
        for file in before:
            if file != kept:
                file.unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """Let whoever runs this folder stop after what is under way: what is stored is enough."""
        _write(self.path / _ENOUGH, b"")

    def is_asked_to_stop(self) -> bool:
        return (self.path / _ENOUGH).exists()

    def go_on(self) -> None:
        """Forget that somebody asked to stop."""
        (self.path / _ENOUGH).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the files that a killed run was about to write; nobody may be writing."""
        for file in self.path.rglob(f"{_WRITING}*"):
            file.unlink(missing_ok=True)

    def measurement_file(self, identity: Mapping[str, Any]) -> Path:
        return self.path / "measurements" / f"{content_key(identity)}.json"

    def write_measurement(self, identity: Mapping[str, Any], measurement: Measurement) -> None:
        _write(self.measurement_file(identity), _dumps({"schema": 1, **asdict(measurement)}))

    def measurement(self, identity: Mapping[str, Any]) -> Measurement | None:
        """A stored measurement, or None if there is none (or an unreadable one, which will be made again)."""
        found = read_json(self.measurement_file(identity))
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
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"
    return text.encode(errors="backslashreplace")  # half of a surrogate pair becomes the JSON escape that it stands for


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a result file")


def _kept(info: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine found out and no setting overrules: a tagging scheme that was read off the tags."""
    return {name: info[name] for name in ("scheme", "label_of_logit", "unit") if name in info}


def _array(column: Column, arrow: str) -> Any:
    """An Arrow array of the type named; ``list<…>`` takes a matrix [n, C] or a sequence of sequences."""
    import pyarrow as pa

    if not arrow.startswith("list<"):
        return pa.array(column, type=pa.type_for_alias(arrow))
    inner = pa.type_for_alias(arrow[5:-1])
    if not isinstance(column, np.ndarray):
        return pa.array(column, type=pa.list_(inner))
    offsets = np.arange(len(column) + 1, dtype=np.int32) * column.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(column).ravel(), type=inner))


def read_json(file: Path) -> dict[str, Any] | None:
    """The object in a JSON file, None if there is none. Raises StoreError if the file cannot be read."""
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
        temporary = file.parent / f"{_WRITING}{secrets.token_hex(8)}"
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
        raise cannot_write(file, error) from error


def cannot_write(file: Path, error: OSError) -> StoreError:
    """What is said when a file of the results folder cannot be written."""
    return StoreError(
        f"The results folder cannot be written ({file.parent}: {error.strerror}). What was done before is kept. "
        "Free some space or choose another folder with results=FOLDER, then run the same command again."
    )
