"""Starts of our commands and workers that cost milliseconds: forks of a process that has imported what they need.

A start of Python with torch and transformers takes seconds, and a run of the tests needs hundreds. So ``install``
replaces ``subprocess.Popen`` by :class:`Popen`, which does what it always does, but for ``python -m verify …`` and
``python -m verify.processes.lifeline …``: these are forked from a server that has made all imports and nothing else.
What comes of it is a process as any other. It is a child of the process that wanted it, has the standard streams, the
environment, the working folder, the session and the signal handling that it would have had, runs the same module as
``__main__``, and ends by itself with the same exit code. Commands, and torchrun, bring a server of their own along, for
the workers that they start.

Anything unusual is started for real: another interpreter, variables that Python reads on its way up, folders of others
on ``PYTHONPATH``, a function to be called before. So is everything where the start is what a test is about: see
:func:`for_real`, and ``VERIFY_REAL_STARTS=1`` in the environment of a whole run.

What the libraries read from the environment while they are imported (``HF_HOME`` …) has to be right before. There is a
first server without such libraries, and from the second start with the same variables on one that has them, too.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from helpers.forking import (
    BEFORE_LIBRARIES,
    BEFORE_PYTHON,
    HEADER,
    OURS,
    PR_SET_CHILD_SUBREAPER,
    ROOT,
    SERVER_NAME,
    module_of,
    prctl,
    read,
    send,
    variables,
)

SWITCH = "VERIFY_REAL_STARTS"

_RealPopen, _PYTHON = subprocess.Popen, sys.executable


def install() -> None:
    """Have this process start our commands and workers by forks, where the system and the environment let it."""
    if sys.platform == "linux" and not os.environ.get(SWITCH):
        subprocess.Popen = Popen  # type: ignore[misc]


@contextlib.contextmanager
def for_real(wanted: bool = True) -> Iterator[None]:
    """Start every process by a start of Python meanwhile."""
    before, servers.are_used = servers.are_used, not wanted
    try:
        yield
    finally:
        servers.are_used = before


def is_server(pid: int) -> bool:
    """Whether a process is one that forks others; false for one that is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == SERVER_NAME
    except OSError:
        return False


class Popen(_RealPopen):  # type: ignore[type-arg]
    """``subprocess.Popen`` whose children may be forks of a server."""

    def _execute_child(self, *given: Any) -> None:
        """The one step that differs; its arguments are those of the Python that runs, by their names there."""
        bound = dict(zip(_STEP, given, strict=True))
        if not servers.are_used or os.getpid() != servers.owner or not _is_usual(bound):
            super()._execute_child(*given)
            return
        streams = [bound["p2cread"], bound["c2pwrite"], bound["errwrite"]]
        request = {
            "words": list(map(os.fspath, bound["args"]))[1:],
            "folder": os.fspath(bound["cwd"] or Path.cwd()),
            "environment": dict(os.environ if bound["env"] is None else bound["env"]),
            "new_session": bool(bound["start_new_session"]),
            "group": os.getpgrp() if bound["process_group"] == -1 else bound["process_group"],
            "ignored": [int(one) for one in signal.valid_signals() if signal.getsignal(one) == signal.SIG_IGN],
            "passed": list(bound["pass_fds"]),
        }
        files = [one if one != -1 else number for number, one in enumerate(streams)]
        if (pid := servers.fork(request, [*files, *request["passed"]])) is None:
            super()._execute_child(*given)
            return
        self.pid, self._child_created = pid, True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(bound[name] for name in pipes))


_STEP = list(inspect.signature(_RealPopen._execute_child).parameters)[1:]


def _is_usual(bound: Mapping[str, Any]) -> bool:
    """Whether a start is one of those that a fork can stand for."""
    words = bound["args"]
    if isinstance(words, str | bytes | os.PathLike) or bound["shell"] or bound["preexec_fn"] is not None:
        return False
    if any(bound[name] is not None for name in ("gid", "gids", "uid")) or bound["umask"] >= 0:
        return False
    if not bound["close_fds"] or bound["executable"] not in (None, _PYTHON):
        return False
    words = list(map(os.fspath, words))
    if words[0] != _PYTHON or module_of(words[1:]) is None:
        return False
    environment = os.environ if bound["env"] is None else bound["env"]
    entries = {entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry}
    if not entries <= OURS or not (_is_installed() or str(ROOT) in entries):
        return False
    return Path(bound["cwd"] or ".").is_dir()


@cache
def _is_installed() -> bool:
    """Whether this checkout is installed, so that any Python of this environment finds it."""
    files = Path(sysconfig.get_paths()["purelib"]).glob("*.pth")
    return any(str(ROOT) in file.read_text(errors="replace").splitlines() for file in files)


class Server:
    """The near end of a server: a process that forks others on request."""

    def __init__(self, end: socket.socket, environment: Mapping[str, str], *, has_libraries: bool) -> None:
        self._end = end
        self._python = variables(environment, BEFORE_PYTHON)
        self._libraries = variables(environment, BEFORE_LIBRARIES) if has_libraries else None

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether what has been imported there is what a process in this environment would import."""
        if variables(environment, BEFORE_PYTHON) != self._python:
            return False
        return self._libraries is None or variables(environment, BEFORE_LIBRARIES) == self._libraries

    def ask(self, request: Mapping[str, Any], files: Sequence[int]) -> int | None:
        """The process that has been forked, now a child of this one; None if the server is gone."""
        with contextlib.suppress(OSError, EOFError, struct.error), _adopting():
            send(self._end, request, files)
            return int(HEADER.unpack(read(self._end, HEADER.size))[0]) or None
        return None

    def close(self) -> None:
        self._end.close()


class _Servers:
    """The servers of this process; started when they are first needed."""

    def __init__(self) -> None:
        self.are_used, self.owner = True, os.getpid()
        self.given: Server | None = None
        """The one that a fork brings along; it starts no others."""
        self._first: tuple[Server, Mapping[str, str]] | None = None
        self._more: dict[frozenset[tuple[str, str]], Server | None] = {}
        self._lock = threading.Lock()

    def fork(self, request: Mapping[str, Any], files: Sequence[int]) -> int | None:
        environment = request["environment"]
        with self._lock:
            server = self.given or self._chosen(environment)
            return server.ask(request, files) if server is not None and server.fits(environment) else None

    def _chosen(self, environment: Mapping[str, str]) -> Server | None:
        if self._first is None:
            self._first = self._start(), dict(os.environ)
        first, _ = self._first
        if not first.fits(environment):
            return None
        key = variables(environment, BEFORE_LIBRARIES)
        if key not in self._more:
            self._more[key] = None  # a second start with these variables makes it worth while
            return first
        if (server := self._more[key]) is None:
            while len(started := [one for one, server in self._more.items() if server is not None]) >= _MOST_SERVERS:
                unused = self._more.pop(started[0])
                assert unused is not None
                unused.close()
            near, far = socket.socketpair()
            with far:
                process = first.ask({"serve": True, "environment": dict(environment)}, [far.fileno()])
            server = self._more[key] = Server(near, environment, has_libraries=True) if process else None
        return server

    @staticmethod
    def _start() -> Server:
        near, far = socket.socketpair()
        path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("PYTHONUNBUFFERED", None)
        pipe = os.pipe()  # streams that are opened on a file or a terminal behave in another way than on a pipe
        errors = os.dup(2)
        with far:
            _RealPopen(
                [_PYTHON, "-P", "-c", _SERVE, str(far.fileno()), str(errors)],
                pass_fds=(far.fileno(), errors),
                env=environment,
                cwd="/",
                stdin=pipe[0],
                stdout=pipe[1],
                stderr=pipe[1],
            )
        for file in (*pipe, errors):
            os.close(file)
        return Server(near, os.environ, has_libraries=False)


_SERVE = "from helpers.fork_server import main; main()"
_MOST_SERVERS = 3
servers = _Servers()


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Have processes below this one, whose parents end, become children of this one."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0)
