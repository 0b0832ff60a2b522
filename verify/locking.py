"""One process at a time works on a run folder, however many check or sweep at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from verify.engine.job import Emit
from verify.files import cannot_write
from verify.store import RunFolder

WAITING = "waiting for another run of the same model and task"
"""The stage of a cell whose run folder another process works on."""


@contextlib.contextmanager
def locked(folder: RunFolder, emit: Emit) -> Iterator[None]:
    """Hold a run folder alone; where another process has it, say so to ``emit`` and wait.

    Raises StoreError if the folder cannot be written.
    """
    lock = FileLock(folder.path / ".lock")
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            emit({"event": "stage", "stage": WAITING})
            lock.acquire()
    except OSError as error:
        raise cannot_write(folder.path / ".lock", error) from error
    try:
        yield
    finally:
        lock.release()
