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
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from verify import errors
from verify.engine.job import Emit, Job
from verify.engine.worker import RECORD
from verify.errors import EngineError, VerifyError
from verify.store import write_json

LOG_TAIL_LINES = 12


def default_threads(processes: int) -> int:
    """Cores that this process may use, shared out: more threads than cores make every process slower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // processes, 1)


class Worker:
    """The worker of one job, started at once; its imports overlap whatever the caller does before :meth:`follow`."""

    def __init__(self, job: Job) -> None:
        folder = Path(job.run_folder)
        self._log = folder / "worker.log"
        job_file = folder / "job.json"
        write_json(job_file, json.loads(job.to_json()))
        command = [sys.executable, "-m"]
        if job.processes > 1:
            command += ["torch.distributed.run", "--standalone", "--nproc-per-node", str(job.processes), "-m"]
        # On a machine that does other work too, threads that spin while they wait cost five times the time (measured).
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "OMP_NUM_THREADS": str(job.threads)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "verify.engine.worker", str(job_file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                start_new_session=True,
                text=True,
                encoding="utf-8",
            )

    def follow(self, emit: Emit) -> None:
        """Pass the reports on until the worker ends. Raises what it failed with, or EngineError with its log's tail."""
        failure: VerifyError | None = None
        try:
            for event in _events(self._process.stdout):
                if event.get("event") == "failed":
                    failure = failure or _error(event)
                else:
                    emit(event)
            code = self._process.wait()
        finally:
            self.stop()
        if failure is not None:
            raise failure
        if code != 0:
            raise EngineError(f"The worker process ended with {_ending(code)}. Its last words: {self._tail()}")

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

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return " | ".join(lines[-LOG_TAIL_LINES:]) or "(none)"


def _events(stream: IO[str] | None) -> Iterator[dict[str, Any]]:
    for line in stream or ():
        if line.startswith(RECORD):
            yield json.loads(line[1:])


def _error(event: dict[str, Any]) -> VerifyError:
    kind = getattr(errors, str(event.get("type")), EngineError)
    return kind(event["message"]) if issubclass(kind, VerifyError) else EngineError(event["message"])


def _ending(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (often: out of memory; try a smaller engine.batch_size)" if name == "SIGKILL" else ""
        return f"the signal {name}{hint}"
    return f"exit code {code}"
