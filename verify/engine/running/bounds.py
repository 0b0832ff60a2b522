"""What bounds a worker from outside, where no call inside it can hold that up: its memory, and the time of its jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from verify.engine.job import Job
from verify.engine.running.memory import BETWEEN_LOOKS, end, family, held, outgrown, share_of_machine
from verify.engine.running.plan import complete_prefix, example_order
from verify.errors import EngineError, VerifyError
from verify.store.runs import PREDICTIONS, RunFolder

START = 120.0
"""Seconds that the imports of a worker may take where there is a budget, which does not count them."""

_BETWEEN_FAMILIES = 1.0  # seconds: finding the processes costs more than asking what they hold


def grace(budget: float) -> float:
    """Seconds beyond a budget in which a worker may end by itself: it finishes the batch that it began in time."""
    return min(5.0 + budget / 10, 60.0)


class Bounds:
    """Watches a worker, a process that leads a group of its own, and ends it with all that it started.

    Use it as a context manager around following the worker, and tell it every event.
    """

    def __init__(self, process: int, jobs: Sequence[Job]) -> None:
        self._process, self._jobs = process, jobs
        each, count = jobs[0].memory, jobs[0].processes
        self._allowed = count * (each if each is not None else share_of_machine(count))
        self._job, self._has_begun = 0, False
        self._until: float | None = None
        self._expect(0)
        self._ended: tuple[int, str | None] | None = None
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Bounds:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._watcher.join()

    def heard(self, event: Mapping[str, Any]) -> None:
        """Take note of an event: with the first one of a job its time begins, at its end that of the next one."""
        job = int(event["job"])
        if event["event"] in ("done", "failed"):
            self._expect(job + 1)
        elif job > self._job or (job == self._job and not self._has_begun):
            budget = self._jobs[job].budget
            self._job, self._has_begun = job, True
            self._until = None if budget is None else time.monotonic() + budget + grace(budget)

    def outcome(self, left: Sequence[int]) -> dict[int, VerifyError | None]:
        """What became of the job in which the worker was ended from here; nothing where it was not.

        It is done as far as the time allowed if a first part of its rows is stored.
        """
        if self._ended is None or self._ended[0] not in left:
            return {}
        job, reason = self._ended
        if reason is not None:
            return {job: EngineError(reason)}
        return {job: None if _has_rows(self._jobs[job]) else out_of_time(self._jobs[job])}

    def _expect(self, job: int) -> None:
        self._job, self._has_begun = job, False
        is_bounded = job < len(self._jobs) and self._jobs[job].budget is not None
        self._until = time.monotonic() + START if is_bounded else None

    def _watch(self) -> None:
        processes, looked = [self._process], 0.0
        while not self._over.wait(BETWEEN_LOOKS):
            if time.monotonic() - looked > _BETWEEN_FAMILIES:
                processes, looked = family(self._process), time.monotonic()
            now, reason = held(processes), None
            if now > self._allowed:
                reason = outgrown(now, self._allowed)
            elif (until := self._until) is None or time.monotonic() < until:
                continue
            self._ended = self._job, reason
            self._end()
            return

    def _end(self) -> None:
        everything = family(self._process)
        with contextlib.suppress(OSError):
            os.killpg(self._process, signal.SIGKILL)
        end(everything)


def out_of_time(job: Job) -> EngineError:
    """The error of a job whose time ended before anything could be said of it."""
    return EngineError(
        f"The time of budget={(job.budget or 0) / 60:g} minutes ran out before the first block of examples was "
        "done. What was done is kept; give it more time and run the same command again."
    )


def _has_rows(job: Job) -> bool:
    """Whether the first examples of the seeded order are stored."""
    folder = RunFolder(Path(job.run_folder))
    try:
        info = folder.info()
        order = example_order(int(info["population"]) if info else 0, job.seed, job.limit)
        return complete_prefix(order, folder.examples(PREDICTIONS)) > 0
    except VerifyError:
        return False
