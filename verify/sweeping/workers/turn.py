"""Whose turn it is on a GPU: the processes that share one prepare their models at once, and compute one at a time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from filelock import FileLock, Timeout

from verify.types import Emit

WAITING_FOR_DEVICE = "ready, waiting for its turn on the device"
"""The stage of a cell whose model another process of the same device keeps waiting."""


class Turn:
    """The right to compute on devices, each of which is a file that one process at a time has locked.

    A process that dies gives it up. Without files it is always one's turn.
    """

    def __init__(self, files: Iterable[Path] = ()) -> None:
        # in one order everywhere, so that no two processes wait for each other
        self._locks = [FileLock(file) for file in sorted(files)]

    def try_take(self) -> bool:
        """Whether it is this process's turn, now or already."""
        try:
            self._take(0)
        except Timeout:
            self.release()
            return False
        return True

    def take(self, emit: Emit) -> None:
        """Wait until it is this process's turn, and say so to ``emit`` if that is not yet."""
        if not self.try_take():
            emit({"event": "stage", "stage": WAITING_FOR_DEVICE})
            self._take(-1)

    def release(self) -> None:
        """Let the next one have its turn."""
        for lock in self._locks:
            lock.release()

    def _take(self, timeout: float) -> None:
        for lock in self._locks:
            if not lock.is_locked:
                lock.acquire(timeout=timeout)
