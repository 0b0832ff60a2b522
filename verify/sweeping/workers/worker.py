"""A process that works on the units of a sweep, one after the other: ``python -m verify.sweeping.workers.worker``.

It gets the configuration and then its orders on standard input, a line of JSON each, and reports on standard output
as the engine's worker does. While it computes it opens the unit that is likely to come next: it reads the claims and
fetches the weights. Where it shares a GPU with another process, it makes its unit ready while the other computes. It
ends when standard input does, because then nobody wants what it has. Told to stop (SIGTERM), it stores the rows that
are done, and ends.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Any

from verify.checking.opening import Opened
from verify.configuration.compose import from_yaml
from verify.configuration.schema import VerifyConfig
from verify.configuration.values import bytes_of
from verify.engine.running.memory import share_of_machine, watch_me
from verify.engine.running.worker import RECORD
from verify.errors import VerifyError
from verify.foundation.plain import from_plain
from verify.sweeping.units import Unit
from verify.sweeping.workers.here import run_here
from verify.sweeping.workers.life import Life
from verify.sweeping.workers.turn import Turn
from verify.sweeping.workers.work import finish, opened_unit
from verify.tasks.registry import Registry, load_registry

READY, FINISHED = "ready", "finished"

Say = Callable[[Mapping[str, Any]], None]
Ahead = Future[Opened | VerifyError]
"""A unit that is being opened ahead, or will be."""


def main() -> int:
    """Work until told to stop; the exit code, as a shell gives it for the signal."""
    report = sys.stdout
    lock = threading.Lock()

    def say(event: Mapping[str, Any]) -> None:
        with lock:
            report.write(f"{RECORD}{json.dumps(event)}\n")
            report.flush()

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("verify").setLevel(logging.INFO)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            _work(say)
        except KeyboardInterrupt:
            return 128 + signal.SIGTERM
        except BrokenPipeError:
            return 128 + signal.SIGPIPE
    return 0


def _work(say: Say) -> None:
    first = sys.stdin.readline()
    if not first:
        return
    told = json.loads(first)
    config, turn = from_yaml(told["config"]), Turn(map(Path, told["turn"]))
    watch_me(bytes_of(config.engine.memory or "") or share_of_machine(1))
    orders = Orders(config, load_registry(config.task_path))
    threading.Thread(target=orders.listen, args=(sys.stdin,), daemon=True).start()
    life = Life(say)
    _import_what_all_need()
    say({"event": READY})
    while True:
        unit, ahead = orders.next()
        life.opening()
        opened = orders.opened(unit, ahead)
        emit = life.watching(partial(_of_unit, say, unit.key))
        finished = finish(unit, opened, config, emit, partial(run_here, turn=turn))
        life.resting()
        say({"event": FINISHED, "key": unit.key, "finished": asdict(finished), "memory": _memory()})


class Orders:
    """What the sweep wants: units to work on, and one to open ahead."""

    def __init__(self, config: VerifyConfig, registry: Registry) -> None:
        self._config, self._registry = config, registry
        self._units: queue.SimpleQueue[tuple[Unit, Ahead | None]] = queue.SimpleQueue()
        self._opener = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead")
        self._ahead: dict[str, Ahead] = {}

    def listen(self, stream: IO[str]) -> None:
        """Take orders until there is nobody left to give them; then the process ends, whatever it does."""
        for line in stream:
            order = json.loads(line)
            if "ahead" in order:
                unit: Unit = from_plain(Unit, order["ahead"])
                self._ahead = {unit.key: self._ahead.get(unit.key) or self._opener.submit(self._open, unit)}
            else:
                unit = from_plain(Unit, order["unit"])
                # taken out at once: the unit to open ahead of the next one is named before this one is begun
                self._units.put((unit, self._ahead.pop(unit.key, None)))
        os._exit(0)

    def next(self) -> tuple[Unit, Ahead | None]:
        """The next unit to work on, once there is one, and what was done ahead of it."""
        return self._units.get()

    def opened(self, unit: Unit, ahead: Ahead | None) -> Opened | VerifyError:
        """The model of a unit with its claims; opened ahead, if the sweep had foreseen it in time."""
        if ahead is not None and not ahead.cancel():
            return ahead.result()
        return self._open(unit)

    def _open(self, unit: Unit) -> Opened | VerifyError:
        return opened_unit(unit, self._config, self._registry)


def _of_unit(say: Say, key: str, event: Mapping[str, Any]) -> None:
    say({"key": key, **event})


def _import_what_all_need() -> None:
    """Import now, while there is nothing to do, what every kind of model needs."""
    import datasets  # noqa: F401
    from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

    import verify.engine.running.run
    import verify.metrics.registry  # noqa: F401


def _memory() -> int:
    """The memory that this process holds, in bytes; where the system does not say, the most that it ever held."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    code = main()
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)  # everything is on disk, and a thread may still be fetching
