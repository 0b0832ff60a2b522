"""Running the jobs of a model in this process, whose imports are ready for the next model."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from verify.engine.attempt import attempt
from verify.engine.job import Emit, Job
from verify.engine.launch import run_jobs
from verify.engine.load import OFFLOAD, forget
from verify.errors import VerifyError


def run_here(jobs: Sequence[Job], emit: Emit) -> list[VerifyError | None]:
    """Run jobs as :func:`verify.engine.launch.run_jobs` does, but that a death of the process is the caller's.

    The model is loaded once and given up afterwards. Jobs that ask for several processes get workers of their own.
    """
    if not jobs or any(job.processes > 1 for job in jobs):
        return run_jobs(jobs, emit)
    try:
        return [attempt(job, partial(_numbered, emit, index)) for index, job in enumerate(jobs)]
    finally:
        for job in jobs:
            shutil.rmtree(Path(job.run_folder) / OFFLOAD, ignore_errors=True)
        _forget_model()


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
