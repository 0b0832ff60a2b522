"""The two processes of the engine's benchmark, and what one of them does: the engine.

Each process answers requests over a pipe, one at a time, and only one of them computes at a time. The engine's has the
environment that our workers get, the peers' has the user's own.
"""

from __future__ import annotations

import copy
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.engine import models as engine_models
from benchmarks.engine.models import SPLIT, Subject

MATRIX, MATRIX_REPEATS = 2048, 5
WAYS: Mapping[str, Mapping[str, str]] = {"float32": {}, "adaptive": {"precision": "adaptive"}}
"""The engine's own settings, by name: fields of a job."""


class Side:
    """A process that serves one object, made there by ``make(*given)``; calls on this are calls on that."""

    def __init__(self, make: Callable[..., Any], given: tuple[Any, ...], environment: Mapping[str, str]) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make, given), daemon=True)
        before = dict(os.environ)
        os.environ.update(environment)  # glibc and OpenMP read theirs as the process starts
        try:
            self._process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()

    def call(self, name: str, *given: Any) -> Any:
        """What the method ``name`` of the object returns. Raises RuntimeError with the other side's traceback."""
        self._connection.send((name, given))
        try:
            result, error = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"The other process ended with exit code {self._process.exitcode}.") from None
        if error is not None:
            raise RuntimeError(f"The other process failed:\n{error}")
        return result

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=10)
        self._process.kill()


def _serve(connection: Any, make: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        served, failed = make(*given), None
    except Exception:
        served, failed = None, traceback.format_exc()
    while True:
        try:
            name, values = connection.recv()
        except EOFError:
            return
        try:
            connection.send((getattr(served, name)(*values) if failed is None else None, failed))
        except Exception:
            connection.send((None, traceback.format_exc()))


def quiet() -> None:
    """No progress bars and no advice from the libraries."""
    import datasets
    import transformers

    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


class Engine:
    """The engine on one subject after the other, from examples in memory to stored and read-back predictions."""

    def __init__(self, device: str, threads: int, scratch: str) -> None:
        import torch

        quiet()
        torch.set_num_threads(threads)
        self._device, self._threads, self._scratch, self._runs = device, threads, Path(scratch), count()

    def make(self, maker: str, name: str, size: int) -> Subject:
        """Make a subject by a function of `engine_models`, and load its data."""
        from verify.engine.job import Job
        from verify.engine.running.device import accelerator_for
        from verify.engine.running.plan import example_order
        from verify.tasks.data import load_examples
        from verify.tasks.kinds import KINDS
        from verify.types import DatasetSource, TaskSpec

        subject: Subject = getattr(engine_models, maker)(self._scratch / name, size)
        task = TaskSpec(
            name="bench",
            kind=subject.kind,
            dataset=DatasetSource("parquet", split=SPLIT, data_files={SPLIT: subject.data}),
            columns=subject.columns,
            metrics=KINDS[subject.kind].metrics,
            file="bench.yaml",
            labels=subject.labels,
            settings=subject.settings,
        )
        self._job = Job(subject.model, task, SPLIT, "", probe_share=0.0, device=self._device, threads=self._threads)
        self._examples = load_examples(task, SPLIT)
        self._order = example_order(len(self._examples), self._job.seed)
        self._accelerator = accelerator_for(self._job)
        self._labels = subject.labels
        return subject

    def run(self, way: str) -> tuple[float, list[Any]]:
        """Seconds from the examples to the predictions, and these in the order of the rows."""
        from verify.engine.running.run import Ready, execute, prepare
        from verify.metrics.flips.budget import decisions
        from verify.store.runs import PREDICTIONS, RunFolder

        folder = self._scratch / "runs" / str(next(self._runs))
        job = replace(self._job, run_folder=str(folder), **WAYS[way])
        self._synchronise()
        started = time.perf_counter()
        prepared = prepare(job, self._examples, self._order, self._accelerator)
        execute(Ready(job, prepared, self._examples, self._order, self._accelerator), lambda event: None)
        found = decisions(RunFolder(folder).predictions(PREDICTIONS)).tolist()
        seconds = time.perf_counter() - started
        if self._job.task.kind == "token-classification":
            found = [one.split("\0") for one in found]
        elif self._labels is not None:
            found = [self._labels[label] for label in found]
        return seconds, found

    def certificate(self) -> dict[str, float]:
        """What the last run in adaptive precision recorded."""
        from verify.store.runs import RunFolder

        folders = sorted((self._scratch / "runs").iterdir(), key=lambda folder: int(folder.name), reverse=True)
        infos = (RunFolder(folder).info() or {} for folder in folders)
        return next(info["certificate"] for info in infos if "certificate" in info)

    def lengths(self) -> dict[str, float]:
        """The tokens of the inputs, and which share (a fraction) of the places in the engine's batches is padding."""
        from verify.engine.running.plan import blocks, make_batches
        from verify.engine.running.run import prepare

        prepared = prepare(self._job, self._examples, self._order, self._accelerator)
        lengths = prepared.lengths
        places = 0
        for block in blocks(len(lengths)):
            for batch in make_batches(
                lengths[block], token_budget=prepared.token_budget, overhead=prepared.batch_overhead
            ):
                places += len(batch) * int(lengths[block][batch].max())
        centiles = dict(zip(("median", "90th", "99th", "most"), np.percentile(lengths, (50, 90, 99, 100)), strict=True))
        return {"mean": lengths.mean(), **centiles, "padding": 1 - lengths.sum() / places}

    def operations(self) -> float:
        """Floating-point operations that the inputs need by themselves, without padding: those of matrix products.

        torch counts them on a model without weights, in which attention is spelt out.
        """
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        from verify.engine.running.run import prepare

        prepared = prepare(self._job, self._examples, self._order, self._accelerator)
        with torch.device("meta"):
            config = copy.deepcopy(prepared.model.config)
            model = type(prepared.model)._from_config(config, attn_implementation="eager").eval()
        total = 0
        for length, inputs in zip(*np.unique(prepared.lengths, return_counts=True), strict=True):
            ids = torch.zeros(1, int(length), dtype=torch.int64, device="meta")
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                model(input_ids=ids)
            total += counter.get_total_flops() * int(inputs)
        return float(total)

    def matrix_rate(self) -> float:
        """Floating-point operations a second of a float32 product of two square matrices, the machine's limit."""
        import torch

        left, right = (torch.rand(MATRIX, MATRIX, device=self._device) for _ in range(2))
        seconds = []
        for _ in range(MATRIX_REPEATS + 1):
            self._synchronise()
            started = time.perf_counter()
            torch.mm(left, right)
            self._synchronise()
            seconds.append(time.perf_counter() - started)
        return 2 * MATRIX**3 / float(np.median(seconds[1:]))

    def _synchronise(self) -> None:
        import torch

        if self._device.startswith("cuda"):
            torch.cuda.synchronize()
