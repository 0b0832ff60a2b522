"""What the engine is asked to do, in a form that travels to a worker process as JSON, and what a kind makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.foundation.plain import from_plain
from verify.hub.states import States
from verify.store.predictions import Column, Family
from verify.types import TaskSpec

ENGINE_VERSION = 2
"""Part of the key under which predictions are stored: raised whenever a change here could change a prediction."""

_MODULES = {
    "summarization": "sequence_to_sequence",
    "translation": "sequence_to_sequence",
    "automatic-speech-recognition": "speech_recognition",
}


def module_of(kind: str) -> str:
    """The name of the module in ``verify.engine`` (and ``verify.engine.stub``) that runs a kind."""
    return _MODULES.get(kind, kind.replace("-", "_"))


@dataclass(frozen=True)
class Job:
    """One model on one split.

    ``limit`` examples (None: all) of the permutation seeded by ``seed`` are run, for ``budget`` seconds at most (None:
    to the end) from when its libraries are imported; ``probe_share`` (a fraction) of them run again in a second
    configuration. ``dtype`` is float32,
    bfloat16, float16 or native (as the checkpoint states), ``precision`` exact or adaptive. Of the ``token_budget`` of
    a batch (None: what the kind chooses) the ``token_share`` (a fraction) is used. ``device`` is auto, cpu,
    cuda, cuda:N or mps; ``device_map`` (auto) spreads a large model over everything there is, within ``max_memory``
    (device number, cpu or disk → a size such as 20GiB). A process may hold ``memory`` bytes (None: its share of the
    machine's). ``first`` loads only that many rows of the split, to try a task out. ``files`` are the names of all
    files of ``model_folder`` that may be opened, which the key of the predictions covers
    (:func:`verify.hub.loaded.loaded_files`); none stands for the whole folder of a model made here. ``base_folder`` and
    ``base_files`` are the same of the model that an adapter is laid over; ``states`` are those of all these files when
    their digests were taken.
    """

    model_folder: str
    task: TaskSpec
    split: str
    run_folder: str
    dataset_revision: str | None = None
    dtype: str = "float32"
    precision: str = "exact"
    max_length: int | None = None
    limit: int | None = None
    budget: float | None = None
    seed: int = 0
    probe_share: float = 0.1
    batch_size: int | None = None
    token_budget: int | None = None
    token_share: float = 1.0
    device: str = "auto"
    device_map: str | None = None
    max_memory: Mapping[str, str] | None = None
    memory: int | None = None
    processes: int = 1
    threads: int = 1
    may_stop: bool = False
    first: int | None = None
    files: tuple[str, ...] = ()
    base_folder: str | None = None
    base_files: tuple[str, ...] = ()
    states: States = field(default_factory=dict)


def jobs_to_json(jobs: Sequence[Job]) -> str:
    return json.dumps([asdict(job) for job in jobs])


def jobs_from_json(text: str) -> list[Job]:
    return [from_plain(Job, fields) for fields in json.loads(text)]


def logits_of(model: Any, inputs: Mapping[str, Any]) -> NDArray[np.float32]:
    """The model's logits as float32 on the CPU, one row for each unit: the ``forward`` of every classifier."""
    logits: NDArray[np.float32] = model(**inputs).logits.float().cpu().numpy()
    return logits


@dataclass
class Prepared:
    """A model with its inputs ready, made by the ``prepare`` of its kind's module.

    An example is one *unit* of work, or several (the windows of a long text). ``lengths`` [U] is the cost of each unit,
    in tokens (1 for an image), and ``owner`` [U], ascending, the position of its example within the selection (None:
    one unit an example). A batch costs its tokens, padding included, of which it has ``token_budget`` at most, and
    ``batch_overhead`` more (None: so many that batches are as few as can be, as where a batch takes many steps).
    ``collate`` turns units into padded inputs on the CPU and may be called from several threads; ``forward`` takes the
    model and those inputs on the device, in inference mode, and returns one output for each unit, and ``concurrent``
    says whether it, too, may be called from several threads; ``rows`` takes positions and, for each of them, the list
    of its units' outputs, and returns the columns of the family but for ``example``.

    ``info`` joins run.json and is handed to the family's predictions and metrics (label names, scheme …);
    ``settings`` and ``notes`` say what preprocessing was applied.
    """

    family: Family
    model: Any
    lengths: NDArray[np.int64]
    collate: Callable[[Sequence[int]], Mapping[str, Any]]
    rows: Callable[[NDArray[np.int64], Sequence[Sequence[Any]]], Mapping[str, Column]]
    token_budget: int
    settings: dict[str, Any]
    info: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    owner: NDArray[np.int64] | None = None
    forward: Callable[[Any, Mapping[str, Any]], Iterable[Any]] = logits_of
    batch_overhead: int | None = None
    concurrent: bool = True
