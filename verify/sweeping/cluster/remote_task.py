"""What runs on another machine: one unit, in the sweep's working folder, with its reports in the shared results."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify import __version__
from verify.configuration.schema import VerifyConfig
from verify.configuration.values import bytes_of
from verify.engine.running.memory import share_of_machine, watch_me
from verify.errors import EngineError
from verify.processes.import_path import protect
from verify.sweeping.progress_file import Writer, is_there
from verify.sweeping.units import Finished, Unit
from verify.sweeping.workers.life import Life
from verify.sweeping.workers.work import failed, finish, opened_unit
from verify.tasks.registry import Registry

BEGUN = "begun"
"""The first event of a unit: the ``host`` and the ``process`` that it runs in."""


@dataclass(frozen=True)
class Place:
    """What a machine must share with the one that sweeps: a file in the results folder, and the version of verify.

    ``folder`` is the working folder of the sweep, against which relative paths are read.
    """

    folder: str
    file: str
    version: str = __version__


@dataclass(frozen=True)
class RemoteTask:
    """A unit on its way to another machine; calling it there returns what became of it.

    ``log`` is the file for what is written meanwhile, None where the cluster keeps it.
    """

    unit: Unit
    config: VerifyConfig
    registry: Registry
    place: Place
    log: str | None = None

    def __call__(self) -> Finished:
        if problem := problem_here(self.place):
            return failed(self.unit, self.unit.reference, EngineError(problem), 0.0)
        with logged(Path(self.log)) if self.log else contextlib.nullcontext():
            return self._run()

    def _run(self) -> Finished:
        from verify.sweeping.workers.here import run_here

        emit = Writer(Path(self.place.file)).emit
        emit({"event": BEGUN, "host": socket.gethostname(), "process": os.getpid()})
        memory = bytes_of(self.config.engine.memory or "") or share_of_machine(1)
        watcher = watch_me(memory)
        life = Life(emit)
        try:
            life.opening()
            opened = opened_unit(self.unit, self.config, self.registry)
            return finish(self.unit, opened, self.config, life.watching(emit), run_here)
        finally:
            life.end()
            watcher.kill()
            watcher.wait()


def problem_here(place: Place) -> str | None:
    """Why this machine cannot take part in a sweep, in one paragraph; None if it can.

    From here on the working folder is that of the sweep, if there is such a folder on this machine.
    """
    with contextlib.suppress(OSError):
        os.chdir(place.folder)
    protect()
    host = socket.gethostname()
    if place.version != __version__:
        return (
            f"The machine {host} has verify {__version__}, and the sweep was started with {place.version}. Install the "
            "same version on every machine, and run the same command again."
        )
    if not is_there(Path(place.file)):
        return (
            f"The machine {host} does not see the results folder of the sweep: {place.file} is missing there (from "
            f"the working folder {place.folder}). Put results=FOLDER on storage that every machine mounts at the same "
            "path, and run the same command again."
        )
    return None


@contextlib.contextmanager
def logged(file: Path) -> Iterator[None]:
    """Send whatever this process writes to its standard output and error, also below Python, to the end of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    kept = [os.dup(number) for number in (1, 2)]
    try:
        with file.open("ab") as log:
            for number in (1, 2):
                os.dup2(log.fileno(), number)
        yield
    finally:
        _flush()
        for number, saved in zip((1, 2), kept, strict=True):
            os.dup2(saved, number)
            os.close(saved)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def tail(*files: Path) -> str:
    """The last lines of some logs, on one line."""
    from verify.engine.running.launch import LOG_TAIL_LINES

    lines: list[str] = []
    for file in files:
        with contextlib.suppress(OSError):
            lines += file.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " | ".join(lines[-LOG_TAIL_LINES:]) or "(none)"


def worker_of(event: dict[str, Any]) -> str:
    """How reports name the worker that says :data:`BEGUN`: ``host:process``."""
    return f"{event['host']}:{event['process']}"
