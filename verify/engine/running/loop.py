"""The loop: examples through the model in batches, and their rows to the store in shards.

Rows carry the example's number, so a run that was killed goes on where it stopped, also with another batch size or
number of processes.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Job, Prepared
from verify.engine.running.device import is_out_of_memory, peak_memory
from verify.engine.running.lanes import computed, lanes_for
from verify.engine.running.packed import packed
from verify.engine.running.plan import blocks, make_batches, share
from verify.errors import EngineError
from verify.store.predictions import CLASSES
from verify.store.runs import PROBE, RunFolder
from verify.types import Emit

_log = logging.getLogger(__name__)

SHARD_ROWS = 4096
SHARD_SECONDS = 0.5
SHARD_SHARE = 0.02
"""A shard is written after half a second, or after this share of the time so far: what a kill can lose stays in
proportion, and long runs do not end in thousands of files. Writing may take the same share of the time, so a slow disk
gets fewer and larger shards."""

ESTIMATE_SECONDS = 0.5


@dataclass
class _Progress:
    """What one pass has done so far in this process; ``tokens`` are those of the inputs, without padding.

    ``all_examples`` and ``all_tokens`` are those of all processes together.
    """

    started: float
    total: int
    tokens: int
    all_examples: int
    all_tokens: int
    done: int = 0
    done_tokens: int = 0
    estimated: bool = False


class Loop:
    """Passes over examples, shared out among the processes."""

    def __init__(
        self, job: Job, prepared: Prepared, folder: RunFolder, rows: NDArray[np.int64], accelerator: Any
    ) -> None:
        self.job, self.prepared, self.folder, self.rows = job, prepared, folder, rows
        self.accelerator, self.device = accelerator, accelerator.device
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.token_budget = max(int((job.token_budget or prepared.token_budget) * job.token_share), 1)
        owner = np.arange(len(rows)) if prepared.owner is None else np.asarray(prepared.owner, dtype=np.int64)
        self._first_unit = np.searchsorted(owner, np.arange(len(rows) + 1))
        self._owner = owner
        summed = np.concatenate([[0], np.cumsum(prepared.lengths)])
        self._costs = summed[self._first_unit[1:]] - summed[self._first_unit[:-1]]
        side_by_side = (
            prepared.concurrent and self.device.type == "cpu" and not hasattr(prepared.model, "hf_device_map")
        )
        self.lanes = lanes_for(job.threads) if side_by_side else 1
        self.deadline = time.monotonic() + job.budget if job.budget is not None else None
        self.may_stop = job.may_stop
        self._fits: int | None = None

    def over(
        self, examples: NDArray[np.int64], kind: str, emit: Emit, *, model: Any, batch_size: int | None = None
    ) -> bool:
        """Run ``examples`` and append their rows to the store under ``kind``.

        Returns False if the time ran out, or somebody asked to stop, before the end, in this process or another: all
        go on in the same way. A run that may be asked to stop stores and reports each block as soon as it is done.

        Every process must have seen the same store when it chose ``examples``, so all wait for each other before the
        first row is written and after the last one.
        """
        self.accelerator.wait_for_everyone()
        positions = np.flatnonzero(np.isin(self.rows, examples))
        costs = self._costs[positions]
        mine = [
            positions[block][share(costs[block], self.rank, self.world)]
            for block in blocks(len(positions), small=self.deadline is not None or self.may_stop)
        ]
        progress = _Progress(
            time.monotonic(),
            sum(len(part) for part in mine),
            int(sum(self._costs[part].sum() for part in mine)),
            all_examples=len(positions),
            all_tokens=int(costs.sum()),
        )
        emit(
            {
                "event": "start",
                "pass": kind,
                "rank": self.rank,
                "total": progress.total,
                "tokens": progress.tokens,
                "process": os.getpid(),
            }
        )
        finished = self._everywhere(self._run(mine, kind, model, batch_size, progress, emit))
        emit({"event": "end", "pass": kind, "rank": self.rank, "seconds": time.monotonic() - progress.started})
        return finished

    def _everywhere(self, finished: bool) -> bool:
        from accelerate.utils import gather_object

        return all(gather_object([finished]))

    def _run(
        self,
        mine: list[NDArray[np.int64]],
        kind: str,
        model: Any,
        batch_size: int | None,
        progress: _Progress,
        emit: Emit,
    ) -> bool:
        writer = _Writer(self, kind)
        ends = np.cumsum([len(part) for part in mine]).tolist()
        try:
            progress.done += writer.add_empty(np.concatenate(mine) if mine else np.empty(0, dtype=np.int64))
            with self._fast(model, kind):
                for units, outputs in computed(
                    self._batches(mine, batch_size),
                    self._collated,
                    lambda units, inputs: self._outputs(model, units, inputs),
                    lanes=self.lanes,
                    threads=self.job.threads,
                    wanted=self._is_wanted,
                ):
                    progress.done += writer.add(units, outputs)
                    progress.done_tokens += int(self.prepared.lengths[units].sum())
                    emit(
                        {
                            "event": "rows",
                            "pass": kind,
                            "rank": self.rank,
                            "done": progress.done,
                            "total": progress.total,
                        }
                    )
                    self._estimate(kind, progress, emit)
                    if self.may_stop and progress.done >= ends[0]:
                        writer.flush()
                        emit({"event": "block", "pass": kind, "rank": self.rank, "done": progress.done})
                        ends = [end for end in ends if end > progress.done]
        finally:
            writer.flush()
        return progress.done == progress.total

    def _fast(self, model: Any, kind: str) -> AbstractContextManager[Any]:
        """Faster kernels, but for the second configuration: what they change is part of what it measures."""
        return packed(model) if self.device.type == "cpu" and kind != PROBE else nullcontext()

    def _batches(self, mine: list[NDArray[np.int64]], batch_size: int | None) -> Iterator[NDArray[np.int64]]:
        for positions in mine:
            first, last = self._first_unit[positions], self._first_unit[positions + 1]
            units = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)]) if len(first) else first
            lengths = self.prepared.lengths[units]
            for batch in make_batches(
                lengths,
                token_budget=self._budget(lengths),
                batch_size=batch_size,
                overhead=self.prepared.batch_overhead,
            ):
                yield units[batch]

    def _budget(self, lengths: NDArray[np.int64]) -> int:
        """The tokens of a batch: fewer where little is left to do, so that every lane has its share of it."""
        if self.lanes == 1:
            return self.token_budget
        return max(min(self.token_budget, int(lengths.sum()) // (2 * self.lanes)), 1)

    def _is_wanted(self) -> bool:
        """Whether another batch may begin: there is time left, and nobody has asked to stop."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            return False
        return not (self.may_stop and self.folder.is_asked_to_stop())

    def _collated(self, units: NDArray[np.int64]) -> Any:
        """The inputs of a batch, or None where memory did not suffice: then the loop halves it."""
        try:
            inputs = self.prepared.collate(units.tolist())
        except (RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                return None
            raise
        if self.device.type != "cuda":
            return inputs
        return {name: value.pin_memory() if hasattr(value, "pin_memory") else value for name, value in inputs.items()}

    def _outputs(self, model: Any, units: NDArray[np.int64], inputs: Any = None) -> list[Any]:
        """The model's output for each unit; halves the batch as often as memory demands, and later ones at once."""
        import torch

        size = len(units) * int(self.prepared.lengths[units].max(initial=0))
        if len(units) > 1 and self._fits is not None and size > self._fits:
            return self._halves(model, units)
        try:
            with torch.inference_mode():
                inputs = self.prepared.collate(units.tolist()) if inputs is None else inputs
                outputs = self.prepared.forward(model, self._on_device(inputs, model))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(units) == 1:
                raise EngineError(
                    f"One example alone does not fit into the memory of {self.device}. Choose another device with "
                    "engine.device=cpu, spread the model with engine.device_map=auto, or cut the input with "
                    "override.max_length=N."
                ) from error
        else:
            return list(outputs)
        del inputs
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._fits = size // 2
        _log.warning("a batch of %d does not fit into memory (%d with padding) and is halved", len(units), size)
        return self._halves(model, units)

    def _halves(self, model: Any, units: NDArray[np.int64]) -> list[Any]:
        half = len(units) // 2
        return [*self._outputs(model, units[:half]), *self._outputs(model, units[half:])]

    def _on_device(self, inputs: Mapping[str, Any], model: Any) -> dict[str, Any]:
        moved = {}
        for name, value in inputs.items():
            if not hasattr(value, "to"):
                moved[name] = value
                continue
            dtype = model.dtype if value.is_floating_point() else None
            moved[name] = value.to(self.device, dtype=dtype, non_blocking=True)
        return moved

    def _estimate(self, kind: str, progress: _Progress, emit: Emit) -> None:
        """Say once in a pass what all processes will need, judged by the first one."""
        elapsed = time.monotonic() - progress.started
        if self.rank > 0 or progress.estimated or elapsed < ESTIMATE_SECONDS or progress.done_tokens == 0:
            return
        progress.estimated = True
        emit(
            {
                "event": "estimate",
                "pass": kind,
                "rank": self.rank,
                "examples": progress.all_examples,
                "tokens": progress.all_tokens,
                "seconds": elapsed * progress.tokens / progress.done_tokens,
                "memory": peak_memory(self.device) * self.world,
            }
        )


class _Writer:
    """Collects the outputs of units, turns those of finished examples into rows, and writes these in shards."""

    def __init__(self, loop: Loop, kind: str) -> None:
        self._loop, self._kind = loop, kind
        self._open: dict[int, dict[int, Any]] = {}
        self._ready: list[tuple[int, list[Any]]] = []
        self._started = self._flushed = time.monotonic()
        self._writing = 0.0

    def add_empty(self, positions: NDArray[np.int64]) -> int:
        """Finish the examples that need no inference (an empty text); returns how many there are."""
        first = self._loop._first_unit
        empty = [int(position) for position in positions if first[position] == first[position + 1]]
        self._ready += [(position, []) for position in empty]
        return len(empty)

    def add(self, units: NDArray[np.int64], outputs: list[Any]) -> int:
        """Take the outputs of some units; returns how many examples they complete."""
        loop, before = self._loop, len(self._ready)
        for unit, output in zip(units.tolist(), outputs, strict=True):
            position = int(loop._owner[unit])
            first, last = int(loop._first_unit[position]), int(loop._first_unit[position + 1])
            if last - first == 1:
                self._ready.append((position, [output]))
                continue
            found = self._open.setdefault(position, {})
            found[unit] = output
            if len(found) == last - first:
                self._ready.append((position, [found[unit] for unit in range(first, last)]))
                del self._open[position]
        completed = len(self._ready) - before
        now = time.monotonic()
        wait = max(SHARD_SECONDS, SHARD_SHARE * (now - self._started), self._writing / SHARD_SHARE)
        if len(self._ready) >= SHARD_ROWS or now - self._flushed > wait:
            self.flush()
        return completed

    def flush(self) -> None:
        """Write the rows of every example that is finished."""
        if self._ready:
            loop, prepared = self._loop, self._loop.prepared
            positions = np.array([position for position, _ in self._ready], dtype=np.int64)
            columns = prepared.rows(positions, [outputs for _, outputs in self._ready])
            _check_finite(columns)
            started = time.monotonic()
            loop.folder.append(self._kind, CLASSES[prepared.family], {"example": loop.rows[positions], **columns})
            self._writing = time.monotonic() - started
        self._ready = []
        self._flushed = time.monotonic()


def _check_finite(columns: Mapping[str, Any]) -> None:
    for name in ("logits", "similarity", "nll"):
        if name in columns and not np.isfinite(columns[name]).all():
            raise EngineError(
                "The model returns values that are not finite (NaN or infinite). If it was run in half precision, "
                "try engine.dtype=float32; otherwise its weights are damaged."
            )
