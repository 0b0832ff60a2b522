"""What the engine is asked to do, in a form that travels to a worker process as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.types import DatasetSource, TaskSpec

ENGINE_VERSION = 1
"""Part of the key under which predictions are stored: raised whenever a change here could change a prediction."""

Emit = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Job:
    """One model on one split.

    ``limit`` examples (None: all) of the permutation seeded by ``seed`` are run; ``probe_share`` (a fraction) of them
    run again in a second configuration. ``dtype`` is float32, bfloat16, float16 or native (as the checkpoint states).
    ``device`` is auto, cpu, cuda, cuda:N or mps. ``first`` loads only that many rows of the split, to try a task out.
    """

    model_folder: str
    task: TaskSpec
    split: str
    run_folder: str
    dataset_revision: str | None = None
    dtype: str = "float32"
    max_length: int | None = None
    limit: int | None = None
    seed: int = 0
    probe_share: float = 0.1
    batch_size: int | None = None
    token_budget: int | None = None
    device: str = "auto"
    processes: int = 1
    threads: int = 1
    first: int | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Job:
        fields = json.loads(text)
        task = fields.pop("task")
        source = DatasetSource(**task.pop("dataset"))
        for name in ("metrics", "aliases", "labels", "unlabelled"):
            task[name] = tuple(task[name]) if task[name] is not None else None
        task["label_aliases"] = {label: tuple(names) for label, names in task["label_aliases"].items()}
        return Job(task=TaskSpec(dataset=source, **task), **fields)


@dataclass
class Prepared:
    """A model with its inputs ready, made by the module of its kind.

    ``model`` is a torch module in evaluation mode. ``model_labels`` are its class names in logit order (None for
    regression). ``lengths`` [n] is the cost of each selected example, in tokens. ``collate`` turns positions within the
    selection into padded model inputs. ``settings`` and ``notes`` say what preprocessing was applied.
    """

    model: Any
    model_labels: tuple[str, ...] | None
    lengths: NDArray[np.int64]
    collate: Callable[[Sequence[int]], Mapping[str, Any]]
    token_budget: int
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
