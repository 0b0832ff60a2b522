"""Settings for which a model was rerun, kept with the run that they may explain.

A search that was paid for is not paid for again, and needs no model the next time.

    <run folder>/trials.json      what each setting gives for each claim, by claim id
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from verify.foundation.content import content_key
from verify.foundation.plain import UnreadableError, from_plain
from verify.judging.cases import Case, Trial
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics import SCORER_VERSION
from verify.store.files import DamagedError, checked, read_stored, write_json, write_sealed
from verify.tasks.kinds import scoring_settings

SCHEMA = "verify.trials/1"
FILE = "trials.json"


@dataclass(frozen=True)
class _Kept:
    """A trial with what the search asks of its hypothesis."""

    cause: str
    weight: float
    version: int
    trial: Trial

    def paid(self) -> tuple[Hypothesis, Trial]:
        found = Hypothesis(self.trial.hypothesis, self.cause, None, lambda case: (), self.weight, self.version)
        return found, self.trial


@dataclass(frozen=True)
class _Trials:
    """``scoring`` identifies how the reruns were scored."""

    schema: str
    scoring: str
    trials: tuple[_Kept, ...]


def keep(case: Case, paid: Sequence[tuple[Hypothesis, Trial]]) -> None:
    """Store trials beside the run of the case, in the place of earlier ones of the same settings.

    Raises StoreError if that is impossible.
    """
    file = _file(case)
    if file is None or not paid:
        return
    new = [_Kept(one.cause, one.weight, one.version, trial) for one, trial in paid if trial.values]
    merged = {(one.trial.hypothesis, one.trial.setting): one for one in (*_read(case), *new)}
    found = asdict(_Trials(SCHEMA, _scoring(case), tuple(merged.values())))
    if _is_received(case):
        write_json(file, found)
    else:
        write_sealed(file, found, depth=4)


def kept(case: Case) -> list[tuple[Hypothesis, Trial]]:
    """The trials stored beside the run of the case that say something about a claim that differs."""
    return [one.paid() for one in _read(case) if case.differing & one.trial.values.keys()]


def _read(case: Case) -> Sequence[_Kept]:
    """What is stored; nothing where it is unreadable, not made here, or scored otherwise than the case is now.

    Beside a run that was received, what anybody has stored counts.
    """
    file = _file(case)
    try:
        found = read_stored(file, depth=4) if file else None
        if found is None or not (found[1] or _is_received(case)):
            return ()
        stored: _Trials = from_plain(_Trials, found[0])
    except (DamagedError, UnreadableError):
        return ()
    return stored.trials if (stored.schema, stored.scoring) == (SCHEMA, _scoring(case)) else ()


def _file(case: Case) -> Path | None:
    return Path(case.measurement.result).parents[1] / FILE if case.measurement.result else None


def _is_received(case: Case) -> bool:
    return case.measurement.provenance.get("made_here") is False


def require_readable(folder: Path) -> None:
    """Raise DamagedError if the trials stored in the folder of a run are no trials."""
    found = read_stored(folder / FILE, depth=4)
    if found is not None:
        checked(folder / FILE, partial(from_plain, _Trials), found[0])


def drop_damaged(folder: Path) -> None:
    """Remove what is stored in the folder of a run as trials, and is none: they are paid for again where asked for."""
    try:
        require_readable(folder)
    except DamagedError:
        with contextlib.suppress(OSError):
            (folder / FILE).unlink(missing_ok=True)


def _scoring(case: Case) -> str:
    settings: Mapping[str, object] = scoring_settings(case.task.kind, case.task.settings)
    return content_key([SCORER_VERSION, dict(settings)])
