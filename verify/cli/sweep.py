"""``verify sweep``: many models checked at once, and one table of what became of their claims."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify.checking.outcome import DOES_NOT_HOLD, ERRORS, HOLDS, NOTHING_SETTLED
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError, UsageError
from verify.foundation.content import content_key
from verify.foundation.spelling import suggestion
from verify.judging.tally import Judged, Swept, Tally
from verify.processes.signals import code_of_interruption
from verify.report.console import console_on
from verify.report.plan_table import plan_object, show_plan
from verify.report.sweep import Expected, SweepView
from verify.report.sweep_table import show_sweep
from verify.store.files import read_sealed, write_json
from verify.store.runs import slug
from verify.sweeping.plan.planning import Plan, make_plan
from verify.sweeping.run import InterruptedSweepError, sweep
from verify.sweeping.sweep_json import sweep_object
from verify.sweeping.units import Finished, Unit, Workers
from verify.sweeping.workers.work import FOLDER, verdicts_file
from verify.tasks.registry import Registry, load_registry
from verify.types import VerdictKind

TABLES = "tables"
WIDE = 160  # characters
_OF_SWEEPS = re.compile(r"\+*(suite|sweep|engine\.(cluster|address|slurm))\b|engine=(ray|slurm)$")


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
    interrupted = False
    try:
        finished = _swept(plan, config, registry, settings, err)
    except InterruptedSweepError as stopped:
        finished, interrupted = list(stopped.finished), True
    everything = [*plan.earlier, *plan.refused, *finished]
    seconds = time.monotonic() - begun
    models = [read(one, Path(config.results)) for one in everything]
    tally = Tally.of(name, models, config.policy.alpha, seconds, is_complete=not interrupted)
    code = code_of_interruption() if interrupted else exit_code(tally, fail_on)
    file = _table_file(config, name, everything if one_of_several else None)
    found = sweep_object(tally, code)
    write_json(file, found)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=None if one_of_several else 1))  # noqa: T201
    show_sweep(err if as_json else _out(), tally, str(file))
    if interrupted:
        raise KeyboardInterrupt
    return code


def exit_code(tally: Tally, fail_on: Collection[VerdictKind] = ()) -> int:
    """As of one check of all claims: 0 all that were settled hold, 1 one does not, 3 none was settled, 4 one failed.

    With ``fail_on`` 1 if there is a verdict of any of these kinds, else 0; 4 if ``error`` is the only one there is.
    """
    kinds = tally.kinds
    if fail_on:
        if any(kinds[kind] for kind in fail_on if kind is not VerdictKind.ERROR):
            return DOES_NOT_HOLD
        return ERRORS if VerdictKind.ERROR in fail_on and kinds[VerdictKind.ERROR] else HOLDS
    if any(kind.holds is False for kind in kinds):
        return DOES_NOT_HOLD
    if kinds[VerdictKind.ERROR]:
        return ERRORS
    return HOLDS if any(kind.holds for kind in kinds) else NOTHING_SETTLED


def kinds_named(text: str) -> list[VerdictKind]:
    """The kinds of verdict that ``--fail-on`` names, with commas between. Raises UsageError for any other word."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in list(VerdictKind):
            raise UsageError(f"--fail-on {text}: {suggestion(name, list(VerdictKind))}")
    if not names:
        raise UsageError(f"--fail-on names kinds of verdict, such as overstated: {', '.join(VerdictKind)}.")
    return [VerdictKind(name) for name in names]


def check_command(unit: Unit, settings: Sequence[str]) -> str:
    """The command that checks the model of a unit alone, with those ``settings`` of the sweep that it knows, too."""
    kept = [word for word in settings if not _OF_SWEEPS.match(word)]
    if unit.tasks is not None and not any(word.startswith("tasks=") for word in kept):
        kept.insert(0, f"tasks=[{','.join(unit.tasks)}]")
    return shlex.join(["verify", "check", unit.reference, *kept])


def read(finished: Finished, results: Path) -> Swept:
    """A model with the verdicts of its unit; what is gone, or cannot be read by this version, becomes an error."""
    swept = Swept(finished.model, finished.reference, finished.folder, finished.seconds)
    if finished.folder is None:
        return replace(swept, error=finished.error or "", error_kind=finished.error_kind)
    file = verdicts_file(results, finished.key)
    try:
        if (found := read_sealed(file, depth=3)) is not None:
            return replace(swept, verdicts=tuple(map(Judged.read, found["verdicts"])))
        said = (
            f"{file} is gone or damaged, or carries the seal of nobody here. Sweep again: whatever is stored is not "
            "run again. The machines of a cluster share one secret, VERIFY_SECRET or VERIFY_SECRET_FILE."
        )
    except (KeyError, TypeError, ValueError):
        said = f"{file} holds no verdicts as this version stores them. Delete it and sweep again."
    return replace(swept, folder=None, error=said, error_kind=StoreError.__name__)


def _swept(
    plan: Plan, config: VerifyConfig, registry: Registry, settings: Sequence[str], err: Console
) -> list[Finished]:
    """Have the units of the plan worked on; ``err`` shows how far that is."""
    if not plan.planned:
        return []
    expected = {one.unit.key: Expected(max(len(one.cells), 1), max(one.seconds, 1e-3)) for one in plan.planned}
    units = [replace(unit, retry=check_command(unit, settings)) for unit in plan.units]
    with SweepView(expected, len(plan.earlier) + len(plan.refused), err) as view:
        return sweep(units, _workers(config, registry), config, view.follow)


def _workers(config: VerifyConfig, registry: Registry) -> Workers:
    """Those who work on units: a cluster where one is asked for, else processes of this machine."""
    if config.engine.cluster == "ray":
        from verify.sweeping.cluster.ray import RayWorkers

        return RayWorkers(config, registry)
    if config.engine.cluster == "slurm":
        from verify.sweeping.cluster.slurm import SlurmJobs

        return SlurmJobs(config, registry)
    from verify.sweeping.plan.devices import gpu_names
    from verify.sweeping.workers.local import LocalWorkers

    return LocalWorkers(config, gpu_names(config))


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


def _table_file(config: VerifyConfig, name: str, several: Sequence[Finished] | None) -> Path:
    """Where the table of a suite is stored; of ``several`` runs each has a file of its own."""
    own = "" if several is None else f".{content_key(sorted(one.key for one in several))[:8]}"
    return Path(config.results) / FOLDER / TABLES / f"{slug(name)}{own}.json"
