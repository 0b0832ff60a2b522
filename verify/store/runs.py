"""Results on disk: one folder per run, found by the content of what was run, never by a path or a name alone.

    results/<model>/<task>.<split>/<key>/
        run.json                             what was run: labels, settings, versions, device
        predictions/<sha256>.<seal>.parquet  append-only shards; the name is the checksum of the bytes, and its seal
        probe/…                              the same examples in a second configuration
        draft/…                              the low-precision pass of precision=adaptive
        measurements/<key>.json              scores, one file per scorer version and selection of rows
        statistics/<key>/…                   what comparing texts gave, for each scorer version and way to compare

Every write is atomic (a temporary file, flushed, then renamed), so that a killed run loses at most the rows it had not
flushed. Only what carries this user's seal (:mod:`verify.store.seals`) counts, and a shard whose bytes do not match its
name does not: all else is as if it were not there, and is run again. What was received, or made before there were
seals, can be read by asking for it, strictly: then anything wrong with it is an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import StoreError
from verify.foundation.content import content_key
from verify.store.files import (
    MOST_SHARD,
    WRITING,
    DamagedError,
    ReadOnlyError,
    checked,
    damaged,
    place_of,
    read_bytes,
    read_sealed,
    read_stored,
    require_plain,
    write,
    write_json,
    write_sealed,
)
from verify.store.predictions import Column, Family, Predictions, from_table
from verify.store.received import (
    checked_info,
    checked_measurement,
    checked_predictions,
    checked_table,
    read_measurement,
)
from verify.store.seals import is_seal, seal
from verify.types import Measurement, Setting

PREDICTIONS = "predictions"
PROBE = "probe"
DRAFT = "draft"
STATISTICS = "statistics"
MEASUREMENTS = "measurements"

_ENOUGH = ".enough"
_WRITTEN_IN_PLACE = (".lock", ".workers.lock", "jobs.json", "worker.log", _ENOUGH)
"""Files that are written where they are, so that a link in their place would lead the writer astray."""


class RunFolder:
    """One run of one model on one split; safe to write from several processes.

    With ``received`` what nobody has sealed is read, too, and a DamagedError raised for what is no result.
    """

    def __init__(self, path: Path, *, received: bool = False) -> None:
        self.path, self.received = path, received
        self._place = place_of(path, 3)

    @classmethod
    def for_run(cls, root: Path, model: str, task: str, split: str, identity: Mapping[str, Any]) -> RunFolder:
        """The folder for a run; ``identity`` is everything that can change a prediction (digests, task, settings)."""
        return cls(root / slug(model) / f"{slug(task)}.{slug(split)}" / content_key(identity))

    @classmethod
    def behind(cls, measurement: Measurement) -> RunFolder | None:
        """Where the predictions behind a stored measurement lie, to be read as it was; None if it is not stored."""
        if measurement.result is None:
            return None
        return cls(Path(measurement.result).parents[1], received=measurement.provenance.get("made_here") is False)

    def write_info(self, info: Mapping[str, Any]) -> None:
        write_sealed(self.path / "run.json", info, depth=4)

    def info(self) -> dict[str, Any] | None:
        """What :meth:`write_info` wrote, or None."""
        file = self.path / "run.json"
        if not self.received:
            return read_sealed(file, depth=4)
        found = read_stored(file, depth=4)
        info: dict[str, Any] | None = None if found is None else checked(file, checked_info, found[0])
        return info

    def require_sound(self) -> None:
        """Raise DamagedError if something here is not as it was written; what is not there is not missed.

        Files without a seal in a run that was made here are nobody's, and are left out.
        """
        self._require_plain(*_WRITTEN_IN_PLACE)
        read_stored(self.path / "run.json", depth=4)
        for kind in (PREDICTIONS, PROBE, DRAFT):
            for _ in self._shards(kind, strictly=True):
                pass
            if self.received:
                self.predictions(kind)

    def make_ready(self) -> None:
        """Take out links in the place of files that a run is about to write.

        Raises DamagedError where something else is in the way: what is no folder, or a folder in the place of a file.
        """
        for name in _WRITTEN_IN_PLACE:
            if (self.path / name).is_symlink():
                (self.path / name).unlink(missing_ok=True)
        self._require_plain(*_WRITTEN_IN_PLACE)

    def _require_plain(self, *files: str) -> None:
        """Raise DamagedError if a folder of this run, or above it in the results, is none; so for ``files`` in it."""
        kept = [self.path / STATISTICS / name for name in _names(self.path / STATISTICS)]
        own = [self.path / name for name in (PREDICTIONS, PROBE, DRAFT, STATISTICS, MEASUREMENTS)]
        for folder in (self.path.parent.parent, self.path.parent, self.path, *own, *kept):
            require_plain(folder, is_folder=True)
        for name in files:
            require_plain(self.path / name)

    def append(self, kind: str, form: type[Predictions], columns: Mapping[str, Column]) -> None:
        """Add rows as one shard; ``columns`` are those that ``form`` states."""
        import pyarrow as pa

        self._write_shard(kind, pa.table({name: _array(columns[name], arrow) for name, arrow in form.COLUMNS.items()}))

    def _write_shard(self, kind: str, table: Any) -> Path:
        import pyarrow.parquet as pq

        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        file = self.path / kind / f"{digest}.{self._seal(kind, digest)}.parquet"
        write(file, content)
        return file

    def _seal(self, kind: str, digest: str) -> str:
        return seal(f"{self._place}/{kind}", digest.encode())

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
        found = from_table(Family(info["family"]), {**info, **(settings or {}), **_kept(info)}, rows)
        if self.received:
            checked(self.path / kind, lambda one: checked_predictions(one, info), found)
        return found

    def _shards(self, kind: str, columns: list[str] | None = None, *, strictly: bool = False) -> Iterator[Any]:
        """The sound shards, one by one; ``strictly`` one that is not sound is an error, as it is of a received run."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        info = self.info() if self.received else None
        for file in self._files(kind):
            digest = file.stem.partition(".")[0]
            try:
                content = read_bytes(file, MOST_SHARD)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise DamagedError(damaged(file, "its bytes are not those that were written"))
            except StoreError as error:
                if not strictly and not self.received:
                    continue
                raise error if isinstance(error, DamagedError) else DamagedError(str(error)) from error
            if self.received:
                table = checked(file, lambda one: checked_table(one, info), content)
                yield table.select(columns) if columns else table
            else:
                # without threads: Arrow's pools can abort a process that ends right after it has read
                yield pq.read_table(pa.BufferReader(content), columns=columns, use_threads=False, pre_buffer=False)

    def _files(self, kind: str) -> list[Path]:
        """The shards of a kind, those that count: all of a received run, else those whose name is sealed here."""
        try:
            files = sorted((self.path / kind).glob("*.parquet"))
        except OSError as error:
            if not self.received:
                return []
            raise DamagedError(f"{self.path / kind} cannot be read: {error.strerror}. Check or delete it.") from error
        if self.received:
            return files
        parts = [(file, file.stem.partition(".")) for file in files]
        return [file for file, (digest, _, given) in parts if is_seal(given, f"{self._place}/{kind}", digest.encode())]

    def statistics(self, key: str) -> Iterator[tuple[list[bytes], NDArray[np.float64]]]:
        """What :meth:`add_statistics` wrote under a key, part by part; none that is damaged or was not made here."""
        for table in RunFolder(self.path)._shards(f"{STATISTICS}/{key}"):
            columns = [column.to_numpy() for column in table.columns[1:]]
            yield table.column(0).to_pylist(), np.stack(columns, axis=1)

    def add_statistics(self, key: str, texts: Sequence[bytes], statistics: NDArray[np.float64]) -> None:
        """Keep statistics [N, K] under a key, each for the ``texts`` [N] that they are of (a digest).

        They are not kept where nothing may be written.
        """
        import pyarrow as pa

        columns = {str(place): pa.array(column) for place, column in enumerate(statistics.T)}
        with contextlib.suppress(ReadOnlyError):
            self._write_shard(f"{STATISTICS}/{key}", pa.table({"texts": pa.array(texts, pa.binary()), **columns}))

    def drop(self, kind: str, examples: NDArray[np.int64]) -> None:
        """Take the rows of ``examples`` out; a kill in between leaves them all, or some of them."""
        import pyarrow as pa

        rows, before = self.rows(kind), self._files(kind)
        if rows is None or not np.isin(rows["example"].to_numpy(), examples).any():
            return
        kept = self._write_shard(kind, rows.filter(pa.array(~np.isin(rows["example"].to_numpy(), examples))))
        for file in before:
            if file != kept:
                file.unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """Let whoever runs this folder stop after what is under way: what is stored is enough."""
        write(self.path / _ENOUGH, b"")

    def is_asked_to_stop(self) -> bool:
        return (self.path / _ENOUGH).exists()

    def go_on(self) -> None:
        """Forget that somebody asked to stop."""
        (self.path / _ENOUGH).unlink(missing_ok=True)

    def tidy(self) -> None:
        """Remove the files that a killed run was about to write; nobody may be writing."""
        for file in self.path.rglob(f"{WRITING}*"):
            file.unlink(missing_ok=True)

    def measurement_file(self, identity: Mapping[str, Any]) -> Path:
        return self.path / MEASUREMENTS / f"{content_key(identity)}.json"

    def write_measurement(self, identity: Mapping[str, Any], measurement: Measurement) -> None:
        file, stored = self.measurement_file(identity), {"schema": 1, **asdict(measurement)}
        if self.received:
            write_json(file, stored)
        else:
            write_sealed(file, stored, depth=5)

    def measurement(self, identity: Mapping[str, Any], *, strictly: bool = False) -> Measurement | None:
        """A stored measurement, or None if there is none (or one that does not count, and will be made again).

        Raises DamagedError for one that cannot be read, ``strictly`` or of a received run.
        """
        return self.measurement_in(self.measurement_file(identity), strictly=strictly)

    def measurement_in(self, file: Path, *, strictly: bool = False) -> Measurement | None:
        """The measurement in a file of this folder, as :meth:`measurement` gives it."""
        try:
            found = read_stored(file, depth=5)
            measurement: Measurement | None = None if found is None else checked(file, read_measurement, found[0])
        except DamagedError:
            if strictly or self.received:
                raise
            return None
        if measurement is None or found is None:
            return None
        if self.received:
            checked(file, checked_measurement, measurement)
        return measurement if found[1] or self.received else None


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


def _names(folder: Path) -> list[str]:
    """The names in a folder; none where it is no folder, or a link to one."""
    try:
        return [] if folder.is_symlink() else [entry.name for entry in folder.iterdir()]
    except OSError:
        return []


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
