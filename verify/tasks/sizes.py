"""What data come to once they are unpacked, found out before that is done, and without holding them in memory."""

from __future__ import annotations

import bz2
import gzip
import importlib
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from verify.errors import DataError
from verify.tasks.limits import DOCUMENT_BYTES, LINE_BYTES, ROWS, TEXT_BYTES, UNPACKED_FLOOR, UNPACKED_RATIO

_PIECE = 2**20  # bytes that are read at once
_TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json", ".xml", ".conll", ".conllu")
_LATEST_MAGIC = 8

_Open = Callable[[Any], IO[bytes]]


def check_file(file: Path) -> None:
    """Raise DataError if a data file is far larger than honest ones, as such or once it is unpacked.

    Whether it is compressed is told by its first bytes, as `datasets` tells it. A file that cannot be read is left to
    those who will read it.
    """
    try:
        with file.open("rb") as stream:
            start = stream.read(_LATEST_MAGIC)
        if start.startswith(b"PAR1"):
            _check_parquet(file)
        elif start.startswith(b"PK\x03\x04"):
            _check_archive(file)
        elif (opened := _unpacker(start)) is not None:
            with opened(file) as stream:
                _check_stream(stream, file.with_suffix("").name, str(file), file.stat().st_size)
        elif file.suffix.lower() in _TABLES:
            with file.open("rb") as stream:
                _check_stream(stream, file.name, str(file), None)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError):
        return


def check_table(table: Any, columns: Iterable[str], where: str) -> None:
    """Raise DataError if a `datasets.Dataset` has more rows, or in ``columns`` a longer text, than honest data have."""
    if len(table) > ROWS:
        raise DataError(
            f"{where} has {len(table):,} rows, and at most {ROWS:,} are read. Point the task at a smaller split."
        )
    for name in dict.fromkeys(columns):
        if name in table.column_names:
            start = 0
            for chunk in table.data.column(name).chunks:
                for row in _too_long(chunk):
                    raise DataError(
                        f"{where} holds a text of more than {TEXT_BYTES / 1e6:g} MB in the column {name!r}, row "
                        f"{start + row}. Split it into several rows, or leave it out of the data."
                    )
                start += len(chunk)


def _too_long(array: Any) -> Iterator[int]:
    """The rows whose text, or whose texts together, are too long."""
    for row in np.flatnonzero(_text_bytes(array) > TEXT_BYTES):
        yield int(row)


def _text_bytes(array: Any, *, with_binary: bool = False) -> Any:
    """The bytes of all texts of each row [n] of an Arrow array, whatever it nests, and of all other bytes if asked."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    counts = partial(_text_bytes, with_binary=with_binary)
    is_binary = with_binary and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
    if is_binary or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.fill_null(pc.binary_length(array), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_dictionary(kind):
        lengths = counts(array.dictionary)
        indices = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False)
        return np.append(lengths, 0)[indices] if len(array) else np.zeros(0, dtype=np.int64)
    if pa.types.is_struct(kind):
        parts = [counts(array.field(i)) for i in range(kind.num_fields)]
        return np.sum(parts, axis=0, dtype=np.int64) if parts else np.zeros(len(array), dtype=np.int64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        offsets = array.offsets.to_numpy().astype(np.int64)
        summed = np.concatenate([[0], np.cumsum(counts(array.values), dtype=np.int64)])
        return summed[offsets[1:]] - summed[offsets[:-1]]
    return np.zeros(len(array), dtype=np.int64)


def _unpacker(start: bytes) -> _Open | None:
    """What opens a file that begins so, or None if it is not compressed, or not in a way that can be unpacked here."""
    if start.startswith(b"\x1f\x8b"):
        return lambda file: cast("IO[bytes]", gzip.open(file, "rb"))
    if start.startswith(b"BZh"):
        return lambda file: bz2.open(file, "rb")
    if start.startswith(b"\xfd7zXZ\x00"):
        return lambda file: lzma.open(file, "rb")
    by_arrow = {b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}.get(start[:4])
    return None if by_arrow is None else lambda file: _opened_by_arrow(file, by_arrow)


def _opened_by_arrow(file: Any, compression: str) -> IO[bytes]:
    pyarrow: Any = importlib.import_module("pyarrow")
    source = str(file) if isinstance(file, Path) else file
    stream: IO[bytes] = pyarrow.input_stream(source, compression=compression)
    return stream


def _check_archive(file: Path) -> None:
    """Hold the sizes that a ZIP states, which unpacking never exceeds, against its own, and look into its members."""
    packed = file.stat().st_size
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_ratio(sum(member.file_size for member in members), packed, str(file))
        for member in members:
            where = f"{file}, {member.filename}"
            with archive.open(member) as stream:
                start = stream.read(_LATEST_MAGIC)
            if (opened := _unpacker(start)) is not None:
                with archive.open(member) as inner, opened(inner) as stream:
                    _check_stream(stream, Path(member.filename).with_suffix("").name, where, member.file_size)
            elif Path(member.filename).suffix.lower() in _TABLES:
                with archive.open(member) as stream:
                    _check_stream(stream, member.filename, where, None)


def _check_stream(stream: IO[bytes], name: str, where: str, packed: int | None) -> None:
    """Read a file to its end, and stop where a line, a document or the whole outgrows its limit."""
    is_table = Path(name).suffix.lower() in _TABLES
    is_document = None if name.lower().endswith(".json") else False
    total = line = 0
    while piece := stream.read(_PIECE):
        total += len(piece)
        if packed is not None:
            _check_ratio(total, packed, where)
        if not is_table:
            continue
        if is_document is None:
            is_document = piece.lstrip()[:1] == b"[" or b"\n" not in piece or piece.lstrip()[:2] in (b"{\n", b"{\r")
        first, last = piece.find(b"\n"), piece.rfind(b"\n")
        line = len(piece) - last - 1 if first >= 0 else line + len(piece)
        limit, unit = (DOCUMENT_BYTES, "single document") if is_document else (LINE_BYTES, "single line")
        if (total if is_document else line) > limit:
            raise DataError(
                f"The data file {where} is, or holds, a {unit} of more than {limit >> 20} MiB, which can only be read "
                "whole. Store it as one row to a line, or as Parquet, and leave out what is that large."
            )


def _check_ratio(total: int, packed: int, where: str) -> None:
    if total > UNPACKED_FLOOR and total > UNPACKED_RATIO * packed:
        raise DataError(
            f"The data file {where} unpacks from {packed:,} bytes to {total:,} or more, over {UNPACKED_RATIO} times as "
            "much. Unpack it yourself if that is right, and name the unpacked file."
        )


def _check_parquet(file: Path) -> None:
    """Hold the rows that a footer states against the limit, and texts that are stored once against all their uses."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        stored = pq.ParquetFile(file)
        rows = stored.metadata.num_rows
    except pa.ArrowException:
        return
    if rows > ROWS:
        raise DataError(
            f"The data file {file} has {rows:,} rows, and at most {ROWS:,} are read. Point the task at a smaller file."
        )
    for number in range(stored.metadata.num_columns):
        chunks = [stored.metadata.row_group(i).column(number) for i in range(stored.num_row_groups)]
        most = sum(chunk.num_values * chunk.total_uncompressed_size for chunk in chunks)
        is_shared = any("DICTIONARY" in encoding for chunk in chunks for encoding in chunk.encodings)
        if is_shared and most > UNPACKED_FLOOR and chunks[0].physical_type == "BYTE_ARRAY":
            _check_repeated(file, chunks[0].path_in_schema)
        elif sum(chunk.total_uncompressed_size for chunk in chunks) > UNPACKED_FLOOR:
            _check_ratio(
                sum(chunk.total_uncompressed_size for chunk in chunks),
                sum(chunk.total_compressed_size for chunk in chunks),
                f"{file}, column {chunks[0].path_in_schema}",
            )


def _check_repeated(file: Path, column: str) -> None:
    """Count what the texts of a column come to when each use of them is written out, without doing so."""
    import pyarrow.parquet as pq

    total, packed = 0, file.stat().st_size
    batches = pq.ParquetFile(file, read_dictionary=[column]).iter_batches(columns=[column], batch_size=65_536)
    for batch in batches:
        total += int(_text_bytes(batch.column(0), with_binary=True).sum())
        _check_ratio(total, packed, f"{file}, column {column}")
