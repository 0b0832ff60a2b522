"""Verdicts as every verb prints them: for people, and as one JSON object for programs."""

from __future__ import annotations

import json

from rich.console import Console

from verify.checking.outcome import Outcome, exported
from verify.report.console import console_on
from verify.report.terminal import show_verdicts, summary


def show(outcome: Outcome, *, as_json: bool, on_one_line: bool, err: Console) -> Console:
    """Print the verdicts for people, and with ``as_json`` for programs: then only the object goes to standard output.

    Returns the console for people.
    """
    if as_json:
        print(json.dumps(exported(outcome), ensure_ascii=False, indent=None if on_one_line else 1))  # noqa: T201
    console = err if as_json else console_on()
    name = outcome.model if outcome.revision else f"{outcome.model} (local folder)"
    show_verdicts(console, name, outcome.verdicts, outcome.measurements, outcome.findings)
    err.print(summary(outcome.verdicts))
    return console
