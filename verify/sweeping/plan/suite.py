"""The models of a suite, wherever they are listed, each with the tasks to check it on."""

from __future__ import annotations

import errno
import glob
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from verify.configuration.schema import AUTO, SuiteConfig, VerifyConfig
from verify.errors import HubError, UsageError
from verify.foundation.spelling import suggestion
from verify.hub.models import HUB, holds_a_model
from verify.tasks.registry import Registry

STANDARD_INPUT = "-"
_KEYS = ("model", "tasks")


@dataclass(frozen=True)
class Reference:
    """A model as :func:`verify.hub.models.resolve` takes it, and the names of the tasks asked for.

    ``tasks`` is None for whatever the card claims.
    """

    model: str
    tasks: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Entry:
    """A model in one place of a suite, with its own tasks if it has any there."""

    model: str
    tasks: tuple[str, ...] | None = None
    has_own_tasks: bool = False


def references(config: VerifyConfig, registry: Registry) -> list[Reference]:
    """The models of ``config``: the one named on the command line, or those of its suite, duplicates once, in order.

    The tasks named on the command line count before those of a model, and these before those of the suite. A model that
    stands in several places has the tasks of its own of all of them.

    Raises:
        UsageError: there is no model, an entry is none, or a task does not exist; the message names the place.
        HubError: the Hub could not be asked.

    """
    asked = config.asked_tasks()
    everywhere = None if asked is None else _tasks(asked, registry, "tasks" if config.tasks else "suite.tasks")
    if config.model:
        return [Reference(config.model, everywhere)]
    suite = config.suite
    if suite is None:
        raise UsageError("Name a model: verify check MODEL, where MODEL is ORG/NAME, ORG/NAME@revision or a folder.")
    said: dict[str, str] = {}
    own: dict[str, tuple[str, ...] | None] = {}
    for entry in _entries(suite, registry):
        known = _identity(entry.model)
        said.setdefault(known, entry.model)
        if entry.has_own_tasks and config.tasks is None:
            own[known] = _joined(own.get(known, ()), entry.tasks)
    if not said:
        raise UsageError(
            "The suite names no model. List them under models, name a file with suite.file=FILE, folders with "
            "'suite.folders=[models/*]', or ask the Hub: suite=hub suite.hub.author=ORG."
        )
    return [Reference(model, own.get(known, everywhere)) for known, model in said.items()]


def _joined(before: tuple[str, ...] | None, more: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Both, each task once; whatever the card claims (None) includes what is named beside it."""
    return None if before is None or more is None else tuple(dict.fromkeys((*before, *more)))


def _entries(suite: SuiteConfig, registry: Registry) -> Iterator[_Entry]:
    for number, entry in enumerate(suite.models):
        yield _listed(entry, registry, f"suite.models[{number}]")
    if suite.file is not None:
        yield from _of_file(suite.file)
    for pattern in suite.folders:
        yield from _of_folders(pattern)
    if suite.hub is not None:
        from verify.hub.query import listed

        found = listed(suite.hub)
        if not found:
            raise UsageError(f"suite.hub: no model of the Hub fits {suite.hub}. Ask for less: leave a part of it out.")
        yield from (_Entry(f"{HUB}{model}") for model in found)


def _listed(entry: Any, registry: Registry, place: str) -> _Entry:
    if isinstance(entry, str) and entry.strip():
        return _Entry(entry.strip())
    if not isinstance(entry, dict):
        raise UsageError(f"{place}: {entry!r} is no model. Give ORG/NAME, a folder, or {{model: ID, tasks: [NAME]}}.")
    for name in entry:
        if name not in _KEYS:
            raise UsageError(f"{place}: there is no {name!r}. {suggestion(str(name), _KEYS)}")
    model = entry.get("model")
    if not isinstance(model, str) or not model.strip():
        raise UsageError(f"{place}: the model is missing or is no text: {{model: ID, tasks: [NAME]}}.")
    tasks = entry.get("tasks")
    if tasks in (None, AUTO):
        return _Entry(model.strip(), None, has_own_tasks="tasks" in entry)
    return _Entry(model.strip(), _tasks(tasks, registry, f"{place} ({model.strip()})"), has_own_tasks=True)


def _tasks(names: Any, registry: Registry, place: str) -> tuple[str, ...]:
    if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{place}: tasks must be a list of names such as [sst2, imdb], or auto.")
    try:
        return tuple(registry.find(name).name for name in names)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from error


def _of_file(name: str) -> Iterator[_Entry]:
    """The models of a text file: one a line, nothing after a #."""
    try:
        text = _standard_input() if name == STANDARD_INPUT else Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"suite.file={name}: cannot be read ({reason}). Name a text file with a model a line."
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        model = re.sub(r"(^|\s)#.*", "", line).strip()
        if not model:
            continue
        if not model.isprintable():
            raise UsageError(f"{name}:{number}: {model[:60]!r} is no model. Give ORG/NAME or a folder on each line.")
        yield _Entry(model)


@cache
def _standard_input() -> str:
    """What standard input holds: it can be read once, and a multirun asks for it in every run."""
    if sys.stdin is None:
        raise OSError(errno.EBADF, "there is no standard input")
    return sys.stdin.read()


def _of_folders(pattern: str) -> Iterator[_Entry]:
    """The folders that a pattern names and that hold a model: those with a card or a configuration."""
    try:
        # glob, because Path.glob takes no absolute pattern and drops the ./ of a relative one
        found = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"suite.folders: {pattern} is no pattern of folders ({error}).") from error
    models = [path for path in found if _may_hold_a_model(Path(path))]
    if not models:
        raise UsageError(
            f"suite.folders: {pattern} names no folder with a README.md or a config.json. A pattern looks like "
            "models/* (or models/**/ for folders at any depth)."
        )
    yield from map(_Entry, models)


def _may_hold_a_model(folder: Path) -> bool:
    """Whether there is a model; a folder that cannot be read counts, so that whoever reads it says so."""
    try:
        return holds_a_model(folder)
    except HubError:
        return True


def _identity(model: str) -> str:
    """Equal for two ways to write the same folder, or the same model of the Hub."""
    if model.startswith(HUB):
        return model.removeprefix(HUB)
    try:
        path = Path(model).expanduser()
        return str(path.resolve()) if path.is_dir() else model
    except (OSError, RuntimeError, ValueError):
        return model
