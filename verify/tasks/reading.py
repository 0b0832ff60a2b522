"""The tables of a task's data, read by `datasets`, which is let see nothing but what the task means.

Left alone, it looks for a data set's name among the folders here before it asks the Hub, follows whatever addresses a
README names, and unpacks whatever it is given.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verify.errors import DataError, NotComparableError, VerifyError
from verify.foundation.spelling import suggestion
from verify.hub.connection import bound_session
from verify.tasks.audio import storable_audio, undecoded
from verify.tasks.places import Bounds, folder_of_that_name, is_local
from verify.tasks.sizes import check_file, check_table
from verify.types import TaskSpec

BUILDERS = ("arrow", "audiofolder", "conll", "csv", "imagefolder", "json", "parquet", "text", "webdataset", "xml")
"""What reads files: those of `datasets` that run no code of the data and open no file but those that they are given."""

CONVERTED = "refs/convert/parquet"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CACHED = "cache"  # the builder of what was built before, where the Hub cannot be reached
_OF_MEDIA = ("audiofolder", "imagefolder")


def load_table(task: TaskSpec, split: str, revision: str | None, first: int | None) -> Any:
    """One split as a `datasets.Dataset`, with pictures and recordings as their bytes or paths.

    ``first`` streams only that many rows from the Hub. Raises DataError if the data set cannot be loaded, leads out of
    itself or is too large, and NotComparableError if it has no such split.
    """
    import datasets

    datasets.disable_progress_bars()
    bound_session()
    where = f"The data set {task.dataset.path}, split {split},"
    if not is_local(task):
        _require_name(task)
    bounds = Bounds(task, split)
    try:
        with storable_audio():
            builder = _builder(task, split, revision, bounds)
            if not is_local(task) and first is not None:
                table = _first_rows(builder, split, first, bounds)
            else:
                _check_files(builder)
                builder.download_and_prepare()
                table = undecoded(builder.as_dataset(split=split))
        _check_paths(task, table, bounds)
        columns = task.columns.values()
        check_table(table, [*columns, *(column.partition(".")[0] for column in columns)], where)
    except VerifyError:
        raise
    except Exception as error:
        raise _data_error(task, split, error) from error
    return table if first is None else table.select(range(min(first, len(table))))


def _builder(task: TaskSpec, split: str, revision: str | None, bounds: Bounds) -> Any:
    """What will read the data; files are found, and held against the bounds, but none is read yet."""
    import datasets

    source = task.dataset
    if source.data_files is not None:
        if source.path not in BUILDERS:
            raise DataError(
                f"{task.file}: dataset.path: {source.path!r} does not say how dataset.data_files are read. "
                f"{suggestion(source.path, BUILDERS)}"
            )
        file = _data_file(task, split, source.data_files)
        return datasets.load_dataset_builder(source.path, source.name, data_files={split: file})
    if is_local(task):
        bounds.require_cards()
        with _kept_within(bounds):
            builder = datasets.load_dataset_builder(source.path, source.name)
    else:
        # on the branch with the Hub's own conversion to parquet each config is a folder
        name, data_dir = (None, source.name) if source.revision == CONVERTED else (source.name, None)
        with _kept_within(bounds):
            builder = datasets.load_dataset_builder(
                f"hf://datasets/{source.path}", name, data_dir=data_dir, revision=revision or source.revision
            )
    form = type(builder).__module__.rpartition(".")[2]
    if form == _CACHED:
        _require_commit(task, builder, revision or source.revision)
    if form not in (*BUILDERS, _CACHED):
        raise DataError(
            f"The data set {source.path} holds files of the form {form}, which are not read here. Convert them to one "
            f"of {', '.join(BUILDERS)}."
        )
    return builder


def _require_commit(task: TaskSpec, builder: Any, revision: str | None) -> None:
    """Raise DataError if what was built before is of another commit, or of a folder here with the same name.

    Where the Hub cannot be reached, `datasets` takes what it built last under a name, whatever it was built from.
    """
    held = Path(builder.cache_dir).name
    wanted = revision if revision is not None and _COMMIT.fullmatch(revision) else None
    if not _COMMIT.fullmatch(held) or (wanted is not None and held != wanted):
        other = f"the commit {held[:12]}" if _COMMIT.fullmatch(held) else "a folder of that name"
        raise DataError(
            f"The data set {task.dataset.path} could not be reached on the Hub, and the local cache holds {other}"
            f"{f' where {wanted[:12]} is wanted' if wanted else ''}. Run again with a connection. "
            + folder_of_that_name(task)
        )


def _data_file(task: TaskSpec, split: str, files: Mapping[str, str]) -> str:
    if split not in files:
        raise NotComparableError(
            f"{task.file}: dataset.data_files names no split {split!r}. {suggestion(split, files)}"
        )
    if not Path(files[split]).is_file():
        raise DataError(
            f"The data set {task.dataset.path}, split {split}, could not be loaded: {task.file}: the data file "
            f"{files[split]} cannot be read: No such file."
        )
    return files[split]


def _require_name(task: TaskSpec) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    name = task.dataset.path
    if name in BUILDERS:
        raise DataError(
            f"{task.file}: dataset.path: {name!r} reads files, and dataset.data_files names none. Name them."
        )
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise DataError(
            f"{task.file}: dataset.path: {name!r} is no data set of the form ORG/NAME on the Hub. "
            + (folder_of_that_name(task) or "Check the spelling; a folder begins with ./ or /.")
        ) from error


@contextmanager
def _kept_within(bounds: Bounds) -> Iterator[None]:
    """Within it, every pattern of file names that `datasets` follows, and every file that it finds, is held inside.

    An error is raised on leaving, too: where the Hub's data set cannot be loaded, `datasets` takes whatever it built
    from it before.
    """
    from datasets import data_files

    original, refusals = data_files.resolve_pattern, list[DataError]()

    def resolve_pattern(pattern: str, base_path: str, *arguments: Any, **options: Any) -> list[str]:
        try:
            bounds.require_pattern(str(pattern), str(base_path))
            found: list[str] = original(pattern, base_path, *arguments, **options)
            for file in found:
                bounds.require(str(file), f"the pattern {str(pattern)!r}")
        except DataError as error:
            refusals.append(error)
            raise
        return found

    data_files.resolve_pattern = resolve_pattern
    try:
        yield
    finally:
        data_files.resolve_pattern = original
        if refusals:
            raise refusals[0]


def _check_files(builder: Any) -> None:
    """Hold the files of a data set that was not built before against the limits; those on the Hub come here first."""
    import datasets

    files = [str(file) for listed in (builder.config.data_files or {}).values() for file in listed]
    if not files or Path(builder.cache_dir).is_dir():
        return
    if type(builder).__module__.rpartition(".")[2] in _OF_MEDIA:
        files = [file for file in files if file.endswith((".zip", ".csv", ".jsonl", ".parquet"))]
    config = datasets.DownloadConfig(token=builder.token, storage_options=builder.storage_options or {})
    for file in datasets.DownloadManager(download_config=config, record_checksums=False).download(files):
        check_file(Path(file))


def _first_rows(builder: Any, split: str, first: int, bounds: Bounds) -> Any:
    import datasets

    rows = undecoded(builder.as_streaming_dataset(split=split))
    found = [{name: _with_bytes(value, bounds) for name, value in row.items()} for row in rows.take(first)]
    return datasets.Dataset.from_list(found, features=rows.features)


def _with_bytes(value: Any, bounds: Bounds) -> Any:
    """A picture or a recording on the Hub as its bytes: nothing of it is stored here."""
    if not isinstance(value, dict) or set(value) != {"bytes", "path"} or value["bytes"] is not None:
        return value
    path = value["path"]
    if not isinstance(path, str) or "://" not in path:
        return value
    from datasets.utils.file_utils import xopen

    bounds.require(path, "one of its rows")
    with xopen(path, "rb") as file:
        return {"bytes": file.read(), "path": None}


def _check_paths(task: TaskSpec, table: Any, bounds: Bounds) -> None:
    """Hold the files that a column of pictures or recordings names against the bounds, before any is opened."""
    for role in {"audio", "image"} & set(task.columns):
        name, *parts = (
            [task.columns[role]] if task.columns[role] in table.column_names else task.columns[role].split(".")
        )
        if name in table.column_names:
            for start, chunk in _with_starts(table.data.column(name).chunks):
                bounds.require_all(_paths(_part(chunk, parts), start), name)


def _with_starts(chunks: Any) -> Iterator[tuple[int, Any]]:
    start = 0
    for chunk in chunks:
        yield start, chunk
        start += len(chunk)


def _part(array: Any, parts: list[str]) -> Any:
    for part in parts:
        array = array.field(part)
    return array


def _paths(array: Any, start: int) -> Iterator[tuple[int, str]]:
    """Row and path of every cell of an Arrow array that names a file and does not hold it."""
    import pyarrow as pa

    held = None
    if pa.types.is_struct(array.type):
        names = [field.name for field in array.type]
        if "path" not in names:
            return
        held = array.field("bytes") if "bytes" in names else None
        array = array.field("path")
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        for row, path in enumerate(array):
            if path.is_valid and (held is None or not held[row].is_valid):
                yield start + row, path.as_py()


def _data_error(task: TaskSpec, split: str, error: Exception) -> VerifyError:
    where = f"The data set {task.dataset.path}" + (f" ({task.dataset.name})" if task.dataset.name else "")
    while type(error).__name__ == "DatasetGenerationError" and isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split())
    if "Unknown split" in text or "Bad split" in text:
        return NotComparableError(f"{where} has no split {split!r}: {text} Choose one with override.split=NAME.")
    if "scripts are no longer supported" in text:
        return DataError(
            f"{where} needs its author's loading script, which is refused. Point the task at a copy as files."
        )
    if "BuilderConfig" in text:
        return DataError(f"{where}: {text} Correct dataset.name in {task.file}.")
    return DataError(
        f"{where}, split {split}, could not be loaded: {type(error).__name__}: {text[:400]} "
        + (folder_of_that_name(task) or "Check the name, your connection, and HF_TOKEN if the data set is gated.")
    )
