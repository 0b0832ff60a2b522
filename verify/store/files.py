"""Files of the results folder: written whole or not at all, sealed where that counts, and read with suspicion.

A results folder may come from anywhere, so a file in it may be a pipe, a link to a device, or as large as the disk.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from verify.errors import StoreError
from verify.foundation.plain import UnreadableError
from verify.store.seals import sealed, unsealed

_STRANGE = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
)

WRITING = ".writing-"
"""How the names of files begin that are about to be written."""

MOST_JSON, MOST_SHARD = 64_000_000, 2_000_000_000
"""The largest files, in bytes, that are read; what is written here is far smaller."""


class DamagedError(StoreError):
    """What is stored is not what this program writes, so that nothing of it can be told."""


class ReadOnlyError(StoreError):
    """The results folder may be read but not written."""


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file atomically. Raises StoreError if that is impossible."""
    write(file, _dumps(value))


def _dumps(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, default=_plain) + "\n"
    return text.encode(errors="backslashreplace")  # half of a surrogate pair becomes the JSON escape that it stands for


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} does not belong in a result file")


def place_of(path: Path, depth: int) -> str:
    """The last parts of a path, by which a seal knows where it stands; the folder above them may be moved."""
    return "/".join(Path(os.path.abspath(path)).parts[-depth:])  # noqa: PTH100 (links are not followed)


def write_sealed(file: Path, value: Mapping[str, Any], *, depth: int) -> None:
    """Write a JSON file with this user's seal, atomically; ``depth`` parts of its path are its place.

    Raises StoreError if that is impossible.
    """
    plain: dict[str, Any] = json.loads(_dumps(value))
    write(file, _dumps(sealed(plain, place_of(file, depth))))


def read_sealed(file: Path, *, depth: int) -> dict[str, Any] | None:
    """The object that :func:`write_sealed` wrote for this user, without its seal; None for anything else."""
    try:
        found = read_stored(file, depth=depth)
    except StoreError:
        return None
    return found[0] if found is not None and found[1] else None


def read_stored(file: Path, *, depth: int) -> tuple[dict[str, Any], bool] | None:
    """The object in a JSON file without its seal, and whether that is this user's; None if there is no file.

    Raises DamagedError for a file that cannot be read or holds anything but an object.
    """
    try:
        found = json.loads(read_bytes(file, MOST_JSON), parse_int=_whole)
        if isinstance(found, dict):
            return unsealed(found, place_of(file, depth))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise DamagedError(damaged(file, f"it cannot be read as JSON ({type(error).__name__})")) from error
    except DamagedError:
        raise
    except StoreError as error:
        raise DamagedError(str(error)) from error
    raise DamagedError(damaged(file, "it holds no JSON object"))


def _whole(digits: str) -> int:
    """A whole number that can also be a decimal one. Raises ValueError for a larger one, which nothing here has."""
    number = int(digits)
    try:
        float(number)
    except OverflowError as error:
        raise ValueError(f"{digits[:20]}… has {len(digits)} digits") from error
    return number


def read_bytes(file: Path, most: int) -> bytes:
    """The content of a plain file of ``most`` bytes, or fewer: no pipe is waited for, and no device read to its end.

    Raises:
        FileNotFoundError: if there is no such file.
        StoreError: if it is anything else, larger, or cannot be read.

    """
    try:
        with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"The result file {file} cannot be read: it is no file. Check or delete it.")
            if found.st_size > most:
                raise StoreError(
                    f"The result file {file} cannot be read: it has {found.st_size / 1e6:.0f} MB, and no result has "
                    f"more than {most / 1e6:.0f}. Check or delete it."
                )
            return stream.read(most + 1)
    except FileNotFoundError:
        raise
    except NotADirectoryError as error:
        raise FileNotFoundError(error.errno, error.strerror, str(file)) from error
    except OSError as error:
        raise StoreError(f"The result file {file} cannot be read: {error.strerror}. Check or delete it.") from error


def checked(file: Path, check: Callable[[Any], Any], found: Any) -> Any:
    """What a check makes of what a file holds. Raises DamagedError where it says that it is of another shape."""
    try:
        return check(found)
    except UnreadableError as error:
        raise DamagedError(damaged(file, str(error))) from error


def damaged(file: Path, problem: str) -> str:
    """What is said of a file that is not what this program writes."""
    return (
        f"{file} is damaged, or another program changed it: {problem}. Nothing is told of what is stored there. Run "
        "`verify check` on the model: what is damaged is measured again, and all else is kept."
    )


def write(file: Path, content: bytes) -> None:
    """Write a file atomically. Raises StoreError if that is impossible."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        require_plain(file.parent, is_folder=True)
        require_plain(file)
        temporary = file.parent / f"{WRITING}{secrets.token_hex(8)}"
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


def require_plain(place: Path, *, is_folder: bool = False) -> None:
    """Raise DamagedError if what lies at a place is no file (no folder), and not nothing: a link, a pipe, a device."""
    try:
        mode = place.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode):
        return
    is_what = next((said for is_one, said in _STRANGE if is_one(mode)), "something else")
    raise DamagedError(
        f"{place} is {is_what} where a {'folder' if is_folder else 'file'} of results belongs, so nothing is read or "
        "written there. Move it away, and run the same command again."
    )


def cannot_write(file: Path, error: OSError) -> StoreError:
    """What is said when a file of the results folder cannot be written."""
    kind = ReadOnlyError if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else StoreError
    return kind(
        f"The results folder cannot be written ({file.parent}: {error.strerror}). What was done before is kept. "
        "Free some space or choose another folder with results=FOLDER, then run the same command again."
    )
