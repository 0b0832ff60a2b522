"""Handing out units until every one has an answer, whoever dies meanwhile.

:class:`Schedule` decides and touches nothing; :func:`sweep` does what it says.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

from verify.configuration.schema import VerifyConfig
from verify.configuration.values import bytes_of
from verify.errors import EngineError, VerifyError
from verify.foundation.plain import UnreadableError, from_plain
from verify.hub.models import HUB
from verify.store import seals
from verify.store.files import read_sealed, write_sealed
from verify.store.runs import slug
from verify.sweeping.evict import Evictor
from verify.sweeping.units import Died, Ended, Finished, Report, Unit, Workers
from verify.sweeping.workers.work import FOLDER, failed, verdicts_file

SCHEMA = "verify.unit/1"
BETWEEN_LOOKS = 1.0  # seconds
SOON = 512
"""So many units are held to come soon: more than there are workers."""

_TOO_LARGE = (
    "{} needs {} devices, and this machine or cluster has {}. Run it where there are more, or choose engine.device=cpu."
)


class InterruptedSweepError(Exception):
    """Somebody wants the sweep to end before it is done; ``finished`` is what was done."""

    def __init__(self, finished: Sequence[Finished]) -> None:
        super().__init__("interrupted")
        self.finished = tuple(finished)


class Schedule:
    """Which unit comes next, and what becomes of one whose worker died.

    Units come in the order given. A cell whose worker died is begun again ``retries`` times, first of all units and in
    smaller batches; then it is given up, and the other cells of its model go on. A model of which workers die while it
    is opened is given up as a whole.
    """

    def __init__(self, units: Sequence[Unit], retries: int) -> None:
        self._pending = list(units)
        self._retries = retries
        self._deaths: Counter[tuple[str, str | None]] = Counter()
        self._running: dict[str, Unit] = {}
        self.finished: list[Finished] = []

    @property
    def is_done(self) -> bool:
        return not self._pending and not self._running

    def next(self, free: int, opened: Collection[str] = ()) -> Unit | None:
        """The first unit for which there are devices enough; it counts as running from now on.

        One of the keys ``opened`` is preferred if it would come soon.
        """
        fitting = list(islice((unit for unit in self._pending if unit.devices <= free), SOON))
        soon = [unit for unit in fitting if unit.key in opened]
        for unit in [*soon, *fitting][:1]:
            self._pending.remove(unit)
            self._running[unit.key] = unit
            return unit
        return None

    def upcoming(self) -> list[Unit]:
        """The units that come next, a few of them."""
        return self._pending[:SOON]

    def too_large(self, free: int) -> list[Ended]:
        """What is to be heard of units that need more devices than are ``free`` though nothing runs."""
        if self._running or free <= 0 or any(unit.devices <= free for unit in self._pending):
            return []
        found = []
        for unit in self._pending:
            error = EngineError(_TOO_LARGE.format(unit.reference, unit.devices, free))
            found.append(Ended(unit, "nobody", failed(unit, unit.reference, error, 0.0)))
        self._pending = []
        return found

    def in_use(self) -> set[str]:
        """The Hub's names of the models that are not done."""
        return {
            unit.reference.removeprefix(HUB).partition("@")[0] for unit in (*self._pending, *self._running.values())
        }

    def heard(self, report: Report) -> Finished | None:
        """Take a report in; what became of its unit, if that is decided now."""
        if isinstance(report, Died):
            return self._died(report.unit, report.message, report.cell)
        if isinstance(report, Ended):
            self._running.pop(report.unit.key, None)
            self.finished.append(report.finished)
            return report.finished
        return None

    def _died(self, unit: Unit, message: str, cell: str | None) -> Finished | None:
        """Put a unit back whose worker died; what becomes of it if it is given up."""
        self._running.pop(unit.key, None)
        self._deaths[unit.key, cell] += 1
        if self._deaths[unit.key, cell] <= self._retries:
            self._pending.insert(0, replace(unit, attempt=unit.attempt + 1))
            return None
        if cell is not None and cell not in unit.given_up:
            self._pending.insert(0, replace(unit, attempt=0, given_up={**unit.given_up, cell: message}))
            return None
        finished = failed(unit, unit.reference, EngineError(message), 0.0)
        self.finished.append(finished)
        return finished


def sweep(
    units: Sequence[Unit], workers: Workers, config: VerifyConfig, follow: Callable[[Report], None]
) -> list[Finished]:
    """Have every unit worked on, store what became of each at once, and return that, in the order of ending.

    ``follow`` receives every report, and an :class:`verify.sweeping.units.Ended` for each unit that is given up. The
    workers are closed whatever happens. Raises :class:`InterruptedSweepError` on Ctrl-C, with what was done (a second
    Ctrl-C ends the workers at once), and StoreError if results cannot be written; what was done before is kept.
    """
    seals.establish()
    schedule = Schedule(units, config.sweep.retries)
    at_once = True
    try:
        results = Path(config.results)
        budget = bytes_of(config.sweep.disk) if config.sweep.disk else None
        evictor = Evictor(budget, results / FOLDER, schedule.in_use()) if budget is not None else None
        while not schedule.is_done:
            while (free := workers.free) > 0 and (unit := schedule.next(free, workers.opened)):
                workers.begin(unit)
            workers.ahead(schedule.upcoming())
            for report in schedule.too_large(workers.free) or workers.reports(BETWEEN_LOOKS):
                follow(report)
                ended = schedule.heard(report)
                if ended is None:
                    continue
                write_finished(results, ended)
                if isinstance(report, Died):
                    follow(Ended(report.unit, report.worker, ended))
                if evictor is not None:
                    evictor.finished(ended.model.partition("@")[0], schedule.in_use())
    except KeyboardInterrupt:
        at_once = False
        raise InterruptedSweepError(schedule.finished) from None
    finally:
        try:
            workers.close(at_once=at_once)
        except KeyboardInterrupt:
            workers.close(at_once=True)
    return schedule.finished


def write_finished(results: Path, finished: Finished) -> None:
    """Store what became of a unit where :func:`read_finished` finds it."""
    write_sealed(_file(results, finished.key), {"schema": SCHEMA, **asdict(finished)}, depth=2)


def read_finished(results: Path, key: str) -> Finished | None:
    """What became of a unit in an earlier sweep, None if that is not known or must be tried again.

    Only what this user's sweeps have stored counts.
    """
    found = read_sealed(_file(results, key), depth=2)
    if found is None or found.pop("schema", None) != SCHEMA:
        return None
    with contextlib.suppress(UnreadableError, VerifyError):
        finished: Finished = from_plain(Finished, found)
        if finished.settled and finished.folder is None:
            return finished
        if finished.settled and read_sealed(verdicts_file(results, key), depth=3) is not None:
            return replace(finished, folder=str(results / slug(finished.model)))
    return None


def _file(results: Path, key: str) -> Path:
    return results / FOLDER / f"{key}.json"
