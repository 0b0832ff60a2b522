"""``verify sweep``: many models checked at once, and one table of what became of their claims."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape

from verify.checking.outcome import HOLDS
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.report.console import console_on
from verify.report.plan_table import plan_object, show_plan
from verify.report.sweep import Expected, SweepView
from verify.report.sweep_table import show_sweep
from verify.sweeping.plan.planning import Plan, make_plan
from verify.sweeping.sweep_json import sweep_object
from verify.sweeping.units import Report
from verify.sweeping.whole import sweep_planned
from verify.tasks.registry import load_registry
from verify.types import VerdictKind

WIDE = 160  # characters


def run(
    config: VerifyConfig,
    *,
    name: str,
    as_json: bool,
    dry_run: bool = False,
    fail_on: Collection[VerdictKind] = (),
    one_of_several: bool = False,
    settings: Sequence[str] = (),
) -> int:
    """Plan the suite of ``config`` and check its models, or print the plan only; returns the exit code.

    With ``as_json`` one object goes to standard output (a line where this run is ``one_of_several``) and everything
    else to standard error. ``name`` is what the suite is called; the table is stored under it. ``settings`` are what
    the user typed beside it, to be named in the command that checks one model again. Raises UsageError if
    there is no suite, and StoreError if results cannot be written.
    """
    if config.suite is None:
        raise UsageError(
            "Name a suite: verify sweep suite=NAME, where NAME is list, folders, hub, or a file of your own in "
            "FOLDER/suite (--config-dir FOLDER). Examples: verify sweep --help"
        )
    begun = time.monotonic()
    err = console_on(stderr=True)
    registry = load_registry(config.task_path)
    plan = make_plan(config, registry, lambda sentence: err.print(escape(sentence)))
    if dry_run:
        _print_plan(plan, name, as_json=as_json, on_one_line=one_of_several, err=err)
        return HOLDS
    with _view(plan, err) as follow:
        swept = sweep_planned(
            plan,
            config,
            registry,
            follow,
            name=name,
            settings=settings,
            fail_on=fail_on,
            one_of_several=one_of_several,
            begun=begun,
        )
    if as_json:
        found = sweep_object(swept.tally, swept.exit_code)
        print(json.dumps(found, ensure_ascii=False, indent=None if one_of_several else 1))  # noqa: T201
    show_sweep(err if as_json else _out(), swept.tally, str(swept.file))
    if swept.is_interrupted:
        raise KeyboardInterrupt
    return swept.exit_code


def kinds_named(text: str) -> list[VerdictKind]:
    """The kinds of verdict that ``--fail-on`` names, with commas between. Raises UsageError for any other word."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(VerdictKind):
            raise UsageError(f"--fail-on {text}: {suggestion(name, list(VerdictKind))}")
    if not names:
        raise UsageError(f"--fail-on names kinds of verdict, such as overstated: {', '.join(VerdictKind)}.")
    return [VerdictKind(name) for name in names]


@contextmanager
def _view(plan: Plan, err: Console) -> Iterator[Callable[[Report], None]]:
    """What shows on ``err`` how far the units of the plan are; nothing where there are none."""
    if not plan.planned:
        yield lambda report: None
        return
    expected = {one.unit.key: Expected(max(len(one.cells), 1), max(one.seconds, 1e-3)) for one in plan.planned}
    with SweepView(expected, len(plan.earlier) + len(plan.refused), err) as view:
        yield view.follow


def _print_plan(plan: Plan, name: str, *, as_json: bool, on_one_line: bool, err: Console) -> None:
    if as_json:
        print(json.dumps(plan_object(name, plan), ensure_ascii=False, indent=None if on_one_line else 1))  # noqa: T201
    show_plan(err if as_json else _out(), name, plan, only_totals=as_json)


def _out() -> Console:
    """Standard output: wide where it is no terminal, so that names stay whole for whoever searches in it."""
    console = console_on()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console
