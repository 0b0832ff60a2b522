"""What identifies a run, so that predictions are kept under it, and what identifies scores of its rows."""

from __future__ import annotations

from typing import Any

from verify.checking.scoring import Cell, Subject
from verify.configuration.schema import VerifyConfig
from verify.engine.job import ENGINE_VERSION
from verify.metrics import SCORER_VERSION
from verify.tasks.kinds import inference_settings, scoring_settings
from verify.types import FOREIGN, TaskSpec


def identity_of(subject: Subject, cell: Cell, config: VerifyConfig, digest: str | None) -> dict[str, Any]:
    """Everything that can change a prediction; never a path or a name alone."""
    task = cell.task
    source = {"digest": digest} if digest else {"path": task.dataset.path, "revision": cell.revision}
    return {
        "engine": ENGINE_VERSION,
        "model": dict(subject.digests),
        "kind": task.kind,
        "columns": dict(task.columns),
        "labels": task.labels,
        "label_aliases": {label: list(names) for label, names in task.label_aliases.items()},
        "dataset": {**source, "name": task.dataset.name, "split": cell.split},
        "dtype": config.engine.dtype,
        **({"precision": config.engine.precision} if config.engine.precision != "exact" else {}),
        "max_length": config.override.max_length,
        "settings": inference_settings(task.kind, task.settings),
    }


def selection_of(task: TaskSpec, config: VerifyConfig) -> dict[str, Any]:
    """Which rows are scored and how; a new scorer version makes every stored score be computed again."""
    return {
        "scorer": SCORER_VERSION,
        "foreign": [name for name in task.metrics if name.startswith(FOREIGN)],
        "limit": config.limit,
        "seed": config.seed if config.limit is not None else None,
        "probe_share": config.policy.probe_share,
        "rows": dict(task.rows),
        "settings": scoring_settings(task.kind, task.settings),
    }
