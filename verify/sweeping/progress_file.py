"""How a unit that runs on another machine reports: it appends its events to a file that the sweep reads.

The file lies in the results folder, which all machines share, so that nothing but storage is needed for it. One JSON
object a line; only the unit writes, only the sweep reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.store.files import cannot_write

BETWEEN_ROWS = 1.0
"""Seconds between two events that only count rows: a fast model would write thousands of them."""

PATIENCE = 20.0
"""Seconds after which a file that another machine has made is held to be missing: storage over a network lags."""


def create(file: Path) -> None:
    """Make the empty file of a unit, before the unit is sent. Raises StoreError if that is impossible."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    except OSError as error:
        raise cannot_write(file, error) from error


def is_there(file: Path, patience: float = PATIENCE) -> bool:
    """Whether a file that another machine has made can be seen here, now or within ``patience`` seconds."""
    until = time.monotonic() + patience
    while not file.exists():
        if time.monotonic() >= until:
            return False
        time.sleep(0.2)
    return True


class Writer:
    """Appends the events of one unit to its file, from whatever thread."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last_rows = 0.0
        self._lock = threading.Lock()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Append an event; a report that cannot be written is not worth losing the unit."""
        if event["event"] == "rows" and event["done"] < event["total"]:
            now = time.monotonic()
            if now - self._last_rows < BETWEEN_ROWS:
                return
            self._last_rows = now
        with self._lock, contextlib.suppress(OSError), open(self._file, "a", encoding="utf-8", opener=_there) as stream:
            stream.write(json.dumps(event) + "\n")


def _there(file: str, flags: int) -> int:
    """Open a file only if it is there: the sweep may have ended and removed it."""
    return os.open(file, flags & ~os.O_CREAT)


class Reader:
    """Reads what was appended to a unit's file since it was last read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0

    def events(self) -> list[dict[str, Any]]:
        """The new events, in order. A line that is still being written is left for the next time."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._position)
                whole, end, _ = stream.read().rpartition(b"\n")
        except OSError:
            return []
        self._position += len(whole) + len(end)
        found = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):  # two writers: a machine that was held to be lost came back
                event = json.loads(line)
                if isinstance(event, dict):
                    found.append(event)
        return found

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
