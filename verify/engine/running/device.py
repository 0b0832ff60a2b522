"""The device, the threads and the processes of one worker: Accelerate owns them."""

from __future__ import annotations

import resource
import sys
from datetime import timedelta
from typing import Any

from verify.engine.job import Job
from verify.errors import EngineError

_OUT_OF_MEMORY = ("out of memory", "DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED")
_PATIENCE = timedelta(days=30)  # a process that dies ends the others; one that is merely slower must not


def accelerator_for(job: Job) -> Any:
    """An `accelerate.Accelerator` on the device and with the processes that the job asks for.

    Raises EngineError if there is no such device, or if another number of processes was started.
    """
    import torch
    from accelerate import Accelerator, InitProcessGroupKwargs

    torch.set_num_threads(job.threads)
    torch.backends.cudnn.allow_tf32 = False
    wanted = job.device.partition(":")[0]
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EngineError(
            "engine.device=cuda was asked for, but this installation of torch sees no CUDA device. Use "
            "engine.device=auto, or install a CUDA build of torch."
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise EngineError("engine.device=mps was asked for, but there is none here. Use engine.device=auto.")
    on_cpu = wanted == "cpu" or not torch.accelerator.is_available()  # auto, several processes: must be said
    patient = InitProcessGroupKwargs(timeout=_PATIENCE)
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no", kwargs_handlers=[patient])
    if accelerator.num_processes != job.processes:
        raise EngineError(
            f"{job.processes} processes were asked for and {accelerator.num_processes} started. Nothing was measured."
        )
    if ":" in job.device:
        accelerator.state.device = torch.device(job.device)
    return accelerator


def peak_memory(device: Any) -> int:
    """The most memory in bytes that this process has held so far: of the GPU, or of the machine for the CPU."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: Exception) -> bool:
    """Torch says "out of memory" on CUDA, cuBLAS has words of its own, and the CPU allocator only its name."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)
