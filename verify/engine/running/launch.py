"""Starting the worker process, or several, and following what they report.

The parent never imports torch: it stays quick, and a crash or an out-of-memory kill of the model cannot take it down.
Several processes are started by torchrun, because ``accelerate launch --cpu --num_processes 2`` starts only one
(accelerate issue 2741); each worker checks how many there really are.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from verify import errors
from verify.engine.job import Job, jobs_to_json
from verify.engine.running.bounds import Bounds
from verify.engine.running.layout import alone
from verify.engine.running.worker import RECORD
from verify.errors import EngineError, VerifyError
from verify.processes.import_path import restrict
from verify.store.files import cannot_write, write_json
from verify.types import Emit

LOG_TAIL_LINES = 12
STANDARD_INPUT = "0"


def default_threads(processes: int) -> int:
    """Cores that this process may use, shared out: more threads than cores make every process slower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // processes, 1)


def run_jobs(jobs: Sequence[Job], emit: Emit) -> list[VerifyError | None]:
    """Run the jobs of one model, one after the other, in a worker that loads the model once; None for each one done.

    A job that ends its worker costs that job alone: a fresh worker goes on with the next one. ``emit`` receives the
    worker's events; ``job`` in each is a position in ``jobs``.
    """
    results: dict[int, VerifyError | None] = {}
    while len(results) < len(jobs):
        left = [index for index in range(len(jobs)) if index not in results]

        def numbered(event: Mapping[str, Any], left: list[int] = left) -> None:
            emit({**event, "job": left[event["job"]]})

        for place, result in Worker([jobs[index] for index in left]).follow(numbered).items():
            results[left[place]] = result
    return [results[index] for index in range(len(jobs))]


class Worker:
    """The worker of some jobs, started at once; its imports overlap whatever the caller does before :meth:`follow`."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        folder, first = Path(jobs[0].run_folder), jobs[0]
        self._jobs, self._processes = len(jobs), first.processes
        self._log = folder / "worker.log"
        file = folder / "jobs.json"
        write_json(file, json.loads(jobs_to_json(jobs)))
        command = [sys.executable, "-P", "-m", "verify.processes.lifeline", STANDARD_INPUT]
        if first.processes > 1:
            several = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(first.processes)]
            command += [*several, "-m", "verify.processes.lifeline", STANDARD_INPUT]
        environment = worker_environment(first.threads)
        restrict(environment, ".", *(folder for job in jobs for folder in folders_of(job)))
        with _opened(self._log) as log:
            self._process = subprocess.Popen(
                [*command, "verify.engine.running.worker", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        self._bounds = Bounds(self._process.pid, jobs)

    def follow(self, emit: Emit) -> dict[int, VerifyError | None]:
        """Pass the reports on until the worker ends; what became of each job that it began, None for success.

        The job in which the worker died has an EngineError with the tail of its log, or what bounds it has to say.
        """
        results: dict[int, VerifyError | None] = {}
        finished, begun = set(), set()
        try:
            with self._bounds:
                for event in _events(self._process.stdout):
                    self._bounds.heard(event)
                    job = int(event["job"])
                    begun.add(job)
                    if event["event"] == "failed":
                        results.setdefault(job, _error(event))
                    elif event["event"] == "done":
                        finished.add(job)  # whichever process says so, all have stored their rows before
                    else:
                        emit(event)
            code = self._process.wait()
        finally:
            self.stop()
        results |= dict.fromkeys(finished - set(results))
        left = [job for job in range(self._jobs) if job not in results]
        if ended := self._bounds.outcome(left):
            return results | ended
        failed_together = self._processes > 1 and any(results.values())  # those that are left have not been tried
        if left and (not results or (left[0] in begun and not failed_together)):
            results[left[0]] = EngineError(
                f"The worker process ended with {ending(code)}. Its last words: {self._tail()}"
            )
        return results

    def stop(self) -> None:
        """End the worker and everything that it started, if it still runs."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()  # whatever is left of it ends by that

    def _tail(self) -> str:
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-LOG_TAIL_LINES:]) or "(none)"


LOAD = Path("/proc/loadavg")
_LOOKS, _BETWEEN_LOOKS = 5, 0.01  # seconds


def _waiting() -> dict[str, str]:
    """How threads wait for each other: awake where nothing else wants the cores, asleep elsewhere.

    On a busy machine threads that stay awake cost five times the time; on an idle one they save a seventh (measured).
    Idle is one whose only runnable thread, at every look, is the one that looks.
    """
    for _ in range(_LOOKS):
        try:
            running = int(LOAD.read_text().split()[3].partition("/")[0])
        except (OSError, ValueError, IndexError):
            running = 2
        if running > 1:
            return {"OMP_WAIT_POLICY": "PASSIVE"}
        time.sleep(_BETWEEN_LOOKS)
    return {}


MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 26),
}
"""Have glibc keep the memory of freed tensors for the next ones, instead of asking the system for it each time: a
classifier then takes a tenth less time on a CPU (measured)."""


def _opened(file: Path) -> IO[bytes]:
    try:
        return file.open("wb")
    except OSError as error:
        raise cannot_write(file, error) from error


def worker_environment(threads: int) -> dict[str, str]:
    """The environment of a worker that computes with so many threads; what the user has set goes before ours."""
    return {**_waiting(), **MEMORY, **alone(os.environ), "OMP_NUM_THREADS": str(threads)}


def folders_of(job: Job) -> list[Path]:
    """The folders of a model, its data and its results, none of which holds code of ours."""
    source, results = job.task.dataset, Path(job.run_folder)
    data = [Path(source.path), *(Path(file).parent for file in (source.data_files or {}).values())]
    return [Path(job.model_folder), *data, results, *list(results.parents)[:3]]


def _events(stream: IO[str] | None) -> Iterator[dict[str, Any]]:
    for line in stream or ():
        with contextlib.suppress(ValueError):  # cut off where a process was killed
            if line.startswith(RECORD):
                yield json.loads(line[1:])


def _error(event: dict[str, Any]) -> VerifyError:
    kind = getattr(errors, str(event.get("type")), EngineError)
    return kind(event["message"]) if issubclass(kind, VerifyError) else EngineError(event["message"])


def ending(code: int) -> str:
    """How a process ended, by its exit code (negative: the signal that ended it)."""
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (often: out of memory; try a smaller engine.batch_size)" if name == "SIGKILL" else ""
        return f"the signal {name}{hint}"
    return f"exit code {code}"
