"""A whole suite, from its plan to one tally: units are worked on, verdicts read back and counted once more."""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from verify.checking.outcome import DOES_NOT_HOLD, ERRORS, HOLDS, NOTHING_SETTLED
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError
from verify.foundation.content import content_key
from verify.judging.tally import Judged, Swept, Tally
from verify.processes.signals import code_of_interruption
from verify.store.files import read_sealed, write_json
from verify.store.runs import slug
from verify.sweeping.plan.planning import Plan
from verify.sweeping.run import InterruptedSweepError, sweep
from verify.sweeping.sweep_json import sweep_object
from verify.sweeping.units import Finished, Report, Unit, Workers
from verify.sweeping.workers.work import FOLDER, verdicts_file
from verify.tasks.registry import Registry
from verify.types import VerdictKind

TABLES = "tables"
_OF_SWEEPS = re.compile(r"\+*(suite|sweep|engine\.(cluster|address|slurm))\b|engine=(ray|slurm)$")


@dataclass(frozen=True)
class SweptSuite:
    """What became of a suite: all verdicts, the exit code that they stand for, and the ``file`` with the table."""

    tally: Tally
    exit_code: int
    file: Path
    is_interrupted: bool


def sweep_planned(
    plan: Plan,
    config: VerifyConfig,
    registry: Registry,
    follow: Callable[[Report], None],
    *,
    name: str,
    settings: Sequence[str] = (),
    fail_on: Collection[VerdictKind] = (),
    one_of_several: bool = False,
    begun: float | None = None,
) -> SweptSuite:
    """Have the units of a plan worked on, and store the table of the suite under its ``name``.

    ``follow`` receives every report. ``settings`` are named in the command that checks one model again. ``begun`` is
    when the sweep began, by ``time.monotonic`` (None: now). Ctrl-C gives what was done until then. Raises StoreError if
    results cannot be written.
    """
    begun = time.monotonic() if begun is None else begun
    units = [replace(unit, retry=check_command(unit, settings)) for unit in plan.units]
    is_interrupted = False
    try:
        finished = sweep(units, workers_for(config, registry), config, follow) if plan.planned else []
    except InterruptedSweepError as stopped:
        finished, is_interrupted = list(stopped.finished), True
    everything = [*plan.earlier, *plan.refused, *finished]
    models = [read(one, Path(config.results)) for one in everything]
    seconds = time.monotonic() - begun
    tally = Tally.of(name, models, config.policy.alpha, seconds, is_complete=not is_interrupted)
    code = code_of_interruption() if is_interrupted else exit_code(tally, fail_on)
    file = _table_file(config, name, everything if one_of_several else None)
    write_json(file, sweep_object(tally, code))
    return SweptSuite(tally, code, file, is_interrupted)


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


def workers_for(config: VerifyConfig, registry: Registry) -> Workers:
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


def _table_file(config: VerifyConfig, name: str, several: Sequence[Finished] | None) -> Path:
    """Where the table of a suite is stored; of ``several`` runs each has a file of its own."""
    own = "" if several is None else f".{content_key(sorted(one.key for one in several))[:8]}"
    return Path(config.results) / FOLDER / TABLES / f"{slug(name)}{own}.json"
