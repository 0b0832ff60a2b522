"""Long modules first: a run ends sooner when what takes minutes is begun at once, by whichever worker is free.

How long each module took is kept beside this file, in seconds; ``VERIFY_DURATIONS=FILE`` writes what a run took. The
functions are hooks of pytest, for conftest.py to import.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

KNOWN = Path(__file__).with_suffix(".json")
WRITTEN = "VERIFY_DURATIONS"
LEAST = 1.0
"""Seconds: modules that take less are as good as any other."""

_taken: Counter[str] = Counter()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known: dict[str, float] = json.loads(KNOWN.read_text())
    items.sort(key=lambda item: -known.get(_module(item.nodeid), 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _taken[_module(report.nodeid)] += report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write what the run took, in the process that has heard of all tests."""
    if (file := os.environ.get(WRITTEN)) and not hasattr(session.config, "workerinput"):
        taken = {module: round(seconds, 1) for module, seconds in sorted(_taken.items()) if seconds >= LEAST}
        Path(file).write_text(json.dumps(taken, indent=1) + "\n")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The sum, which other work on the machine changes less than it changes the time that passes."""
    terminalreporter.write_line(f"sum of all tests: {sum(_taken.values()) / 60:.1f} minutes")


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]
