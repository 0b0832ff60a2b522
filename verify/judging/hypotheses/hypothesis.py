"""One entry of the registry: a cause that was seen in the wild, and how stored predictions show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from verify.judging.cases import Case, Trial
from verify.store.predictions import Family


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause.

    ``cause`` says in plain words what the author would have done, with ``{setting}`` for the setting found: it
    completes the sentence "The card's number is reached if …". ``families`` are those that it bears on, None for all.
    ``replay`` yields a trial for every setting, without a model. ``weight`` orders causes beforehand: that of the more
    common one, or of the one with the fewer settings, is larger. Among causes that fit equally well the heavier one is
    named, and lighter ones do not count in its chance of a coincidence. ``version`` changes whenever the settings tried
    do.
    """

    name: str
    cause: str
    families: frozenset[Family] | None
    replay: Callable[[Case], Iterable[Trial]]
    weight: float = 1.0
    version: int = 1

    def applies(self, case: Case) -> bool:
        return self.families is None or case.predictions.family in self.families
