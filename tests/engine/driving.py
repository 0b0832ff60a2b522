"""Driving what a kind's module prepares by hand: collate, forward, rows, with no loop of the engine's in between."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from verify.engine.job import Job, Prepared
from verify.tasks.data import Examples
from verify.tasks.kinds import KINDS
from verify.types import DatasetSource, TaskSpec


def drive(prepared: Prepared, count: int, batch_size: int = 1) -> dict[str, Any]:
    """The columns of ``count`` examples, whose units go through the model ``batch_size`` at a time."""
    owner = np.arange(count) if prepared.owner is None else prepared.owner
    assert len(owner) == len(prepared.lengths)
    outputs: list[list[Any]] = [[] for _ in range(count)]
    for start in range(0, len(owner), batch_size):
        units = list(range(start, min(start + batch_size, len(owner))))
        with torch.inference_mode():
            results = prepared.forward(prepared.model, prepared.collate(units))
        assert len(results) == len(units)
        for unit, result in zip(units, results, strict=True):
            outputs[owner[unit]].append(result)
    return dict(prepared.rows(np.arange(count), outputs))


def task_of(
    kind: str,
    columns: Mapping[str, str],
    *,
    labels: tuple[str, ...] | None = None,
    aliases: Mapping[str, tuple[str, ...]] | None = None,
    **settings: Any,
) -> TaskSpec:
    return TaskSpec(
        name="mine",
        kind=kind,
        dataset=DatasetSource(path="parquet"),
        columns=dict(columns),
        metrics=KINDS[kind].metrics,
        file="mine.yaml",
        labels=labels,
        label_aliases=aliases or {},
        settings=settings,
    )


def job_for(task: TaskSpec, folder: Any, **options: Any) -> Job:
    return Job(model_folder=str(folder), task=task, split="test", run_folder=str(folder), device="cpu", **options)


def examples_of(
    task: TaskSpec, data: Mapping[str, Any] | Any, labels: tuple[str, ...] | None = None, **fields: Any
) -> Examples:
    """Examples over columns in memory, or over a `datasets.Dataset`."""
    import datasets

    table = datasets.Dataset.from_dict(dict(data)) if isinstance(data, Mapping) else data
    return Examples(table, "test", dict(task.columns), labels or task.labels, False, (), **fields)


def state_in_tokenizer_config(folder: Path, **settings: Any) -> None:
    """What a repository's tokenizer_config.json states beyond what ``save_pretrained`` writes."""
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
