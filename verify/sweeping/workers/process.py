"""One worker process of this machine as the sweep sees it: started, given orders, listened to, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

from verify.engine.running.launch import LOG_TAIL_LINES
from verify.engine.running.worker import RECORD
from verify.processes.import_path import restrict
from verify.store.files import cannot_write

Hear = Callable[["WorkerProcess", Mapping[str, Any] | None], None]
"""Receives every report of a process, from a thread, and None once it has ended."""

_MODULE = "verify.sweeping.workers.worker"


class WorkerProcess:
    """A process that runs :mod:`verify.sweeping.workers.worker`; its imports overlap whatever comes next.

    It leads a process group of its own, which is ended as a whole, and ends by itself when this process does, however
    that comes about. ``turn`` are the files of :class:`verify.sweeping.workers.turn.Turn` for the
    devices that it shares with others.
    """

    def __init__(
        self, config: str, log: Path, environment: Mapping[str, str], hear: Hear, turn: Collection[Path]
    ) -> None:
        self._log, self._log_start = log, 0
        lifeline, end = os.pipe()
        self._lifeline: int | None = end
        own = dict(environment)
        restrict(own, ".")
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as stream:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "verify.processes.lifeline",
                        str(lifeline),
                        "verify.sweeping.workers.worker",
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    env=own,
                    pass_fds=(lifeline,),
                    start_new_session=True,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
        except OSError as error:
            os.close(end)
            raise cannot_write(log, error) from error
        finally:
            os.close(lifeline)
        self.order({"config": config, "turn": [str(file) for file in turn]})
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout, hear), daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def order(self, order: Mapping[str, Any]) -> None:
        """Send an order; a process that has just died is noticed by what it no longer says."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(json.dumps(order) + "\n")
                self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and whatever it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def end(self, until: float = 0.0) -> int:
        """Wait for its end until then (seconds of the monotonic clock), force it, and leave nothing; its exit code."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=max(until - time.monotonic(), 0.0))
        self.signal(signal.SIGKILL)
        code = self._process.wait()
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None
        self._listener.join(timeout=1.0)  # something that it started may hold the pipe
        streams = (self._process.stdin, *((self._process.stdout,) if not self._listener.is_alive() else ()))
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):
                stream.close() if stream else None
        with contextlib.suppress(OSError):
            self._log.unlink(missing_ok=True)
        return code

    def begin_words(self) -> None:
        """What is in the log so far is not about what comes next."""
        with contextlib.suppress(OSError):
            self._log_start = self._log.stat().st_size

    def last_words(self) -> str:
        """The last lines of the log since :meth:`begin_words`, on one line."""
        try:
            text = self._log.read_bytes()[self._log_start :].decode(errors="replace")
        except OSError:
            text = ""
        return " | ".join(text.strip().splitlines()[-LOG_TAIL_LINES:]) or "(none)"

    def _listen(self, stream: IO[str], hear: Hear) -> None:
        for line in stream:
            with contextlib.suppress(ValueError):  # cut off where the process was killed
                if line.startswith(RECORD):
                    hear(self, json.loads(line[1:]))
        hear(self, None)
