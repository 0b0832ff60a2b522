"""What is happening right now, on standard error: a bar with an ETA in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from verify.report.clean import clean, shortened
from verify.types import Emit

SECONDS_BETWEEN_LINES = 10.0
MOST_CHARACTERS = 200
_PASS = {"predictions": "examples", "probe": "second configuration", "draft": "low precision"}


def progress_on(console: Console) -> Callable[[str, Sequence[tuple[str, str]]], AbstractContextManager[Emit]]:
    """What shows on a console how far the cells, each a task and a split, of a model are."""

    @contextmanager
    def follow(model: str, cells: Sequence[tuple[str, str]]) -> Iterator[Emit]:
        with ProgressView([f"{model} on {task}" for task, _ in cells], console) as view:
            yield view.emit

    return follow


class ProgressView:
    """Follows the events of some measurements, one title for each; use it as a context manager."""

    def __init__(self, titles: Sequence[str], console: Console) -> None:
        self._titles, self._console = titles, console
        self._title, self._cell = (titles[0] if titles else ""), 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done: dict[tuple[str, int], int] = {}
        self._totals: dict[tuple[str, int], int] = {}
        self._last_line = 0.0
        self._started = time.monotonic()

    def __enter__(self) -> ProgressView:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(_line(self._title), total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def emit(self, event: Mapping[str, Any]) -> None:
        """Show one event of the engine: a stage, an estimate, the start of a pass, or rows done by one process.

        ``cell`` in an event is the position of its title.
        """
        if event.get("cell", self._cell) != self._cell:
            self._cell = int(event["cell"])
            self._title = self._titles[self._cell]
            self._totals, self._done = {}, {}
        if event["event"] == "estimate":
            self._say(_estimate(event))
            return
        if event["event"] == "stage":
            self._show(str(event["stage"]), None, None)
            return
        if event["event"] in ("end", "block"):
            return
        key = (str(event["pass"]), int(event["rank"]))
        self._totals[key] = int(event["total"])
        self._done[key] = int(event.get("done", 0))
        name = key[0]
        total = sum(count for (one, _), count in self._totals.items() if one == name)
        done = sum(count for (one, _), count in self._done.items() if one == name)
        if total:
            self._show(_PASS.get(name, name), done, total)

    def _say(self, sentence: str) -> None:
        self._console.print(f"{self._title}: {sentence}", highlight=False, markup=False)

    def _show(self, what: str, done: int | None, total: int | None) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(
                self._task,
                description=clean(shortened(f"{self._title}: {what}", 200)),
                completed=done or 0,
                total=total,
            )
            return
        now = time.monotonic()
        if total is None or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            count = f" {done} of {total}" if total else ""
            self._console.print(
                f"{self._title}: {what}{count} ({now - self._started:.0f} s)", highlight=False, markup=False
            )


def _line(text: str) -> str:
    """What a bar says, which rich measures as it stands."""
    return clean(shortened(text, MOST_CHARACTERS))


def _estimate(event: Mapping[str, Any]) -> str:
    """What a pass will cost, judged from its first batches, which hold the longest inputs."""
    seconds = float(event["seconds"])
    time_needed = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"
    size = f"{event['examples']:,} examples, {event['tokens']:,} tokens"
    memory = float(event["memory"]) / 1e9
    return f"{_PASS.get(event['pass'], event['pass'])}: {size}, about {time_needed}, {memory:.1f} GB of memory"
