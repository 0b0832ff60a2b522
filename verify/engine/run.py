"""One job: load data and model, run every pending example once, then a share of them in a second configuration."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.adaptive import notes_on, recorded, run_adaptive
from verify.engine.assembled import assembled
from verify.engine.device import accelerator_for, is_out_of_memory
from verify.engine.job import Emit, Job, Prepared, module_of
from verify.engine.load import notes_of, require_plausible
from verify.engine.loop import Loop
from verify.engine.plan import complete_prefix, example_order
from verify.engine.watch import watched
from verify.errors import EngineError, StoreError
from verify.store import PREDICTIONS, PROBE, RunFolder
from verify.tasks.data import Examples, load_examples

EXACT, ADAPTIVE = "exact", "adaptive"


@dataclass(frozen=True)
class Ready:
    """A job that lacks nothing but its device: the data are loaded, the inputs of ``rows`` made, and so is the model.

    The model is still in the machine's memory, unless the job spreads it over several devices.
    """

    job: Job
    prepared: Prepared
    examples: Examples
    rows: NDArray[np.int64]
    accelerator: Any


def run(job: Job, emit: Emit) -> None:
    """Bring the run folder up to date with the job. ``emit`` receives progress events.

    Raises a VerifyError (BlockedError, NotComparableError, DataError, EngineError, StoreError) on any failure.
    """
    execute(ready(job, emit), emit)


def ready(job: Job, emit: Emit) -> Ready:
    """Everything of a job that needs no device. Raises a VerifyError as :func:`run` does."""
    emit({"event": "stage", "stage": "loading the data"})
    examples = load_examples(job.task, job.split, job.dataset_revision, first=job.first)
    examples.require_references()
    rows = example_order(len(examples), job.seed, job.limit)

    emit({"event": "stage", "stage": "loading the model"})
    accelerator = accelerator_for(job)
    return Ready(job, prepare(job, examples, rows, accelerator), examples, rows, accelerator)


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], accelerator: Any) -> Prepared:
    """Load the model and make the inputs of ``rows`` ready, by the module of the task's kind."""
    kind = importlib.import_module(f"verify.engine.{module_of(job.task.kind)}")
    with watched(job.model_folder, job.files, job.run_folder, base=job.base_folder):
        job = replace(job, model_folder=assembled(job))
        require_plausible(job.model_folder)
        prepared: Prepared = kind.prepare(job, examples, rows, accelerator.device.type)
    return prepared


def execute(ready: Ready, emit: Emit) -> None:
    """Run what the store lacks of the rows, then the share of them that runs in a second configuration.

    Raises a VerifyError as :func:`run` does.
    """
    job, prepared, rows, accelerator = ready.job, ready.prepared, ready.rows, ready.accelerator
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
        raise EngineError(
            f"The time of budget={(job.budget or 0) / 60:g} minutes ran out before the first block of examples was "
            "done. What was done is kept; give it more time and run the same command again."
        )
    probed = np.setdiff1d(probe_examples(folder, done, job.probe_share), folder.examples(PROBE))
    loop.deadline, loop.may_stop = None, False
    loop.over(probed, PROBE, emit, model=model, batch_size=1 if job.batch_size != 1 else None)


def probe_examples(folder: RunFolder, rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The examples to run again in a second configuration.

    Of decisions those nearest to another one, for only they can flip; of numbers the first of the seeded order.
    """
    stored = folder.predictions(PREDICTIONS, rows)
    if stored is None or share == 0 or len(rows) == 0:
        return np.empty(0, dtype=np.int64)
    count = max(round(share * len(rows)), 1)
    margins = stored.margins()
    if margins is None:
        return rows[:count]
    nearest: NDArray[np.int64] = np.sort(stored.example[np.argsort(margins, kind="stable")[:count]])
    return nearest


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
