"""A request to end, as `kill`, a cluster or a closed terminal sends it, is met as Ctrl-C is: in good order."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

REQUESTS = (signal.SIGTERM, signal.SIGHUP)
_received: list[int] = []


@contextlib.contextmanager
def in_order() -> Iterator[None]:
    """Have a request to end raise KeyboardInterrupt meanwhile; one that is ignored (as `nohup` has it) stays so."""
    _received.clear()
    changed = {}
    if threading.current_thread() is threading.main_thread():
        for number in REQUESTS:
            if signal.getsignal(number) == signal.SIG_DFL:
                changed[number] = signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, before in changed.items():
            signal.signal(number, before)


def code_of_interruption() -> int:
    """The exit code of a run that was interrupted, as a shell gives it: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


def _interrupt(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    raise KeyboardInterrupt
