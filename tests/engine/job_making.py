"""Jobs over data files of any kind, run in this process, and what they leave."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.builders import write_parquet

from verify.engine.job import Job
from verify.engine.running.run import run
from verify.store.predictions import Predictions
from verify.store.runs import PREDICTIONS, RunFolder
from verify.tasks.registry import load_registry


def job_on(
    folder: Path,
    kind: str,
    data: Mapping[str, Any],
    columns: Mapping[str, str],
    *,
    more: str = "",
    name: str = "mine",
    model: str = "model",
    **options: Any,
) -> Job:
    """A job on the model in ``folder``/model, over ``data`` as a parquet file with a task file beside it."""
    file = write_parquet(folder / f"{name}.parquet", dict(data))
    (folder / "tasks").mkdir(exist_ok=True)
    listed = ", ".join(f"{role}: {column}" for role, column in columns.items())
    (folder / "tasks" / f"{name}.yaml").write_text(
        f"kind: {kind}\n"
        f"dataset: {{path: parquet, split: validation, data_files: {{validation: {file}}}}}\n"
        f"columns: {{{listed}}}\n{more}"
    )
    return Job(
        model_folder=str(folder / model),
        task=load_registry([str(folder / "tasks")])[name],
        split="validation",
        run_folder=str(folder / options.pop("run", "run")),
        device="cpu",
        **options,
    )


def events_of(job: Job) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    run(job, events.append)
    return events


def totals(events: list[dict[str, Any]], kind: str) -> list[int]:
    """How many examples each pass of a kind set out to run."""
    return [event["total"] for event in events if event["event"] == "start" and event["pass"] == kind]


def predictions_of(job: Job, kind: str = PREDICTIONS) -> Predictions:
    found = RunFolder(Path(job.run_folder)).predictions(kind)
    assert found is not None
    return found


def shards_of(job: Job, kind: str = PREDICTIONS) -> set[str]:
    return {file.name for file in (Path(job.run_folder) / kind).glob("*.parquet")}


def assert_same_rows(found: Predictions, expected: Predictions, atol: float = 1e-5) -> None:
    """The same examples, each once, with the same decisions; numbers differ in their last bits alone."""
    assert len(set(found.example.tolist())) == len(found)
    for name in found.COLUMNS:
        one, other = getattr(found, name), getattr(expected, name)
        kind = np.asarray(one[0] if not isinstance(one, np.ndarray) and len(one) else one).dtype.kind
        if kind != "f":
            assert [as_list(value) for value in one] == [as_list(value) for value in other], name
            continue
        assert len(one) == len(other), name
        for mine, theirs in zip(one, other, strict=True):
            np.testing.assert_allclose(mine, theirs, atol=atol, rtol=1e-5, err_msg=name)


def as_list(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def bring_to_ties(head: torch.nn.Linear, spread: float, seed: int) -> None:
    """Make all rows of a head alike but for ``spread`` times what they are, and so every decision a narrow one."""
    chance = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        first = head.weight[:1].clone()
        noise = torch.randn(head.weight.shape, generator=chance) * first.abs().mean()
        head.weight.copy_(first + spread * noise)
        head.bias.zero_()
