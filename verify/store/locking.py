"""One run at a time works on a run folder, however many check or sweep at once.

A run locks its folder, and each worker process that it starts holds the folder, too: a run that is killed gives its
lock up at once, while its worker may still write for a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from verify.store.files import cannot_write
from verify.store.runs import RunFolder
from verify.types import Emit

WAITING = "waiting for another run of the same model and task"
"""The stage of a cell whose run folder another run works on, or its worker."""

_WORKERS = ".workers.lock"


@contextlib.contextmanager
def locked(folder: RunFolder, emit: Emit) -> Iterator[None]:
    """Hold a run folder alone; where another run has it, or the worker of one that was killed, say so and wait.

    ``emit`` receives what is said. Raises StoreError if the folder cannot be written.
    """
    lock = FileLock(folder.path / ".lock")
    try:
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                emit({"event": "stage", "stage": WAITING})
                lock.acquire()
            _wait_for_workers(folder.path, emit)
        except OSError as error:
            raise cannot_write(folder.path / ".lock", error) from error
        yield
    finally:
        lock.release()


def keep(folder: Path) -> None:
    """Hold a run folder as one of its workers, until this process ends: see :func:`locked`."""
    with contextlib.suppress(OSError):  # as on storage that knows no locks
        fcntl.flock(_opened(folder), fcntl.LOCK_SH)


def _wait_for_workers(folder: Path, emit: Emit) -> None:
    file = _opened(folder)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            emit({"event": "stage", "stage": WAITING})
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            return  # storage that knows no locks
    finally:
        os.close(file)


def _opened(folder: Path) -> int:
    return os.open(folder / _WORKERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
