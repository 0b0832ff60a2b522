"""Pools of processes that never run the caller's script a second time."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import ModuleType

_lock = threading.Lock()


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module from :mod:`multiprocessing` while it starts processes by ``spawn``.

    Each of them would import that module, which in a script without ``if __name__ == "__main__"`` begins everything
    once more, and in a notebook may not exist as a file. What is handed to such processes must not be defined there.
    """
    with _lock:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main
