"""Running the jobs of a model in this process, whose imports are ready for the next model."""

from __future__ import annotations

import gc
import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.engine.job import Job
from verify.engine.loading.load import OFFLOAD, forget
from verify.engine.running.attempt import attempt
from verify.engine.running.launch import folders_of, run_jobs
from verify.errors import VerifyError
from verify.processes.import_path import exclude
from verify.sweeping.workers.turn import Turn
from verify.types import Emit

if TYPE_CHECKING:
    from verify.engine.running.run import Ready

MOST_READY = 4
"""So many jobs are made ready while others use the device; the inputs of each take memory."""


def run_here(jobs: Sequence[Job], emit: Emit, turn: Turn | None = None) -> list[VerifyError | None]:
    """Run jobs as :func:`verify.engine.running.launch.run_jobs` does, but that a death of the process is the caller's.

    The model is loaded once and given up afterwards. Until it is its ``turn`` on the device, the process makes jobs
    ready: it loads the data and the model, and makes the inputs. Jobs that ask for several processes get workers of
    their own, and so do those with a time limit, which only the end of a process can enforce.
    """
    if not jobs or any(job.processes > 1 for job in jobs):
        return run_jobs(jobs, emit)
    exclude(*(folder for job in jobs for folder in folders_of(job)))
    turn = turn or Turn()
    if any(job.budget is not None for job in jobs):
        try:
            turn.take(partial(_numbered, emit, 0))
            return run_jobs(jobs, emit)
        finally:
            turn.release()
    try:
        return _Jobs(jobs, emit, turn).run()
    finally:
        for job in jobs:
            shutil.rmtree(Path(job.run_folder) / OFFLOAD, ignore_errors=True)
        _forget_model()
        turn.release()


class _Jobs:
    """The jobs of one model: those that wait, those that are ready, and what became of the others."""

    def __init__(self, jobs: Sequence[Job], emit: Emit, turn: Turn) -> None:
        self._emit, self._turn = emit, turn
        self._waiting = deque(enumerate(jobs))
        self._ready: deque[tuple[int, Ready]] = deque()
        self._results: list[VerifyError | None] = [None] * len(jobs)

    def run(self) -> list[VerifyError | None]:
        while self._waiting or self._ready:
            if self._ready and (not self._waiting or len(self._ready) == MOST_READY or self._turn.try_take()):
                self._run_next()
            else:
                self._prepare_next()
        return self._results

    def _prepare_next(self) -> None:
        index, job = self._waiting.popleft()
        emit = partial(_numbered, self._emit, index)
        if job.device_map is not None:  # such a model is loaded onto its devices at once
            self._turn.take(emit)
        made = attempt(partial(_made_ready, job, emit))
        if isinstance(made, VerifyError):
            self._results[index] = made
        else:
            self._ready.append((index, made))

    def _run_next(self) -> None:
        from verify.engine.running.run import execute

        index, one = self._ready.popleft()
        emit = partial(_numbered, self._emit, index)
        self._turn.take(emit)
        self._results[index] = attempt(partial(execute, one, emit))


def _made_ready(job: Job, emit: Emit) -> Ready:
    from verify.engine.running.run import ready  # here, for what cannot be imported fails the job, too

    return ready(job, emit)


def _numbered(emit: Emit, job: int, event: Mapping[str, Any]) -> None:
    emit({"job": job, **event})


def _forget_model() -> None:
    """Give the memory of the model back, here and on the device."""
    import torch

    forget()
    gc.collect()
    if torch.cuda.memory_reserved():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
