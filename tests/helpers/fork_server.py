"""The far end of :mod:`helpers.forks`: a process that has made all imports, and what its forks do to be another one."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import gc
import importlib
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from helpers import forks
from helpers.forking import (
    COMMAND,
    HEADER,
    LIFELINE,
    PR_SET_NAME,
    ROOT,
    SERVER_NAME,
    module_of,
    prctl,
    receive,
    starts_others,
)

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


def _serve(end: socket.socket) -> Callable[[], None]:
    """Fork on request until nobody is left who could ask; returns in the forks only, with what they have to do."""
    prctl(PR_SET_NAME, ctypes.c_char_p(SERVER_NAME.encode()))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # meant for those that work
    gc.collect()
    gc.freeze()
    while True:
        try:
            request, files = receive(end)
        except (OSError, EOFError):
            os._exit(0)
        reading, writing = os.pipe()
        if (between := os.fork()) == 0:
            between = os.getpid()
            if not request.get("serve"):
                prctl(PR_SET_NAME, ctypes.c_char_p(b"python"))
            if os.fork() == 0:
                os.close(reading)
                end.close()
                while os.getppid() == between:
                    time.sleep(0.0002)
                if not request.get("serve"):
                    _take_place(request)
                os.write(writing, HEADER.pack(os.getpid()))
                os.close(writing)
                if request.get("serve"):
                    return lambda: _begin_to_serve(request["environment"], socket.socket(fileno=files[0]))
                return lambda: _become(request, files)
            os._exit(0)
        os.close(writing)
        os.waitpid(between, 0)
        answer = os.read(reading, HEADER.size) or HEADER.pack(0)
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


def _take_place(request: Mapping[str, Any]) -> None:
    """Whatever has to be so before anybody knows of the process."""
    if request["new_session"]:
        os.setsid()
    else:
        with contextlib.suppress(OSError):
            os.setpgid(0, request["group"])
    os.chdir(request["folder"])
    for one in signal.valid_signals():
        with contextlib.suppress(OSError, ValueError):
            signal.signal(one, signal.SIG_IGN if one in request["ignored"] else signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def _become(request: Mapping[str, Any], files: Sequence[int]) -> None:
    """Be the process that was asked for, to its end."""
    high = [fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, 200) for file in files]
    for file in files:
        os.close(file)
    for source, number in zip(high, [0, 1, 2, *request["passed"]], strict=True):
        os.dup2(source, number)
        os.close(source)
    environment, words = request["environment"], request["words"]
    _set(environment)
    entries = [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]
    is_safe = "-P" in words[:2] or bool(environment.get("PYTHONSAFEPATH"))
    sys.path[:] = [*([] if is_safe else [request["folder"]]), *entries, *_PLAIN_PATH]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))
    if environment.get("PYTHONUNBUFFERED") or "-u" in words[:2]:
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    _reset_libraries(environment)
    found = module_of(words)
    assert found is not None
    module, arguments = found
    if starts_others(module, arguments):
        _bring_server(environment)
    if signal.SIGINT not in request["ignored"]:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-m", *arguments]
    _run("verify.__main__" if module == COMMAND else module)


def _reset_libraries(environment: Mapping[str, str]) -> None:
    """Give a fork what a fresh start has of its own: NumPy's state, threads, a place of files, no work at its end."""
    tempfile.tempdir = None
    time.tzset()
    for finalizer in weakref.finalize._registry:  # type: ignore[attr-defined]
        finalizer.atexit = False  # of libraries that a command does not load, so that it ends as fast as it would
    sys.modules["numpy"].random.seed()
    threads = environment.get("OMP_NUM_THREADS", "")
    sys.modules["torch"].set_num_threads(int(threads) if threads.isdecimal() else len(os.sched_getaffinity(0)))


def _bring_server(environment: Mapping[str, str]) -> None:
    """Leave a server behind before anything has begun here, for the workers that this process is going to start."""
    near, far = socket.socketpair()
    prctl(
        PR_SET_NAME, ctypes.c_char_p(SERVER_NAME.encode())
    )  # so that it never looks like a worker, not at first either
    if os.fork() == 0:
        near.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        os.closerange(3, far.fileno())
        os.closerange(far.fileno() + 1, 256)
        _serve(far)()
    prctl(PR_SET_NAME, ctypes.c_char_p(b"python"))
    far.close()
    forks.servers.owner = os.getpid()
    forks.servers.given = forks.Server(near, environment, has_libraries="transformers" in sys.modules)
    forks.install()


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


def main() -> None:
    """The first server, which has imported nothing yet that reads the environment."""
    global _PLAIN_PATH
    end, errors = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])
    os.dup2(errors, 2)
    os.close(errors)
    _PLAIN_PATH = list(sys.path)
    for entry in (ROOT, ROOT / "tests"):
        _PLAIN_PATH.remove(str(entry))  # that of PYTHONPATH, which comes first
    forks.install()  # before a library keeps the other one
    _import(_INDEPENDENT)
    _serve(end)()
