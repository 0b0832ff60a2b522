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

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import inspect
import json
import os
import runpy
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = {str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")}
SWITCH = "VERIFY_REAL_STARTS"

COMMAND, LIFELINE, LAUNCHER = "verify", "verify.processes.lifeline", "torch.distributed.run"
SERVER_NAME = "fork-server"
"""The name of a server among processes, by which tests leave it out of what a command has started."""

_INDEPENDENT = (
    "numpy", "pandas", "pyarrow.parquet", "pyarrow.dataset", "scipy.stats", "scipy.optimize", "sklearn.metrics",
    "torch", "rich.console", "rich.table", "rich.progress", "hydra", "omegaconf", "PIL.Image", "markdown_it",
    "multiprocessing.pool", "concurrent.futures",
)  # fmt: skip
_DEPENDENT = (
    "huggingface_hub", "huggingface_hub.hf_api", "transformers", "datasets", "evaluate", "accelerate",
    "transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto",
    "transformers.models.bert.modeling_bert", "transformers.models.vit.modeling_vit",
    "transformers.generation", "transformers.trainer_utils",
    "verify.cli.main", "verify.cli.check", "verify.cli.sweep", "verify.cli.explain", "verify.cli.judge",
    "verify.cli.claims", "verify.cli.tasks", "verify.engine.running.run", "verify.metrics.registry",
    "verify.sweeping.workers.worker",
)  # fmt: skip
_RUN_AS_MAIN = (LIFELINE, "verify.__main__", "verify.engine.running.worker", "verify.sweeping.workers.worker")
"""Modules that a process runs as ``__main__``, and that must not look as if they had been imported before."""

_BEFORE_PYTHON = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
_BEFORE_LIBRARIES = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_", "XDG_", "HOME", "NLTK_")
_NO_MATTER = (
    *("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),  # these are set in each fork
    *("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"),  # these change no result
)
_PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36

_RealPopen, _PYTHON = subprocess.Popen, sys.executable
_HEADER = struct.Struct("!I")


def install() -> None:
    """Have this process start our commands and workers by forks, where the system and the environment let it."""
    if sys.platform == "linux" and not os.environ.get(SWITCH):
        subprocess.Popen = Popen  # type: ignore[misc]


@contextlib.contextmanager
def for_real(wanted: bool = True) -> Iterator[None]:
    """Start every process by a start of Python meanwhile."""
    before, _servers.are_used = _servers.are_used, not wanted
    try:
        yield
    finally:
        _servers.are_used = before


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
        if not _servers.are_used or os.getpid() != _servers.owner or not _is_usual(bound):
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
        if (pid := _servers.fork(request, [*files, *request["passed"]])) is None:
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
    if words[0] != _PYTHON or _module(words[1:]) is None:
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


def _module(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module of ours that ``python WORDS`` runs and the arguments of it; None for anything else."""
    rest = list(words)
    while rest and rest[0] in ("-P", "-u"):
        del rest[0]
    if len(rest) < 2 or rest[0] != "-m":
        return None
    module, arguments = rest[1], rest[2:]
    if module == COMMAND or (
        module == LIFELINE and len(arguments) > 1 and arguments[1].startswith(("verify.", LAUNCHER))
    ):
        return module, arguments
    return None


def _starts_others(module: str, arguments: Sequence[str]) -> bool:
    return module == COMMAND or arguments[1] == LAUNCHER


def _variables(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, value) for name, value in environment.items() if name.startswith(prefixes) and name not in _NO_MATTER
    )


class _Server:
    """The near end of a server: a process that forks others on request."""

    def __init__(self, end: socket.socket, environment: Mapping[str, str], *, has_libraries: bool) -> None:
        self._end = end
        self._python = _variables(environment, _BEFORE_PYTHON)
        self._libraries = _variables(environment, _BEFORE_LIBRARIES) if has_libraries else None

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Whether what has been imported there is what a process in this environment would import."""
        if _variables(environment, _BEFORE_PYTHON) != self._python:
            return False
        return self._libraries is None or _variables(environment, _BEFORE_LIBRARIES) == self._libraries

    def ask(self, request: Mapping[str, Any], files: Sequence[int]) -> int | None:
        """The process that has been forked, now a child of this one; None if the server is gone."""
        with contextlib.suppress(OSError, EOFError, struct.error), _adopting():
            _send(self._end, request, files)
            return int(_HEADER.unpack(_read(self._end, _HEADER.size))[0]) or None
        return None

    def close(self) -> None:
        self._end.close()


class _Servers:
    """The servers of this process; started when they are first needed."""

    def __init__(self) -> None:
        self.are_used, self.owner = True, os.getpid()
        self.given: _Server | None = None
        """The one that a fork brings along; it starts no others."""
        self._first: tuple[_Server, Mapping[str, str]] | None = None
        self._more: dict[frozenset[tuple[str, str]], _Server | None] = {}
        self._lock = threading.Lock()

    def fork(self, request: Mapping[str, Any], files: Sequence[int]) -> int | None:
        environment = request["environment"]
        with self._lock:
            server = self.given or self._chosen(environment)
            return server.ask(request, files) if server is not None and server.fits(environment) else None

    def _chosen(self, environment: Mapping[str, str]) -> _Server | None:
        if self._first is None:
            self._first = self._start(), dict(os.environ)
        first, _ = self._first
        if not first.fits(environment):
            return None
        key = _variables(environment, _BEFORE_LIBRARIES)
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
            server = self._more[key] = _Server(near, environment, has_libraries=True) if process else None
        return server

    @staticmethod
    def _start() -> _Server:
        near, far = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        environment.pop("PYTHONUNBUFFERED", None)
        pipe = os.pipe()  # streams that are opened on a file or a terminal behave in another way than on a pipe
        errors = os.dup(2)
        with far:
            _RealPopen(
                [sys.executable, "-P", __file__, str(far.fileno()), str(errors)],
                pass_fds=(far.fileno(), errors),
                env=environment,
                cwd="/",
                stdin=pipe[0],
                stdout=pipe[1],
                stderr=pipe[1],
            )
        for file in (*pipe, errors):
            os.close(file)
        return _Server(near, os.environ, has_libraries=False)


_MOST_SERVERS = 3
_servers = _Servers()


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """Have processes below this one, whose parents end, become children of this one."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def _prctl(option: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _send(end: socket.socket, request: Mapping[str, Any], files: Sequence[int]) -> None:
    content = json.dumps(request).encode()
    socket.send_fds(end, [_HEADER.pack(len(content))], files)
    end.sendall(content)


def _receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    header, files, _, _ = socket.recv_fds(end, _HEADER.size, 64)
    if len(header) < _HEADER.size:
        raise EOFError
    return json.loads(_read(end, _HEADER.unpack(header)[0])), files


def _read(end: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (part := end.recv(count - len(content))):
            raise EOFError
        content += part
    return content


def _serve(end: socket.socket) -> Callable[[], None]:
    """Fork on request until nobody is left who could ask; returns in the forks only, with what they have to do."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(SERVER_NAME.encode()))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # meant for those that work
    gc.collect()
    gc.freeze()
    while True:
        try:
            request, files = _receive(end)
        except (OSError, EOFError):
            os._exit(0)
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            between = os.getpid()
            if (forked := os.fork()) == 0:
                os.close(reading)
                os.close(writing)
                end.close()
                while os.getppid() == between:
                    time.sleep(0.0002)
                if request.get("serve"):
                    return lambda: _begin_to_serve(request["environment"], socket.socket(fileno=files[0]))
                return lambda: _become(request, files)
            os.write(writing, _HEADER.pack(forked))
            os._exit(0)
        os.close(writing)
        os.waitpid(between, 0)
        answer = os.read(reading, _HEADER.size)
        os.close(reading)
        for file in files:
            os.close(file)
        with contextlib.suppress(OSError):
            end.sendall(answer)


def _begin_to_serve(environment: Mapping[str, str], end: socket.socket) -> None:
    """Import what depends on these variables, then serve."""
    _set(environment)
    _import(_DEPENDENT)
    _serve(end)()


def _import(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in _RUN_AS_MAIN:
        sys.modules.pop(name, None)


def _set(environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)


_PLAIN_PATH: list[str] = []
"""Where Python looks for modules when PYTHONPATH is empty."""


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """Be the process that was asked for, to its end."""
    if request["new_session"]:
        os.setsid()
    else:
        with contextlib.suppress(OSError):
            os.setpgid(0, request["group"])
    high = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 200) for file in files]
    for file in files:
        os.close(file)
    for source, number in zip(high, [0, 1, 2, *request["passed"]], strict=True):
        os.dup2(source, number)
        os.close(source)
    for one in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(one, signal.SIG_IGN if one in request["ignored"] else signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    if signal.SIGINT not in request["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    environment, words = request["environment"], request["words"]
    _set(environment)
    os.chdir(request["folder"])
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    is_safe = "-P" in words[:2] or bool(environment.get("PYTHONSAFEPATH"))
    sys.path[:] = [*([] if is_safe else [request["folder"]]), *entries, *_PLAIN_PATH]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    if environment.get("PYTHONUNBUFFERED") or "-u" in words[:2]:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _reset_libraries(environment)
    found = _module(words)
    assert found is not None
    module, arguments = found
    _prctl(_PR_SET_NAME, ctypes.c_char_p(b"python"))
    if _starts_others(module, arguments):
        _bring_server(environment)
    sys.argv = ["-m", *arguments]
    _run("verify.__main__" if module == COMMAND else module)


def _reset_libraries(environment: Mapping[str, str]) -> None:
    """What a fresh start does not share with others: NumPy's generator, the number of threads, the place of files."""
    tempfile.tempdir = None
    time.tzset()
    sys.modules["numpy"].random.seed()
    threads = environment.get("OMP_NUM_THREADS", "")
    sys.modules["torch"].set_num_threads(int(threads) if threads.isdecimal() else len(os.sched_getaffinity(0)))


def _bring_server(environment: Mapping[str, str]) -> None:
    """Leave a server behind before anything has begun here, for the workers that this process is going to start."""
    near, far = socket.socketpair()
    if os.fork() == 0:
        near.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.closerange(3, far.fileno())
        os.closerange(far.fileno() + 1, 256)
        _serve(far)()
    far.close()
    _servers.owner = os.getpid()
    _servers.given = _Server(near, environment, has_libraries="transformers" in sys.modules)
    install()


def _run(module: str) -> None:
    """Run a module as ``python -m`` does, and end as Python ends."""
    code, by_signal = 0, False
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int) or end.code is None:
            code = end.code or 0
        else:
            print(end.code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        by_signal = True
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if by_signal:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code)


def _main() -> None:
    """The first server, which has imported nothing yet that reads the environment."""
    global _PLAIN_PATH
    end, errors = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    os.dup2(errors, 2)
    os.close(errors)
    _PLAIN_PATH = list(sys.path)
    _PLAIN_PATH.remove(str(ROOT))  # that of PYTHONPATH, which comes first
    install()  # before a library keeps the other one
    _import(_INDEPENDENT)
    _serve(end)()


if __name__ == "__main__":
    _main()
