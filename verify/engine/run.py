"""The loop: every pending example through the model once, then a share of them in a second configuration.

Accelerate owns the device and the processes. Rows carry the example's number and are flushed to the store in shards, so
a run that was killed goes on where it stopped, also with another batch size or number of processes.
"""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Emit, Job, Prepared
from verify.engine.plan import example_order, make_batches, smallest_margins
from verify.errors import EngineError, NotComparableError
from verify.store import PREDICTIONS, PROBE, RunFolder
from verify.tasks.data import Examples, load_examples
from verify.tasks.labels import align_labels

SHARD_ROWS = 2048
SHARD_SECONDS = 10.0


def run(job: Job, emit: Emit) -> None:
    """Bring the run folder up to date with the job. ``emit`` receives progress events.

    Raises a VerifyError (BlockedError, NotComparableError, DataError, EngineError, StoreError) on any failure.
    """
    emit({"event": "stage", "stage": "loading the data"})
    examples = load_examples(job.task, job.split, job.dataset_revision, first=job.first)
    references = np.array(examples.references(), dtype=np.float64 if examples.is_regression else np.int64)
    rows = example_order(len(examples), job.seed, job.limit)

    emit({"event": "stage", "stage": "loading the model"})
    accelerator = _accelerator(job)
    device = accelerator.device
    kind = importlib.import_module(f"verify.engine.{job.task.kind.replace('-', '_')}")
    prepared: Prepared = kind.prepare(job, examples, rows, device.type)
    labels, how = _aligned(job, prepared, examples, references)
    folder = RunFolder(Path(job.run_folder))
    if accelerator.is_main_process:
        folder.write_info(_info(job, prepared, examples, accelerator, labels, how))
    model = accelerator.prepare_model(prepared.model, evaluation_mode=True)

    loop = _Loop(job, prepared, model, device, folder, references, rows, accelerator)
    loop.over(_missing(folder, PREDICTIONS, rows), PREDICTIONS, job.batch_size, emit)
    probed = probe_examples(folder, rows, job.probe_share)
    loop.over(_missing(folder, PROBE, probed), PROBE, 1 if job.batch_size != 1 else None, emit)
    accelerator.end_training()


def probe_examples(folder: RunFolder, rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The examples to run again in a second configuration.

    Of a classifier those nearest to a tie, for only they can flip; of a regression the first of the seeded order.
    """
    stored = folder.rows(PREDICTIONS)
    if stored is None or share == 0:
        return np.empty(0, dtype=np.int64)
    count = max(round(share * len(rows)), 1)
    if stored["logits"].shape[1] < 2:
        return rows[:count]
    chosen = np.isin(stored["example"], rows)
    nearest: NDArray[np.int64] = stored["example"][chosen][smallest_margins(stored["logits"][chosen], count)]
    return nearest


class _Loop:
    """One pass over a set of positions, shared out among the processes."""

    def __init__(
        self,
        job: Job,
        prepared: Prepared,
        model: Any,
        device: Any,
        folder: RunFolder,
        references: NDArray[Any],
        rows: NDArray[np.int64],
        accelerator: Any,
    ) -> None:
        self.prepared, self.model, self.device, self.folder = prepared, model, device, folder
        self.references, self.rows = references, rows
        self.accelerator = accelerator
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.token_budget = job.token_budget or prepared.token_budget

    def over(self, examples: NDArray[np.int64], kind: str, batch_size: int | None, emit: Emit) -> None:
        """Run ``examples`` and append their rows to the store under ``kind``.

        Every process must have seen the same store when it chose ``examples``, so all wait for each other before the
        first row is written and after the last one.
        """
        self.accelerator.wait_for_everyone()
        positions = np.flatnonzero(np.isin(self.rows, examples))
        lengths = self.prepared.lengths[positions]
        batches = make_batches(lengths, token_budget=self.token_budget, batch_size=batch_size)
        mine = batches[self.rank :: self.world]
        total = sum(len(batch) for batch in mine)
        emit({"event": "start", "pass": kind, "rank": self.rank, "total": total, "process": os.getpid()})
        waiting: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        started = flushed = time.monotonic()
        done = 0
        try:
            for batch in mine:
                inside = positions[batch]
                waiting.append((inside, self._logits(inside)))
                done += len(batch)
                emit({"event": "rows", "pass": kind, "rank": self.rank, "done": done, "total": total})
                if sum(len(part) for part, _ in waiting) >= SHARD_ROWS or time.monotonic() - flushed > SHARD_SECONDS:
                    self._flush(kind, waiting)
                    waiting, flushed = [], time.monotonic()
        finally:
            self._flush(kind, waiting)
        self.accelerator.wait_for_everyone()
        emit({"event": "end", "pass": kind, "rank": self.rank, "seconds": time.monotonic() - started})

    def _flush(self, kind: str, waiting: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> None:
        if not waiting:
            return
        examples = self.rows[np.concatenate([part for part, _ in waiting])]
        logits = np.concatenate([logits for _, logits in waiting])
        self.folder.append(kind, {"example": examples, "logits": logits, "reference": self.references[examples]})

    def _logits(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Logits [n, C] of some positions; halves the batch as often as memory demands."""
        import torch

        try:
            with torch.inference_mode():
                inputs = {
                    name: value.to(self.device) for name, value in self.prepared.collate(positions.tolist()).items()
                }
                for name, value in inputs.items():
                    if value.is_floating_point():
                        inputs[name] = value.to(self.model.dtype)
                logits = self.model(**inputs).logits.float().cpu().numpy()
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            if len(positions) == 1:
                raise EngineError(
                    f"One example alone does not fit into the memory of {self.device}. Choose another device with "
                    "engine.device=cpu, or a smaller input with override.max_length=N."
                ) from error
            half = len(positions) // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            return np.concatenate([self._logits(positions[:half]), self._logits(positions[half:])])
        if not np.isfinite(logits).all():
            raise EngineError(
                "The model returns values that are not finite (NaN or infinite). If it was run in half precision, "
                "try engine.dtype=float32; otherwise its weights are damaged."
            )
        return np.asarray(logits, dtype=np.float32)


def _out_of_memory(error: Exception) -> bool:
    """On CUDA torch raises OutOfMemoryError; its CPU allocator raises a plain RuntimeError with this name in it."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "DefaultCPUAllocator" in str(error)


def _accelerator(job: Job) -> Any:
    import torch
    from accelerate import Accelerator

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
    accelerator = Accelerator(cpu=on_cpu, mixed_precision="no")
    if accelerator.num_processes != job.processes:
        raise EngineError(
            f"{job.processes} processes were asked for and {accelerator.num_processes} started. Nothing was measured."
        )
    if ":" in job.device:
        accelerator.state.device = torch.device(job.device)
    return accelerator


def _aligned(
    job: Job, prepared: Prepared, examples: Examples, references: NDArray[Any]
) -> tuple[tuple[int, ...] | None, str]:
    if examples.is_regression != (prepared.model_labels is None):
        has, needs = ("classes", "a number") if examples.is_regression else ("one number", "classes")
        raise NotComparableError(f"The model gives {has} and the task {job.task.name} asks for {needs}.")
    if prepared.model_labels is None:
        return None, "regression: no classes to align"
    classes, largest = len(prepared.model_labels), int(references.max(initial=0))
    if examples.labels is None and largest >= classes:
        raise NotComparableError(
            f"The data hold the label {largest}, and the model's {classes} classes have the ids 0 to {classes - 1}. "
            "Name the data's classes under labels in the task file, or use data whose labels begin at 0."
        )
    alignment = align_labels(prepared.model_labels, examples.labels, job.task.label_aliases)
    return alignment.label_of_logit, alignment.how


def _missing(folder: RunFolder, kind: str, examples: NDArray[np.int64]) -> NDArray[np.int64]:
    stored = folder.rows(kind)
    return examples if stored is None else np.setdiff1d(examples, stored["example"])


def _info(
    job: Job,
    prepared: Prepared,
    examples: Examples,
    accelerator: Any,
    label_of_logit: tuple[int, ...] | None,
    how: str,
) -> dict[str, Any]:
    import accelerate
    import datasets
    import torch
    import transformers

    device = accelerator.device
    return {
        "schema": 1,
        "population": len(examples),
        "model_labels": prepared.model_labels,
        "data_labels": examples.labels,
        "label_of_logit": label_of_logit,
        "label_alignment": how,
        "notes": [*examples.notes, how, *prepared.notes],
        "preprocessing": prepared.settings,
        "dataset_fingerprint": getattr(examples.table, "_fingerprint", None),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "dtype": str(prepared.model.dtype).removeprefix("torch."),
        "processes": accelerator.num_processes,
        "threads": job.threads,
        "versions": {module.__name__: module.__version__ for module in (accelerate, datasets, torch, transformers)},
    }
