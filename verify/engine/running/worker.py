"""The process that runs jobs: ``python -m verify.engine.running.worker JOBS.json``.

A job that fails does not keep the others from running, and a model is loaded once for all its jobs.

It reports on standard output, one JSON object a line, each line opened by the record separator of RFC 7464, so that
anything that a library prints cannot be taken for a report. Once nobody reads the reports it ends, with what it has
done.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from verify.engine.inputs.bounded_tokenizer import has_left_a_call
from verify.engine.job import Job, jobs_from_json
from verify.engine.loading.load import OFFLOAD
from verify.engine.loading.view import close_views
from verify.engine.running.attempt import attempt
from verify.processes.lifeline import without_input
from verify.store.locking import keep
from verify.types import Emit

RECORD = "\x1e"


def main() -> int:
    report = sys.stdout
    without_input()

    def emit(event: Mapping[str, Any]) -> None:
        report.write(f"{RECORD}{json.dumps(event)}\n")
        report.flush()

    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("verify").setLevel(logging.INFO)
    with contextlib.redirect_stdout(sys.stderr):
        jobs = jobs_from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
        for job in jobs:
            keep(Path(job.run_folder))
        try:
            return _run(jobs, emit)
        finally:
            close_views()
            for job in jobs:
                shutil.rmtree(Path(job.run_folder) / OFFLOAD, ignore_errors=True)


def _run(jobs: Sequence[Job], emit: Emit) -> int:
    failed = False
    for index, job in enumerate(jobs):
        try:
            error = attempt(partial(_run_job, job, partial(_tagged, emit, index)))
            if error is None:
                emit({"event": "done", "job": index})
                continue
            emit({"event": "failed", "job": index, "type": type(error).__name__, "message": str(error)})
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:
            return 141
        failed = True
        if job.processes > 1:  # the other processes wait for this one: only a fresh start gets them out
            return 1
        if has_left_a_call():
            return 1
    return int(failed)


def _run_job(job: Job, emit: Emit) -> None:
    from verify.engine.running.run import run  # here, for what cannot be imported fails the job, too

    run(job, emit)


def _tagged(emit: Emit, job: int, event: Mapping[str, Any]) -> None:
    emit({"job": job, **event})


if __name__ == "__main__":
    exit_code = main()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(exit_code)  # everything is on disk; taking torch apart in order would cost the user another second
