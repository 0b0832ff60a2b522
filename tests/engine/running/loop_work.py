"""Work for the loop whose outputs are known, and a clock that tests turn."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from engine.driving import job_for, task_of
from verify.engine.job import Prepared
from verify.engine.running.loop import Loop
from verify.store.predictions import Family
from verify.store.runs import PREDICTIONS, RunFolder

TASK = task_of("perplexity", {"text": "text"})
MODEL = torch.nn.Identity()
CPU_IS_FULL = (
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "68719476736 bytes. Error code 12 (Cannot allocate memory)"
)


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Work:
    """Examples of some units each. The output of a unit is its number; an example's column is the sum of them."""

    units_of: list[int]
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.owner = np.repeat(np.arange(len(self.units_of)), self.units_of)
        self.batches: list[list[int]] = []
        if self.lengths is None:
            self.lengths = np.random.default_rng(0).integers(1, 40, len(self.owner))

    def collate(self, units):
        assert len(set(units)) == len(units)
        return {"unit": torch.tensor(units, dtype=torch.int64), "kept": list(units)}

    def forward(self, model, inputs):
        self.batches.append(inputs["unit"].tolist())
        return [int(unit) for unit in inputs["unit"]]

    def rows(self, positions, outputs):
        counts = np.array([len(units) for units in outputs], dtype=np.int64)
        assert counts.tolist() == [self.units_of[position] for position in positions]
        sums = np.array([sum(units) for units in outputs], dtype=np.float64)
        return {"nll": sums, "tokens": counts, "words": counts, "bytes": counts, "hits": counts}

    def prepared(self, token_budget: int = 200) -> Prepared:
        one_each = all(count == 1 for count in self.units_of)
        return Prepared(
            family=Family.LIKELIHOOD,
            model=MODEL,
            lengths=self.lengths,
            collate=lambda units: self.collate(units),
            rows=self.rows,
            token_budget=token_budget,
            settings={},
            owner=None if one_each else self.owner,
            forward=lambda model, inputs: self.forward(model, inputs),
        )

    def loop(self, folder, *, rank: int = 0, world: int = 1, token_budget: int = 200, **options) -> Loop:
        """A loop over the examples in reverse order of their numbers, which are odd: 2i + 1."""
        accelerator = SimpleNamespace(
            process_index=rank, num_processes=world, device=torch.device("cpu"), wait_for_everyone=lambda: None
        )
        rows = 2 * np.arange(len(self.units_of))[::-1] + 1
        job = job_for(TASK, folder, **options)
        store = RunFolder(folder)
        store.write_info({"family": "likelihood", "unit": "document"})
        return Loop(job, self.prepared(token_budget), store, rows, accelerator)

    def expected(self) -> dict[int, float]:
        sums = np.zeros(len(self.units_of))
        np.add.at(sums, self.owner, np.arange(len(self.owner)))
        count = len(self.units_of)
        return {2 * (count - 1 - position) + 1: float(total) for position, total in enumerate(sums)}


def over(loop: Loop, examples=None, batch_size=None) -> tuple[bool, list[dict]]:
    events = []
    examples = loop.rows if examples is None else np.asarray(examples)
    finished = loop.over(examples, PREDICTIONS, events.append, model=MODEL, batch_size=batch_size)
    return finished, events


def stored(folder) -> dict[int, float]:
    found = RunFolder(folder).predictions(PREDICTIONS)
    return {} if found is None else dict(zip(found.example.tolist(), found.nll.tolist(), strict=True))


def shards(folder) -> list:
    return sorted((folder / PREDICTIONS).glob("*.parquet"))
