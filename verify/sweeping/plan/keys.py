"""What identifies a unit: the model's files, the tasks with their data, and every setting that can change an answer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from verify import __version__
from verify.configuration.schema import VerifyConfig
from verify.engine.job import ENGINE_VERSION
from verify.errors import HubError
from verify.foundation.content import content_key
from verify.hub import models
from verify.metrics import SCORER_VERSION
from verify.sweeping.plan.cards import Card, looked_up
from verify.tasks.places import is_local, media_beside
from verify.tasks.registry import Registry
from verify.types import TaskSpec


class Keys:
    """The keys of units, by content: equal keys have equal answers. ``used`` names the tasks of all cells."""

    def __init__(self, config: VerifyConfig, registry: Registry, used: Collection[str]) -> None:
        self._settings = content_key(_settings(config, registry))
        names = sorted(used)
        data = looked_up(lambda name: _data_state(registry[name], config), names)
        self._data: Mapping[str, Any] = dict(zip(names, data, strict=True))

    def of(self, card: Card) -> str:
        data = {name: self._data[name] for name, _ in card.cells}
        tasks = list(card.reference.tasks) if card.reference.tasks is not None else None
        return content_key([card.model, card.content, tasks, data, self._settings])


def _settings(config: VerifyConfig, registry: Registry) -> dict[str, Any]:
    """What all units share: tasks, policy and settings; not where or by how many they are worked on."""
    tasks = {name: {**asdict(task), "file": None} for name, task in registry.items()}
    hand_made = [*([config.claims] if config.claims else []), *config.vocabulary]
    return {
        "versions": [__version__, ENGINE_VERSION, SCORER_VERSION],
        "tasks": content_key(tasks),
        "policy": asdict(config.policy),
        "override": asdict(config.override),
        "limit": config.limit,
        "budget": config.budget,
        "seed": config.seed,
        "dtype": config.engine.dtype,
        "precision": config.engine.precision,
        "weights": [config.allow_pickle, config.base],
        "files": [_text_of(Path(name).expanduser()) for name in hand_made],
    }


def _text_of(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _data_state(task: TaskSpec, config: VerifyConfig) -> Any:
    """What identifies a task's data without reading them: their commit, or the sizes and times of local files."""
    if not is_local(task):
        try:
            return models.dataset_revision(task.dataset.path, config.override.dataset_revision or task.dataset.revision)
        except HubError:
            return None  # the check itself will say so
    if task.dataset.data_files is None:
        return _listing(Path(task.dataset.path), config)
    tables = [Path(name) for name in task.dataset.data_files.values()]
    named = [(table.name, table) for table in tables] + [(str(file), file) for file in media_beside(task)]
    return [[name, *_stat(file)] for name, file in named]


def _listing(folder: Path, config: VerifyConfig) -> list[Any]:
    """Every file of a folder but for results, which every sweep changes."""
    folder, results = folder.absolute(), Path(config.results).absolute()
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not file.is_relative_to(results)]
    return [[file.relative_to(folder).as_posix(), *_stat(file)] for file in files]


def _stat(file: Path) -> list[int | None]:
    try:
        stat = file.stat()
    except OSError:
        return [None]
    return [stat.st_size, stat.st_mtime_ns]
