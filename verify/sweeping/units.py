"""What a sweep hands to a worker and what comes back: one unit is one model with all of its cells.

A model is loaded once for all of its tasks, so the model is what is handed out. A cell, one split of one task, is what
fails: a unit whose worker died comes back without the cells that are done, and a cell that failed too often is given up
so that the others go on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

OPENED = "opened"
"""The event that tells which ``cells`` (of task and split) a unit has, and the ``model``; those that follow are the
engine's, with ``cell`` a position in that list."""

LIFE = "alive"
"""The event by which a worker that has nothing else to say shows that it is alive and waits for somebody else."""


@dataclass(frozen=True)
class Unit:
    """One model to check.

    ``key`` identifies what is asked (the model's content, the tasks and all settings): equal keys have equal answers.
    ``tasks`` are those asked for, None for whatever the card claims. ``devices`` is how many GPUs it needs, more than
    one where the model is spread over them. ``attempt`` counts the workers that died of it: every further attempt uses
    a quarter of the batch. ``given_up`` maps a cell, as ``task/split``, to why it is not tried again. ``retry`` is the
    command that checks this model by itself.
    """

    reference: str
    key: str
    tasks: tuple[str, ...] | None = None
    devices: int = 1
    attempt: int = 0
    given_up: Mapping[str, str] = field(default_factory=dict)
    retry: str = ""


@dataclass(frozen=True)
class Finished:
    """What became of a unit: the verdicts lie in ``folder``, or ``error`` says why there are none.

    ``error_kind`` is the name of the error's class in :mod:`verify.errors`. ``settled`` says whether the same unit need
    never be run again: nothing failed.
    """

    reference: str
    key: str
    model: str
    folder: str | None
    exit_code: int
    settled: bool
    seconds: float
    error: str | None = None
    error_kind: str | None = None


@dataclass(frozen=True)
class Happened:
    """A worker reports on its unit: :data:`OPENED`, or an event of the engine."""

    unit: Unit
    worker: str
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Ended:
    """A worker is done with its unit."""

    unit: Unit
    worker: str
    finished: Finished


@dataclass(frozen=True)
class Died:
    """A worker died of its unit, or was ended because it showed no sign of progress.

    ``message`` is one paragraph that ends in the tail of its log; ``cell`` is the cell at hand, as ``task/split``, None
    while the model was being opened.
    """

    unit: Unit
    worker: str
    message: str
    cell: str | None


Report = Happened | Ended | Died


class Workers(Protocol):
    """Those who work on units: processes of this machine, a Ray cluster, or Slurm jobs."""

    @property
    def free(self) -> int:
        """How many devices no unit has been given."""

    @property
    def opened(self) -> Collection[str]:
        """The keys of units that somebody who is free has opened ahead: best given out next."""

    def begin(self, unit: Unit) -> None:
        """Give a unit to a worker; there must be ``unit.devices`` free."""

    def ahead(self, units: Sequence[Unit]) -> None:
        """Name the units that are likely to come next, so that they may be fetched meanwhile."""

    def reports(self, timeout: float) -> Iterator[Report]:
        """What has happened, waiting for the first of it for ``timeout`` seconds at most."""

    def close(self, *, at_once: bool) -> None:
        """End every worker: after the shard at hand, or at once. Nothing that is stored is lost."""
