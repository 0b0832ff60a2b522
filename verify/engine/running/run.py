"""One job: load data and model, run every pending example once, then a share of them in a second configuration."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Job, Prepared, module_of
from verify.engine.loading.assembled import assembled
from verify.engine.loading.load import notes_of, require_plausible
from verify.engine.loading.watch import watched
from verify.engine.running.adaptive import notes_on, recorded, run_adaptive
from verify.engine.running.bounds import out_of_time
from verify.engine.running.device import accelerator_for, is_out_of_memory
from verify.engine.running.loop import Loop
from verify.engine.running.plan import complete_prefix, example_order
from verify.errors import EngineError, StoreError
from verify.hub.states import require_unchanged
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.tasks.data import Examples, load_examples
from verify.types import Emit

EXACT, ADAPTIVE = "exact", "adaptive"

PROBE_COST = 2.0
"""How much longer an example takes in the second configuration, one at a time, for which time is kept."""

FIRST_PROBED = 8
"""Examples that run a second time even if the time allowed is over: without any, nothing tells how sure a score is."""


@dataclass(frozen=True)
class Ready:
    """A job that lacks nothing but its device: the data are loaded, the inputs of ``rows`` made, and so is the model.

    The model is still in the machine's memory, unless the job spreads it over several devices. ``seconds`` is what it
    took so far of the time that the job has; waiting for the device is no part of it.
    """

    job: Job
    prepared: Prepared
    examples: Examples
    rows: NDArray[np.int64]
    accelerator: Any
    seconds: float = 0.0


def run(job: Job, emit: Emit) -> None:
    """Bring the run folder up to date with the job. ``emit`` receives progress events.

    Raises a VerifyError (BlockedError, NotComparableError, DataError, EngineError, StoreError) on any failure.
    """
    execute(ready(job, emit), emit)


def ready(job: Job, emit: Emit) -> Ready:
    """Everything of a job that needs no device. Raises a VerifyError as :func:`run` does."""
    _import_libraries()
    begun = time.monotonic()
    emit({"event": "stage", "stage": "loading the data"})
    examples = load_examples(job.task, job.split, job.dataset_revision, first=job.first)
    examples.require_references()
    rows = example_order(len(examples), job.seed, job.limit)

    emit({"event": "stage", "stage": "loading the model"})
    accelerator = accelerator_for(job)
    prepared = prepare(job, examples, rows, accelerator)
    return Ready(job, prepared, examples, rows, accelerator, seconds=time.monotonic() - begun)


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], accelerator: Any) -> Prepared:
    """Load the model and make the inputs of ``rows`` ready, by the module of the task's kind."""
    kind = importlib.import_module(f"verify.engine.kinds.{module_of(job.task.kind)}")
    with watched(job.model_folder, job.files, job.run_folder, base=job.base_folder):
        job = replace(job, model_folder=assembled(job))
        require_plausible(job.model_folder)
        prepared: Prepared = kind.prepare(job, examples, rows, accelerator.device.type)
    require_unchanged(job.states)
    return prepared


def execute(ready: Ready, emit: Emit) -> None:
    """Run what the store lacks of the rows, then the share of them that runs in a second configuration.

    Raises a VerifyError as :func:`run` does.
    """
    job, prepared, rows, accelerator = ready.job, ready.prepared, ready.rows, ready.accelerator
    begun = time.monotonic() - ready.seconds
    emit({"event": "stage", "stage": "placing the model"})
    folder = RunFolder(Path(job.run_folder))
    info = _info(job, prepared, ready.examples, accelerator)
    if accelerator.is_main_process:
        folder.tidy()
        folder.go_on()
        certified = (folder.info() or {}).get("certificate")
        folder.write_info({**info, "certificate": certified} if certified else info)
    model = _placed(prepared.model, accelerator)

    loop = Loop(job, prepared, folder, rows, accelerator)
    if job.budget is not None:
        left = max(begun + job.budget - time.monotonic(), 0.0)
        loop.deadline = time.monotonic() + left / (1 + PROBE_COST * job.probe_share)
    if job.precision == ADAPTIVE:
        certificate = run_adaptive(loop, model, emit)
        if certificate is not None and accelerator.is_main_process:
            folder.write_info({**info, "certificate": recorded(certificate)})
    else:
        missing = np.setdiff1d(rows, folder.examples(PREDICTIONS))
        loop.over(missing, PREDICTIONS, emit, model=model, batch_size=job.batch_size)
    done = rows[: complete_prefix(rows, folder.examples(PREDICTIONS))]
    lost = int((~np.isin(rows, folder.examples(PREDICTIONS))).sum())
    if lost and job.budget is None and not folder.is_asked_to_stop():
        raise StoreError(
            f"{lost} of {len(rows)} rows have vanished from {folder.path} while it was written. Leave "
            "the folder alone while a command runs, and run the same command again."
        )
    if len(done) == 0 and len(rows):
        raise out_of_time(job)
    loop.deadline, loop.may_stop = None, False
    nearest = probe_examples(folder, done, job.probe_share, in_order=True)
    for probed in _portions(nearest, bounded=job.budget is not None):
        missing = np.setdiff1d(probed, folder.examples(PROBE))
        loop.over(missing, PROBE, emit, model=model, batch_size=1 if job.batch_size != 1 else None)
        loop.deadline = begun + job.budget if job.budget is not None else None


def probe_examples(
    folder: RunFolder, rows: NDArray[np.int64], share: float, *, in_order: bool = False
) -> NDArray[np.int64]:
    """The examples to run again in a second configuration.

    Of decisions those nearest to another one, for only they can flip; of numbers the first of the seeded order.
    ``in_order`` lists the nearest first, else they ascend.
    """
    stored = folder.predictions(PREDICTIONS, rows)
    if stored is None or share == 0 or len(rows) == 0:
        return np.empty(0, dtype=np.int64)
    count = max(round(share * len(rows)), 1)
    margins = stored.margins()
    if margins is None:
        return rows[:count]
    nearest: NDArray[np.int64] = stored.example[np.argsort(margins, kind="stable")[:count]]
    return nearest if in_order else np.sort(nearest)


def _portions(examples: NDArray[np.int64], *, bounded: bool) -> Iterator[NDArray[np.int64]]:
    """The examples at once, or in growing portions where the time may run out: then the first are done first."""
    if not bounded:
        yield examples
        return
    start, size = 0, FIRST_PROBED
    while start < len(examples):
        yield examples[start : start + size]
        start, size = start + size, 2 * size


def _import_libraries() -> None:
    """Import what every job needs; from a slow disk that takes minutes, which count in nobody's budget."""
    import accelerate  # noqa: F401
    import datasets  # noqa: F401
    import transformers  # noqa: F401


def _placed(model: Any, accelerator: Any) -> Any:
    """The model on the accelerator's device; one that a device map has spread stays where it is."""
    if getattr(model, "hf_device_map", None) is not None:
        return model
    try:
        return accelerator.prepare_model(model, evaluation_mode=True, device_placement=True)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise EngineError(
            f"The model does not fit into the memory of {accelerator.device}. Spread it over every device with "
            "engine.device_map=auto, halve its size with engine.dtype=bfloat16, or use engine.device=cpu."
        ) from error


def _info(job: Job, prepared: Prepared, examples: Examples, accelerator: Any) -> dict[str, Any]:
    import accelerate
    import datasets
    import torch
    import transformers

    device = accelerator.device
    how = [prepared.info["label_alignment"]] if "label_alignment" in prepared.info else []
    how += notes_on(device) if job.precision == ADAPTIVE else []
    return {
        "schema": 2,
        "family": prepared.family,
        "population": len(examples),
        **prepared.info,
        "notes": [*examples.notes, *how, *prepared.notes, *notes_of(prepared.model)],
        "preprocessing": prepared.settings,
        "dataset_fingerprint": getattr(examples.table, "_fingerprint", None),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "device_map": _placement(prepared.model),
        "dtype": str(prepared.model.dtype).removeprefix("torch."),
        "precision": job.precision,
        "attention": getattr(prepared.model.config, "_attn_implementation", None),
        "processes": accelerator.num_processes,
        "threads": job.threads,
        "versions": {module.__name__: module.__version__ for module in (accelerate, datasets, torch, transformers)},
    }


def _placement(model: Any) -> dict[str, int] | None:
    """How many parts of a spread model lie on each device; None for a model on one device."""
    parts = getattr(model, "hf_device_map", None)
    if parts is None:
        return None
    places = [str(place) for place in parts.values()]
    return {place: places.count(place) for place in sorted(set(places))}
