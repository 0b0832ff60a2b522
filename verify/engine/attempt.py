"""Running one job so that its failure is a result, whatever it is."""

from __future__ import annotations

import contextlib
import traceback

from verify.engine.job import Emit, Job
from verify.errors import EngineError, VerifyError


def attempt(job: Job, emit: Emit) -> VerifyError | None:
    """Run a job; None if it is done, else what failed. Only what must end the process is raised."""
    try:
        from verify.engine.run import run

        run(job, emit)
    except VerifyError as error:
        return error
    except BrokenPipeError:
        raise
    except Exception as error:
        with contextlib.suppress(OSError):  # the log may lie on a full disk
            traceback.print_exc()
        return EngineError(f"{type(error).__name__}: {' '.join(str(error).split())[:1000]}")
    return None
