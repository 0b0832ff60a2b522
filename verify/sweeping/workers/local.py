"""The workers of this machine: long-lived processes, two for each GPU, or several that share the cores of the CPU."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from verify.configuration.compose import to_yaml
from verify.configuration.schema import VerifyConfig
from verify.engine.running.launch import default_threads, ending, worker_environment
from verify.engine.running.memory import share_of_machine
from verify.errors import EngineError
from verify.foundation.plain import from_plain
from verify.sweeping.plan.devices import is_unlisted, takes_several_processes
from verify.sweeping.units import LIFE, OPENED, Died, Ended, Finished, Happened, Report, Unit
from verify.sweeping.workers.process import WorkerProcess
from verify.sweeping.workers.work import name_of
from verify.sweeping.workers.worker import FINISHED, READY

GRACE = 5.0  # seconds that a worker has to end by itself
START = 600.0
"""Seconds that a worker may take for its imports before it counts as one without progress: from a slow disk they take
minutes."""

PER_GPU = 2
"""So many processes take turns on a GPU."""

MOST_FALSE_STARTS = 3
MOST_MEMORY = 0.5
"""The share of the machine's memory, divided by the number of workers, beyond which a worker makes room for a fresh one
before the next unit: libraries keep some of every model."""


@dataclass
class _Worker:
    """A process, the devices that are its own, and the unit that it works on.

    ``heard`` is when it last showed progress, in seconds of the monotonic clock; ``ahead`` the key of the unit that it
    was told to open ahead.
    """

    name: str
    devices: tuple[int, ...]
    process: WorkerProcess
    unit: Unit | None = None
    heard: float = 0.0
    cells: list[str] = field(default_factory=list)
    cell: str | None = None
    is_ready: bool = False
    is_overdue: bool = False
    ahead: str | None = None


def _device_of_worker(device: str, *, on_gpus: bool) -> str:
    """What ``engine.device`` is to a worker, which sees its own GPUs only, or is to leave them all alone."""
    if on_gpus and device.partition(":")[0] in ("auto", "cuda"):
        return "cuda"
    return "cpu" if device == "auto" else device


class LocalWorkers:
    """Processes of this machine, as :class:`verify.sweeping.units.Workers` asks for them.

    ``gpus`` are the names of the GPUs to use, as ``CUDA_VISIBLE_DEVICES`` takes them. Two processes take turns on each,
    unless ``sweep.ahead`` is false or the GPU does not take two: one makes its model and inputs ready while the other
    computes. Where torch may find a GPU that has no such name, it counts as one.

    Without any GPU, ``sweep.workers`` processes (else one for each core) share the cores of the CPU, each with as many
    threads as are left for it.
    """

    def __init__(self, config: VerifyConfig, gpus: Sequence[str] = ()) -> None:
        self._gpus = list(gpus)
        is_alone = not gpus and is_unlisted(config.engine.device)
        count = config.sweep.workers or len(gpus) or default_threads(1)
        count = min(count, len(gpus) or 1) if gpus or is_alone else count
        cores_each = default_threads(count)
        device = config.engine.device if is_alone else _device_of_worker(config.engine.device, on_gpus=bool(gpus))
        threads = min(config.engine.threads or cores_each, cores_each)
        self._count, self._numbers = count, 0
        takes_turns = config.sweep.ahead and (is_alone or (bool(gpus) and takes_several_processes()))
        self._per_device = PER_GPU if takes_turns else 1
        self._processes = count * self._per_device
        memory = config.engine.memory or f"{share_of_machine(self._processes) // 10**6}MB"
        engine = replace(config.engine, threads=threads, device=device, memory=memory)
        self._config = replace(config, engine=engine)
        self._events: queue.SimpleQueue[tuple[WorkerProcess, Mapping[str, Any] | None]] = queue.SimpleQueue()
        self._logs = Path(config.results) / "sweeps" / "logs" / str(os.getpid())
        self._false_starts = 0
        self._workers: list[_Worker] = []
        for _ in range(self._per_device):
            for number in range(count):
                self._start((number,))

    @property
    def free(self) -> int:
        return len({device for worker in self._workers if worker.unit is None for device in worker.devices})

    @property
    def opened(self) -> Collection[str]:
        return [worker.ahead for worker in self._workers if worker.unit is None and worker.ahead is not None]

    def begin(self, unit: Unit) -> None:
        worker = self._worker_for(unit)
        worker.unit, worker.cells, worker.cell, worker.ahead = unit, [], None, None
        worker.heard = time.monotonic()
        worker.process.begin_words()
        worker.process.order({"unit": asdict(unit)})

    def ahead(self, units: Sequence[Unit]) -> None:
        if not self._config.sweep.ahead:
            return
        busy = [worker for worker in self._workers if worker.unit]
        wanted = {unit.key: unit for unit in units[: len(busy)]}
        for worker in busy:
            if worker.ahead is not None and wanted.pop(worker.ahead, None) is None:
                worker.ahead = None  # somebody else has begun it
        for worker, unit in zip([worker for worker in busy if worker.ahead is None], wanted.values(), strict=False):
            worker.ahead = unit.key
            worker.process.order({"ahead": asdict(unit)})

    def reports(self, timeout: float) -> Iterator[Report]:
        until = time.monotonic() + timeout
        found: list[Report] = []
        while not found and (left := until - time.monotonic()) > 0:
            self._end_overdue()
            with contextlib.suppress(queue.Empty):
                process, event = self._events.get(timeout=min(left, 1.0))
                worker = next((one for one in self._workers if one.process is process), None)
                if worker is not None:
                    found += self._buried(worker) if event is None else self._reports_of(worker, event)
        return iter(found)

    def close(self, *, at_once: bool) -> None:
        for worker in self._workers:
            worker.process.signal(signal.SIGKILL if at_once else signal.SIGTERM)
        until = time.monotonic() + GRACE
        for worker in self._workers:
            worker.process.end(until)
        self._workers = []
        with contextlib.suppress(OSError):
            for device in range(self._count):
                self._turn_file(device).unlink(missing_ok=True)
            for folder in (self._logs, self._logs.parent):
                folder.rmdir()

    def _start(self, devices: tuple[int, ...]) -> _Worker:
        self._numbers += 1
        environment = worker_environment(self._config.engine.threads or 1)
        if self._processes > 1:
            environment["OMP_WAIT_POLICY"] = "PASSIVE"  # the others want the cores
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self._gpus[one] for one in devices)
        log = self._logs / f"{self._numbers}.log"
        turn = [self._turn_file(one) for one in devices] if self._per_device > 1 else []
        process = WorkerProcess(to_yaml(self._config), log, environment, self._hear, turn)
        worker = _Worker(self._name(devices), devices, process)
        self._workers.append(worker)
        return worker

    def _turn_file(self, device: int) -> Path:
        return self._logs / f"device-{device}.lock"

    def _name(self, devices: tuple[int, ...]) -> str:
        """How reports call a new worker: ``gpu 0``, or ``gpu 0 a`` and ``gpu 0 b`` where two share it."""
        name = f"gpu {','.join(self._gpus[one] for one in devices)}" if self._gpus else f"worker {devices[0] + 1}"
        if self._per_device == 1:
            return name
        taken = {worker.name for worker in self._workers}
        return next(each for letter in ascii_lowercase if (each := f"{name} {letter}") not in taken)

    def _hear(self, process: WorkerProcess, event: Mapping[str, Any] | None) -> None:
        self._events.put((process, event))

    def _worker_for(self, unit: Unit) -> _Worker:
        """An idle worker with as many devices as the unit needs, made of several idle ones if need be."""
        idle = [worker for worker in self._workers if worker.unit is None]
        fitting = [worker for worker in idle if len(worker.devices) == unit.devices]
        if fitting:
            return next((worker for worker in fitting if worker.ahead == unit.key), fitting[0])
        left = Counter(device for worker in idle for device in worker.devices)
        if len(left) < unit.devices:
            raise EngineError(f"{unit.reference} needs {unit.devices} devices, and {len(left)} are free.")
        for worker in idle:
            self._retire(worker)
        devices = tuple(sorted(left)[: unit.devices])
        chosen = self._start(devices)
        for device in (left - Counter(devices)).elements():
            self._start((device,))
        return chosen

    def _retire(self, worker: _Worker) -> None:
        """End an idle worker."""
        self._workers.remove(worker)
        worker.process.end()

    def _reports_of(self, worker: _Worker, event: Mapping[str, Any]) -> list[Report]:
        worker.heard = time.monotonic()
        if event["event"] == READY:
            worker.is_ready, self._false_starts = True, 0
        unit = worker.unit
        if unit is None or event["event"] in (READY, LIFE) or event["key"] != unit.key:
            return []
        if event["event"] == FINISHED:
            worker.unit = None
            finished: Finished = from_plain(Finished, event["finished"])
            self._make_room(worker, int(event["memory"]))
            return [Ended(unit, worker.name, finished)]
        if event["event"] == OPENED:
            worker.cells = [name_of((task, split)) for task, split in event["cells"]]
        elif "cell" in event:
            worker.cell = worker.cells[int(event["cell"])]
        return [Happened(unit, worker.name, {name: value for name, value in event.items() if name != "key"})]

    def _buried(self, worker: _Worker) -> list[Report]:
        """What is to be said of a worker that has ended; another one takes its place."""
        self._workers.remove(worker)
        words = worker.process.last_words()
        code = worker.process.end(time.monotonic() + GRACE)
        self._false_starts += not worker.is_ready
        if self._false_starts >= MOST_FALSE_STARTS:
            raise EngineError(f"Workers end with {ending(code)} before they can begin. Their last words: {words}")
        self._start(worker.devices)
        if worker.unit is None:
            return []
        if worker.is_overdue:
            what = f"There was no sign of progress for {self._config.sweep.deadline:g} minutes (sweep.deadline)."
        else:
            what = f"The worker process ended with {ending(code)}."
        return [Died(worker.unit, worker.name, f"{what} Its last words: {words}", worker.cell)]

    def _end_overdue(self) -> None:
        if self._config.sweep.deadline is None:
            return
        deadline = 60 * self._config.sweep.deadline
        for worker in self._workers:
            silence = time.monotonic() - worker.heard
            if worker.unit and not worker.is_overdue and silence > (deadline if worker.is_ready else START):
                worker.is_overdue = True
                worker.process.signal(signal.SIGKILL)

    def _make_room(self, worker: _Worker, memory: int) -> None:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if memory > MOST_MEMORY * whole / self._processes:
            self._retire(worker)
            self._start(worker.devices)
