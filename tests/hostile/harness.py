"""A command on hostile input, as a user runs it: in a process of its own, timed, with all memory that it takes counted.

A payload proves that it ran by creating a file, whose name it finds in the environment variable ``VERIFY_PAYLOAD``.
Each is first shown to do so in a loader without protection, so that no test passes because its payload is broken.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

SECONDS, BYTES = 60.0, 4_000_000_000
"""What any hostile input may cost: time, and resident memory of the command with all that it has started."""

FIRES = "import os\nopen(os.environ['VERIFY_PAYLOAD'], 'w').close()\n"
"""Python code that creates the file of the payload."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended. ``peak`` is the most resident memory in bytes, ``seconds`` the time that it took."""

    code: int
    out: str
    err: str
    seconds: float
    peak: int

    @property
    def found(self) -> dict[str, Any]:
        """The object that ``--json`` printed."""
        loaded: dict[str, Any] = json.loads(self.out)
        return loaded

    @property
    def verdicts(self) -> list[tuple[str, str]]:
        """The kind and the reason of each verdict."""
        return [(one["kind"], one["reason"]) for one in self.found["verdicts"]]

    def require_bounds(self) -> Outcome:
        """The outcome itself, within the bounds of any hostile input, and said in words: no traceback."""
        assert "Traceback" not in self.out + self.err, self.err
        assert self.seconds < SECONDS, f"{self.seconds:.0f} s"
        assert self.peak < BYTES, f"{self.peak / 1e9:.1f} GB"
        return self


def verify(
    *words: str, cwd: Path, environment: Mapping[str, str] | None = None, payload: Path | None = None
) -> Outcome:
    """Run ``verify`` with ``words`` in the folder ``cwd``, as the installed command does; bounds are not asserted."""
    launcher = [sys.executable, "-P", "-c", "import sys; from verify.cli.main import main; sys.exit(main())"]
    return run([*launcher, *words], cwd=cwd, environment=environment, payload=payload)


def run(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None, payload: Path | None = None
) -> Outcome:
    """Run any command in ``cwd``; one that is still there after twice the time allowed is killed with its children."""
    own = {**(os.environ if environment is None else environment)}
    if payload is not None:
        own["VERIFY_PAYLOAD"] = str(payload)
    began = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=own, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    peak, over = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, over), daemon=True)
    watcher.start()
    try:
        out, err = process.communicate(timeout=2 * SECONDS)
    except subprocess.TimeoutExpired:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            one.kill()
        out, err = process.communicate()
    seconds = time.monotonic() - began
    over.set()
    watcher.join()
    texts = (text.decode("utf-8", errors="backslashreplace") for text in (out, err))
    return Outcome(process.returncode, *texts, seconds, peak[0])


def variants(first: Any, *others: Any) -> Callable[[Any], Any]:
    """Parametrise ``variant``: the first one of a kind runs always, the others with ``-m stress``."""
    named = [first, *(pytest.param(one, marks=pytest.mark.stress) for one in others)]
    return pytest.mark.parametrize("variant", named, ids=lambda one: getattr(one, "__name__", str(one)))


def _watch(pid: int, peak: list[int], over: threading.Event) -> None:
    while not over.wait(0.1):
        try:
            root = psutil.Process(pid)
            processes = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        total = 0
        for one in processes:
            try:
                total += one.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        peak[0] = max(peak[0], total)
