"""Whether files are still those whose digests were taken.

A digest is taken before a model is loaded, and a file may be replaced in between, by a training run that goes on or a
synchronised folder. So the size, the time of the last change and the inode of each file are noted before its digest is
taken, and looked at again once everything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from verify.errors import EngineError

States = Mapping[str, tuple[int, ...]]
"""Absolute paths of files, each with its size in bytes, its time of modification in nanoseconds, and its inode."""


def states_of(folder: Path, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The states of files of a folder, by path; one that is gone is left out."""
    found = {}
    for name in names:
        path = (folder / name).absolute()
        if (state := _state(path)) is not None:
            found[str(path)] = state
    return found


def require_unchanged(states: States) -> None:
    """Raise EngineError if a file is not in the state that it was in."""
    for path, state in states.items():
        if _state(Path(path)) != tuple(state):
            raise EngineError(
                f"{path} changed while the model was being loaded, so nobody knows what was loaded. Nothing is stored. "
                "Leave the model's files alone while a command runs, and run it again."
            )


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns, found.st_ino)
