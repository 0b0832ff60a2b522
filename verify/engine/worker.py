"""The process that runs a job: ``python -m verify.engine.worker JOB.json``.

It reports on standard output, one JSON object a line, each line opened by the record separator of RFC 7464, so that
anything that a library prints cannot be taken for a report.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.engine.job import Job
from verify.errors import VerifyError

RECORD = "\x1e"


def main() -> int:
    report = sys.stdout

    def emit(event: Mapping[str, Any]) -> None:
        report.write(f"{RECORD}{json.dumps(event)}\n")
        report.flush()

    with contextlib.redirect_stdout(sys.stderr):
        try:
            job = Job.from_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
            from verify.engine.run import run

            run(job, emit)
        except VerifyError as error:
            emit({"event": "failed", "type": type(error).__name__, "message": str(error)})
            return 1
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            traceback.print_exc()
            emit({"event": "failed", "type": "EngineError", "message": f"{type(error).__name__}: {error}"})
            return 1
    return 0


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # everything is on disk; taking torch apart in order would cost the user another second
