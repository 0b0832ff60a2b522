"""What all workers on other machines share: units are sent, followed by their files, given up, and sent again.

A machine that is lost takes its unit with it. Where the cluster says so, that is no fault of the model: the unit is
sent again as it was, :data:`MOST_LOSSES` times at most (a model may well be what takes machines down), and only then is
it reported as dead. What is stored of it already is not run again.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

from verify.configuration.schema import VerifyConfig
from verify.errors import EngineError, UsageError
from verify.processes.signals import REQUESTS
from verify.sweeping import progress_file
from verify.sweeping.cluster.remote_task import BEGUN, Place, RemoteTask, worker_of
from verify.sweeping.units import LIFE, OPENED, Died, Ended, Finished, Happened, Report, Unit
from verify.sweeping.workers.work import failed, name_of
from verify.tasks.registry import Registry

MOST_LOSSES = 3
BETWEEN_LOOKS = 0.5  # seconds
GRACE = 6.0  # seconds that a unit has to stop by itself

_log = logging.getLogger(__name__)
Handle = TypeVar("Handle")


@dataclass(frozen=True)
class Loss:
    """A unit's worker is gone without an answer; ``blameless`` if its machine was lost, whatever ran there."""

    message: str
    blameless: bool = False


@dataclass
class _Sent(Generic[Handle]):
    """A unit that was sent: what the cluster knows it by, and what has been heard of it so far."""

    unit: Unit
    handle: Handle
    reader: progress_file.Reader
    worker: str
    losses: int = 0
    heard: float | None = None  # seconds of the monotonic clock; None: it waits for a machine
    cells: list[str] = field(default_factory=list)
    cell: str | None = None

    @property
    def has_begun(self) -> bool:
        return self.heard is not None

    def hear(self) -> list[dict[str, Any]]:
        """The new events but for those that only say where the unit runs, or that it does."""
        events = self.reader.events()
        if events:
            self.heard = time.monotonic()
        for event in events:
            if event["event"] == BEGUN:
                self.worker, self.cells, self.cell = worker_of(event), [], None
            elif event["event"] == OPENED:
                self.cells = [name_of((task, split)) for task, split in event["cells"]]
            elif "cell" in event and int(event["cell"]) < len(self.cells):
                self.cell = self.cells[int(event["cell"])]
        return [event for event in events if event["event"] not in (BEGUN, LIFE)]


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Have an interruption come after what is done here, so that no cluster works on a unit that nobody remembers.

    A second one comes at once.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *REQUESTS)}
    heeded = {number: handler for number, handler in before.items() if callable(handler)}
    if threading.current_thread() is not threading.main_thread():
        heeded = {}
    came: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            heeded[signal.Signals(number)](number, frame)

    for number in heeded:
        signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in heeded.items():
            signal.signal(number, handler)
        if came:
            heeded[signal.Signals(came[0])](came[0], None)


class RemoteWorkers(ABC, Generic[Handle]):
    """Workers of a cluster, as :class:`verify.sweeping.units.Workers` asks for them.

    ``kind`` names the cluster in reports until a unit says where it runs.
    """

    ENDS_BY_LEAVING = False
    """Whether units end as soon as this process leaves the cluster, so that none need be cancelled for it."""

    def __init__(self, config: VerifyConfig, registry: Registry, kind: str) -> None:
        if config.engine.processes > 1:
            raise UsageError(
                f"engine.processes={config.engine.processes}: on a cluster every model has one process; leave it out."
            )
        self._config, self._registry, self._kind = config, registry, kind
        self.folder = Path(config.results) / "sweeps"
        self._sent: list[_Sent[Handle]] = []
        self._refused: list[Report] = []

    @property
    def free(self) -> int:
        """How many devices no unit has been given; fewer than none after a machine was lost."""
        devices = self._config.sweep.workers or self._capacity()
        return devices - sum(sent.unit.devices for sent in self._sent)

    @property
    def opened(self) -> Collection[str]:
        return ()

    def begin(self, unit: Unit) -> None:
        if refusal := self._refusal(unit):
            self._refused.append(Ended(unit, self._kind, failed(unit, unit.reference, EngineError(refusal), 0.0)))
        else:
            with _undisturbed():
                self._send(unit, losses=0)

    def ahead(self, units: Sequence[Unit]) -> None:
        """Nothing: which machine will get a unit is the cluster's decision."""

    def reports(self, timeout: float) -> Iterator[Report]:
        until = time.monotonic() + timeout
        while True:
            found, self._refused = self._refused, []
            for sent in list(self._sent):
                found += self._reports_of(sent)
            left = until - time.monotonic()
            if found or left <= 0:
                return iter(found)
            self._wait([sent.handle for sent in self._sent], min(left, BETWEEN_LOOKS))

    def close(self, *, at_once: bool) -> None:
        """End every unit that was sent, after the shard at hand or at once, and leave the cluster as it was."""
        until = time.monotonic() + GRACE
        try:
            for sent in [] if self.ENDS_BY_LEAVING else self._sent:
                self._cancel(sent.handle)
            waiting = [] if at_once or self.ENDS_BY_LEAVING else [sent for sent in self._sent if sent.has_begun]
            while waiting and time.monotonic() < until:
                time.sleep(0.1)
                waiting = [sent for sent in waiting if self._outcome(sent.handle) is None]
            for sent in waiting:
                self._cancel(sent.handle)
        finally:
            for sent in self._sent:
                self._forget(sent)
            self._sent = []
            self._leave()

    def _send(self, unit: Unit, losses: int) -> None:
        name = f"{unit.key}-{secrets.token_hex(4)}"  # a machine that comes back must not write into its successor's
        file = self.folder / "progress" / f"{name}.jsonl"
        progress_file.create(file)
        config = replace(self._config, engine=replace(self._config.engine, threads=self._threads()))
        place = Place(str(Path.cwd()), str(file))
        handle = self._submit(RemoteTask(unit, config, self._registry, place), name)
        self._sent.append(_Sent(unit, handle, progress_file.Reader(file), self._kind, losses))

    def _reports_of(self, sent: _Sent[Handle]) -> list[Report]:
        outcome = self._outcome(sent.handle)  # before its file is read, so that no event is missed
        unit = sent.unit
        found: list[Report] = [Happened(unit, sent.worker, event) for event in sent.hear()]
        if outcome is None and self._is_overdue(sent):
            minutes = self._config.sweep.deadline
            outcome = Loss(f"There was no sign of progress for {minutes:g} minutes (sweep.deadline).")
            self._cancel(sent.handle)
        if outcome is None:
            return found
        words = self._last_words(sent.handle)
        self._forget(sent)
        self._sent.remove(sent)
        if isinstance(outcome, Finished):
            return [*found, Ended(unit, sent.worker, outcome)]
        if outcome.blameless and sent.losses < MOST_LOSSES:
            _log.warning("%s is begun again. %s", unit.reference, outcome.message)
            with _undisturbed():
                self._send(unit, sent.losses + 1)
            return found
        return [*found, Died(unit, sent.worker, f"{outcome.message} Its last words: {words}", sent.cell)]

    def _forget(self, sent: _Sent[Handle]) -> None:
        sent.reader.remove()
        self._remove_files(sent.handle)

    def _is_overdue(self, sent: _Sent[Handle]) -> bool:
        deadline = self._config.sweep.deadline
        return deadline is not None and sent.heard is not None and time.monotonic() - sent.heard > 60 * deadline

    def _threads(self) -> int:
        """How many threads a unit computes with."""
        return self._config.engine.threads or 1

    def _refusal(self, unit: Unit) -> str | None:
        """Why a unit can never run on this cluster; None if it can."""
        return None

    def _wait(self, handles: Sequence[Handle], seconds: float) -> None:
        """Wait until one of the units may have ended, ``seconds`` at most."""
        time.sleep(seconds)

    def _remove_files(self, handle: Handle) -> None:
        """Remove what the cluster has written of a unit that is done or given up."""

    def _leave(self) -> None:
        """Leave the cluster."""

    @abstractmethod
    def _capacity(self) -> int:
        """How many devices the cluster has."""

    @abstractmethod
    def _submit(self, task: RemoteTask, name: str) -> Handle:
        """Send a unit; ``name`` is one that no other has."""

    @abstractmethod
    def _outcome(self, handle: Handle) -> Finished | Loss | None:
        """What became of a unit; None while it waits or runs."""

    @abstractmethod
    def _cancel(self, handle: Handle) -> None:
        """End a unit; one that has ended is left alone."""

    @abstractmethod
    def _last_words(self, handle: Handle) -> str:
        """The tail of a unit's log."""
