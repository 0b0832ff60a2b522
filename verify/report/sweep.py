"""A sweep while it runs, on standard error: a live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from verify.report.clean import clean, shortened
from verify.sweeping.units import OPENED, Died, Ended, Finished, Happened, Report, Unit

SECONDS_BETWEEN_LINES = 30.0
UPDATES_PER_SECOND = 4.0
MOST_LINES = 40
WINDOW = 60.0
"""Seconds over which examples per second are counted."""
_COUNTED = ("predictions", "draft")
_PASS = {"predictions": "examples", "probe": "second configuration", "draft": "low precision"}
_OUTCOMES = {
    0: "every claim that could be settled holds",
    1: "at least one claim does not hold",
    3: "nothing could be settled",
    4: "a run failed",
}


@dataclass(frozen=True)
class Expected:
    """What a unit is expected to take: its ``cells``, and ``seconds`` of one worker."""

    cells: int = 1
    seconds: float = 1.0


@dataclass
class _Running:
    """A unit that a worker has: its cells, the one at hand, and how far that is."""

    unit: Unit
    since: float
    model: str
    cells: list[str] = field(default_factory=list)
    cell: int = 0
    what: str = "opening"
    done: dict[tuple[int, str, int], int] = field(default_factory=dict)
    total: dict[tuple[int, str, int], int] = field(default_factory=dict)

    def of_pass(self, name: str) -> tuple[int, int]:
        """How many rows of a pass of the cell at hand all processes have done, and of how many."""
        keys = [key for key in self.total if key[:2] == (self.cell, name)]
        return sum(self.done[key] for key in keys), sum(self.total[key] for key in keys)

    @property
    def share(self) -> float:
        """The part of the unit that is done, a fraction."""
        done, total = self.of_pass("predictions")
        return (self.cell + (done / total if total else 0.0)) / max(len(self.cells), 1)


class SweepView:
    """Follows the reports of a sweep; use it as a context manager.

    ``expected`` says for each unit, by its key, what it is expected to take. ``settled`` is how many models need
    nothing, because they were finished before or were refused.
    """

    def __init__(self, expected: Mapping[str, Expected], settled: int, console: Console) -> None:
        self._expected, self._settled, self._console = dict(expected), settled, console
        self._running: dict[str, _Running] = {}
        self._finished: dict[str, Finished] = {}
        self._cells_done = self._failed = 0
        self._started = self._last_line = time.monotonic()
        self._examples: deque[tuple[float, int]] = deque()
        self._live: Live | None = None
        self._lock, self._over = threading.RLock(), threading.Event()

    def __enter__(self) -> SweepView:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=self.renderable,
                console=self._console,
                refresh_per_second=UPDATES_PER_SECOND,
                transient=True,
                vertical_overflow="crop",
            )
            self._live.start()
        else:
            threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()

    def follow(self, report: Report) -> None:
        """Take a report of a worker in."""
        with self._lock:
            if isinstance(report, Ended):
                self._running.pop(report.worker, None)
                self._ended(report)
            elif isinstance(report, Died):
                running = self._running.pop(report.worker, None)
                where = f" on {report.cell}" if report.cell else ""
                self._say(f"{running.model if running else report.unit.reference}{where}: {report.message}")
            else:
                self._happened(report)

    def heartbeat(self) -> None:
        """Say how far the sweep is, where that was not said for a while and there is no terminal to show it."""
        now = time.monotonic()
        if self._live is None and now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self._console.print(self.counts(), highlight=False, markup=False, soft_wrap=True)

    def _beat(self) -> None:
        while not self._over.wait(1.0):
            self.heartbeat()

    def counts(self) -> str:
        """How far the sweep is, in one line."""
        with self._lock:
            rate, left = self._rate(), self._left()
            parts = [
                f"{self._cells_done} of {self._cells()} cells done",
                f"{len(self._running)} running",
                f"{self._failed} failed",
                *([f"{rate:,.0f} examples/s"] if rate else []),
                f"{duration(time.monotonic() - self._started)} so far",
                *([f"about {duration(left)} left"] if left is not None else []),
            ]
            return ", ".join(parts)

    def renderable(self) -> RenderableType:
        """The view as it is now, no higher than the terminal."""
        with self._lock:
            cells, done = self._cells(), self._cells_done
            busy = sorted(self._running.items(), key=lambda one: one[1].since)
            room = max(min(self._console.height, MOST_LINES) - 3, 1)
            shown = busy if len(busy) <= room else busy[: max(room - 1, 0)]
            bar = _grid(4, None)
            bar.add_row(ProgressBar(total=max(cells, 1), completed=done), f"{done}/{cells}")
            workers = _grid(2, 4, 3, 3, None)
            for name, running in shown:
                cell = running.cells[running.cell] if running.cells else ""
                words = (name, running.model, cell, running.what, f"{running.share:.0%}")
                workers.add_row(*(Text(clean(shortened(word)), no_wrap=True, overflow="ellipsis") for word in words))
            parts: list[RenderableType] = [bar, Text(self.counts(), no_wrap=True, overflow="ellipsis"), workers]
            if len(shown) < len(busy):
                parts.append(Text(f"and {len(busy) - len(shown)} more", no_wrap=True))
            return Group(*parts)

    def _happened(self, report: Happened) -> None:
        unit, event = report.unit, report.event
        running = self._running.get(report.worker)
        if running is None or running.unit.key != unit.key or event["event"] == OPENED:
            running = self._running[report.worker] = _Running(unit, time.monotonic(), unit.reference)
        if event["event"] == OPENED:
            running.model = str(event["model"])
            running.cells = ["/".join(cell) for cell in event["cells"]]
            known = self._expected.get(unit.key, Expected())
            self._expected[unit.key] = Expected(len(running.cells) or known.cells, known.seconds)
            return
        running.cell = min(int(event.get("cell", running.cell)), max(len(running.cells) - 1, 0))
        if event["event"] == "stage":
            running.what = str(event["stage"])
        elif event["event"] in ("start", "rows"):
            self._rows(running, event)

    def _rows(self, running: _Running, event: Mapping[str, Any]) -> None:
        name = str(event["pass"])
        key = (running.cell, name, int(event["rank"]))
        done = int(event.get("done", 0))
        if name in _COUNTED and (more := done - running.done.get(key, 0)) > 0:
            self._examples.append((time.monotonic(), more))
        running.done[key], running.total[key] = done, int(event["total"])
        all_done, total = running.of_pass(name)
        running.what = f"{_PASS.get(name, name)} {all_done:,} of {total:,}"

    def _ended(self, report: Ended) -> None:
        finished = report.finished
        if finished.key in self._finished:
            return
        self._finished[finished.key] = finished
        self._cells_done += self._expected.get(finished.key, Expected()).cells
        self._failed += not finished.settled
        if self._live is None or not finished.settled:
            self._say(f"{finished.model}: {outcome(finished)}")

    def _say(self, sentence: str) -> None:
        if self._live is None:
            sentence = f"[{len(self._finished) + self._settled} of {len(self._expected) + self._settled}] {sentence}"
        self._console.print(sentence, highlight=False, markup=False, soft_wrap=self._live is None)

    def _cells(self) -> int:
        return sum(expected.cells for expected in self._expected.values())

    def _rate(self) -> float:
        """Examples per second of late."""
        now = time.monotonic()
        while self._examples and now - self._examples[0][0] > WINDOW:
            self._examples.popleft()
        seconds = min(now - self._started, WINDOW)
        return sum(count for _, count in self._examples) / seconds if seconds > 0 else 0.0

    def _left(self) -> float | None:
        """Seconds until the end, if the rest goes as fast beside what was expected as all so far; None if unknown."""
        whole = sum(expected.seconds for expected in self._expected.values())
        done = sum(self._expected.get(key, Expected()).seconds for key in self._finished)
        under_way = sum(
            running.share * self._expected.get(running.unit.key, Expected()).seconds
            for running in self._running.values()
        )
        if not self._finished or done + under_way <= 0:
            return None
        return (time.monotonic() - self._started) * max(whole - done - under_way, 0.0) / (done + under_way)


def outcome(finished: Finished) -> str:
    """What became of a model, in a few words."""
    if finished.error is not None:
        return finished.error
    return f"{_OUTCOMES[finished.exit_code]} ({duration(finished.seconds)})"


def duration(seconds: float) -> str:
    """A time for people: 42 s, 5 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _grid(*ratios: int | None) -> Table:
    """Columns that stay where they are, as their widths depend on the terminal alone; None: as wide as its text."""
    grid = Table.grid(padding=(0, 1), expand=True)
    for ratio in ratios:
        if ratio is None:
            grid.add_column(justify="right", no_wrap=True, min_width=4)
        else:
            grid.add_column(ratio=ratio, no_wrap=True, overflow="ellipsis")
    return grid
