"""The process that runs jobs: ``python -m verify.engine.worker JOBS.json``.

A job that fails does not keep the others from running, and a model is loaded once for all its jobs.

It reports on standard output, one JSON object a line, each line opened by the record separator of RFC 7464, so that
anything that a library prints cannot be taken for a report.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from verify.engine.job import jobs_from_json
from verify.errors import VerifyError

RECORD = "\x1e"


def main() -> int:
    report = sys.stdout

    def emit(event: Mapping[str, Any]) -> None:
        report.write(f"{RECORD}{json.dumps(event)}\n")
        report.flush()

    with contextlib.redirect_stdout(sys.stderr):
        jobs = jobs_from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
        failed = False
        for index, job in enumerate(jobs):
            try:
                from verify.engine.run import run

                run(job, partial(_tagged, emit, index))
                emit({"event": "done", "job": index})
                continue
            except VerifyError as error:
                emit({"event": "failed", "job": index, "type": type(error).__name__, "message": str(error)})
            except KeyboardInterrupt:
                return 130
            except Exception as error:
                traceback.print_exc()
                message = f"{type(error).__name__}: {error}"
                emit({"event": "failed", "job": index, "type": "EngineError", "message": message})
            failed = True
            if job.processes > 1:  # the other processes wait for this one: only a fresh start gets them out
                return 1
    return int(failed)


def _tagged(emit: Callable[[Mapping[str, Any]], None], job: int, event: Mapping[str, Any]) -> None:
    emit({"job": job, **event})


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # everything is on disk; taking torch apart in order would cost the user another second
