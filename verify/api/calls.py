"""What every function of the Python interface does before and after its work: settings, notes and the import path."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError
from verify.processes.import_path import protected
from verify.types import Emit, Tell

if TYPE_CHECKING:
    from verify.checking.pipeline import Follow

Progress = Callable[[Mapping[str, Any]], None]
Place = str | PathLike[str]

_calling: list[int] = []
"""The threads that are in a call now."""


def name_of(place: Place) -> str:
    """The model, file or folder that a caller names. Raises UsageError for what names nothing."""
    if isinstance(place, str | PathLike) and isinstance(name := fspath(place), str) and name.strip():
        return name
    shown = repr(place) if isinstance(place, str | bytes) else type(place).__name__
    raise UsageError(f"{shown} names no model, file or folder. Give its name as text, or its path.")


def hearer(progress: Progress | None) -> Progress:
    """What receives events, for nobody if there is no ``progress``. Raises UsageError for what cannot be called."""
    if progress is None:
        return lambda event: None
    if not callable(progress):
        raise UsageError(f"progress: {type(progress).__name__} cannot be called. Give a function of one argument.")
    return progress


def follower(progress: Progress | None) -> Follow:
    """What hands the events about cells to ``progress``, each with the model, task and split that it is about."""
    hear = hearer(progress)

    @contextlib.contextmanager
    def follow(model: str, cells: Sequence[tuple[str, str]]) -> Iterator[Emit]:
        def emit(event: Mapping[str, Any]) -> None:
            task, split = cells[int(event.get("cell", 0))] if cells else (None, None)
            hear({**event, "model": model, "task": task, "split": split})

        yield emit

    return follow


def composed(model: str | None, words: Sequence[str], config_dir: Place | None) -> VerifyConfig:
    """The configuration of one call. Raises UsageError for a setting that is none."""
    from verify.configuration.compose import compose_config

    return compose_config(model, words, None if config_dir is None else name_of(config_dir))


def files_of(config_dir: Place | None) -> list[str]:
    """The option by which the command line finds the same files."""
    return [] if config_dir is None else ["--config-dir", name_of(config_dir)]


def refuse(settings: Mapping[str, Any], names: Sequence[str], instead: str) -> None:
    """Raise UsageError for a setting of these ``names``, which would change nothing; ``instead`` says what would."""
    for key in settings:
        if key.partition(".")[0] in names:
            raise UsageError(f"{key} would change nothing here. {instead}")


def require(settings: Mapping[str, Any], names: Sequence[str], instead: str) -> None:
    """Raise UsageError for a setting of stored results that is none of those ``names``."""
    for key in settings:
        if key.partition(".")[0] not in names:
            raise UsageError(
                f"{key}: stored results were made with settings of their own, so only {', '.join(names)} can be set "
                f"here. {instead}"
            )


@dataclass(frozen=True)
class Call:
    """A call at work: its settings as the command line takes them, and ``told``, what the user should know."""

    words: list[str]
    told: list[str]


@contextlib.contextmanager
def call(target: str, settings: Mapping[str, Any], **named: Any) -> Iterator[Call]:
    """Import nothing meanwhile from the working folder, or from a folder of a model, of data or of results.

    Of the ``named`` settings those count that are given (not None). What is logged as a warning is told, and so does
    not appear on standard error, where Python shows warnings that no handler receives. Raises UsageError for a setting
    that is none.
    """
    told = list[str]()
    thread, log = threading.get_ident(), logging.getLogger("verify")
    handler = _Warnings(told.append, thread)
    _calling.append(thread)
    log.addHandler(handler)
    try:
        with protected([target]):
            from verify.configuration.from_python import words_of

            words = words_of({**{name: value for name, value in named.items() if value is not None}, **settings})
            with protected(word.replace("'", "") for word in words):
                yield Call(words, told)
    finally:
        log.removeHandler(handler)
        _calling.remove(thread)


class _Warnings(logging.Handler):
    """Tells each warning of a call once: those of its own thread, and of threads that no other call runs in."""

    def __init__(self, tell: Tell, thread: int) -> None:
        super().__init__(logging.WARNING)
        self._tell, self._thread, self._told = tell, thread, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if (record.thread == self._thread or record.thread not in _calling) and message not in self._told:
            self._told.add(message)
            self._tell(message)
