"""Where a task's data lie, and what the names in them may reach.

A name of the form ORG/NAME is a data set on the Hub, whatever folders there are. Files are named as files: by an
absolute folder (a task file's ``./x`` has become one) or by ``data_files``. These are the user's own words and may lie
anywhere; names that stand *in* the data, such as ``data_files`` of a README or the path of a picture, must not lead
out of them, not least because only what is inside is part of their digest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from verify.errors import DataError
from verify.types import TaskSpec

_OTHER_FILES = (".json", ".jsonl", ".log", ".parquet", ".yaml", ".yml")
_CARDS = ("README.md", ".huggingface.yaml", "dataset_infos.json")
_HUB = "hf://datasets/"


def is_local(task: TaskSpec) -> bool:
    """Whether a task's data are files or a folder here, and not a data set on the Hub."""
    return task.dataset.data_files is not None or Path(task.dataset.path).is_absolute()


def data_folder(task: TaskSpec, split: str) -> Path | None:
    """The folder from which the paths in a column are taken: that of the data file, or the data set's own.

    None for a data set on the Hub, whose recordings and pictures travel inside its files.
    """
    if task.dataset.data_files is not None:
        return Path(task.dataset.data_files[split]).parent if split in task.dataset.data_files else None
    return Path(task.dataset.path) if is_local(task) else None


def folder_of_that_name(task: TaskSpec) -> str:
    """A sentence on a folder with the name of a task's data set, which may have been meant; empty if there is none."""
    name = task.dataset.path
    if is_local(task):
        return ""
    for folder in (Path(task.file).parent, Path()):
        if (folder / name).is_dir():
            return (
                f"There is a folder {folder / name}: if it is meant, put ./ before dataset.path in {task.file}, which "
                "otherwise names a data set on the Hub (relative folders are taken from the task file)."
            )
    return ""


def source_digest(task: TaskSpec) -> str | None:
    """Sixteen hex digits over the local files of a data set, their bytes and what they are called inside it.

    None for a data set on the Hub. A split or a class may be told by a folder's name alone, so names count.
    """
    if not is_local(task):
        return None
    source = task.dataset
    if source.data_files is not None:
        files = {split: Path(file) for split, file in source.data_files.items()}
    else:
        folder = Path(source.path)
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        try:
            with file.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{task.file}: the data file {file} cannot be read: {error.strerror}.") from error
        digest.update(f"{name}\0{content}\0".encode(errors="surrogateescape"))
    if source.data_files is not None and {"audio", "image"} & set(task.columns):
        digest.update(_media(task))
    return digest.hexdigest()[:16]


def media_beside(task: TaskSpec) -> list[Path]:
    """The files beside a task's tables, which may name recordings or pictures by path; none for other kinds of data.

    Results and task files may lie there, too, and change by themselves: files of their kinds are left out, as the
    tables are.
    """
    tables = {Path(file) for file in (task.dataset.data_files or {}).values()}
    if not {"audio", "image"} & set(task.columns):
        return []
    folders = {table.parent for table in tables}
    beside = {path for folder in folders for path in folder.rglob("[!.]*") if path.suffix not in _OTHER_FILES}
    return sorted(path for path in beside - tables if path.is_file())


def _media(task: TaskSpec) -> bytes:
    """Names, sizes and times of what lies beside the tables; names inside their folders, which may be moved."""
    tables = [Path(file).parent for file in (task.dataset.data_files or {}).values()]
    listed = []
    for file in media_beside(task):
        name = next(file.relative_to(folder) for folder in tables if file.is_relative_to(folder)).as_posix()
        listed.append(f"{name}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}")
    return "\0".join(listed).encode(errors="surrogateescape")


class Bounds:
    """What the names in one data set may reach: a folder here, or one repository on the Hub at one commit."""

    def __init__(self, task: TaskSpec, split: str) -> None:
        self._name = task.dataset.path
        self._folder = data_folder(task, split)
        self._roots = _hub_folders(self._name) if self._folder is None else [self._folder.absolute()]
        self._real = [*map(_real, self._roots), *(blobs for root in self._roots for blobs in _blobs(root))]

    def require_pattern(self, pattern: str, base: str) -> None:
        """Raise DataError unless a pattern of file names, taken from ``base``, stays inside."""
        is_whole = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", pattern) is not None or pattern.startswith("/")
        if "::" in pattern or not self.holds(pattern if is_whole else f"{base.rstrip('/')}/{pattern}"):
            raise self._error(f"names {pattern!r} as its data, which lies outside")

    def require(self, path: str, place: str) -> None:
        """Raise DataError, which names ``place``, unless the file ``path`` lies inside."""
        if not self.holds(path):
            raise self._error(f"names the file {path!r} in {place}, which lies outside")

    def require_all(self, paths: Iterable[tuple[int, str]], column: str) -> None:
        """Raise DataError unless all files named in a column, (row, path), lie inside; folders are followed once."""
        inside = dict[str, bool]()
        for row, path in paths:
            whole = _joined(self._folder, path)
            parent, is_plain = str(whole.parent), "::" not in path and "://" not in path and "\0" not in path
            if is_plain and parent not in inside:
                inside[parent] = self.holds(parent)
            if not (is_plain and inside[parent] and not whole.is_symlink()):
                self.require(path, f"{column!r}, row {row}")

    def require_cards(self) -> None:
        """Raise DataError if the folder's own description is a link that leads out of it."""
        for name in _CARDS if self._folder is not None else ():
            if not self.holds(name):
                raise self._error(f"has a link {name}, which leads outside")

    def holds(self, path: str) -> bool:
        """Whether a file's name stays inside, with all links followed; relative ones are taken from the folder."""
        if "\0" in path:
            return False
        inner, chained, outer = path.partition("::")
        if chained:
            member = inner.removeprefix("zip://")
            return member != inner and ".." not in member.split("/") and "://" not in outer and self.holds(outer)
        if "://" in path:
            pinned = rf"{re.escape(_HUB + self._name)}@[^/]+(/(?!\.\.(/|$))[^/]*)*"
            return self._folder is None and re.fullmatch(pinned, path) is not None
        whole = _joined(self._folder, path)
        is_named_inside = any(whole.is_relative_to(root) for root in (*self._roots, *self._real))
        return is_named_inside and any(_real(whole).is_relative_to(root) for root in self._real)

    def _error(self, problem: str) -> DataError:
        where = "of its repository" if self._folder is None else f"of the folder {self._folder}"
        return DataError(
            f"The data set {self._name} {problem} {where}. Nothing was read from there: put a copy of what is meant "
            "inside, and name it relative to the rest."
        )


def _hub_folders(name: str) -> list[Path]:
    """Where what is downloaded of one data set lies in the local caches."""
    from datasets import config
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    repository = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    return [Path(folder).absolute() for folder in (repository, config.DOWNLOADED_DATASETS_PATH)]


def _blobs(root: Path) -> Iterator[Path]:
    """Where the links of a snapshot in the Hub's local cache lead: its repository's blobs, or those of all."""
    for folder in (root, *root.parents):
        if folder.name.startswith("datasets--"):
            yield from (_real(folder / "blobs"), _real(folder.parent / "blobs"))


def _joined(folder: Path | None, path: str) -> Path:
    """A path taken from a folder, its ``..`` resolved by name alone, as whoever wrote them saw them."""
    return Path(os.path.normpath((folder or Path("/")).absolute() / path))


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def stored_file(path: str, folder: Path | None) -> Path | bytes | None:
    """What a path in a column names: a file, relative to ``folder``; the content of a ZIP's member; or nothing."""
    inner, chained, outer = path.partition("::")
    file = Path(outer if chained else path) if folder is None else folder / (outer if chained else path)
    if not chained or not file.is_file():
        return file if file.is_file() else None
    with zipfile.ZipFile(file) as archive, contextlib.suppress(KeyError):
        return archive.read(inner.removeprefix("zip://"))
    return None
