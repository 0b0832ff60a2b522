"""The verdicts of a whole sweep, and which of them stand when all of its claims are counted.

A check counts the claims of its own model. Over two hundred models the chances that parts of splits contradict honest
claims add up, so a sweep counts once more (:mod:`verify.judging.many`): of the claims that parts of their splits
contradict, those stand that are flagged among all that the sweep attempted. The others are not settled for the sweep;
the verdicts stored with each model stay as they are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verify.judging.many import flagged
from verify.types import Rung, VerdictKind

_KINDS_OF_ERRORS = {"BlockedError": VerdictKind.BLOCKED, "NotComparableError": VerdictKind.UNVERIFIABLE}


@dataclass(frozen=True)
class Judged:
    """One verdict of a model: ``entry`` is what ``verify check --json`` prints of it.

    ``own_kind`` is that of the verdict stored with the model, and ``stands`` says whether the sweep agrees.
    """

    entry: Mapping[str, Any]
    own_kind: VerdictKind
    rung: Rung | None
    stands: bool = True

    @classmethod
    def read(cls, entry: Mapping[str, Any]) -> Judged:
        """Raises KeyError, TypeError or ValueError if ``entry`` is no verdict."""
        return cls(entry, VerdictKind(entry["kind"]), Rung(entry["evidence"]) if entry["evidence"] else None)

    @property
    def kind(self) -> VerdictKind:
        """What the sweep makes of the claim."""
        return self.own_kind if self.stands else VerdictKind.INCONCLUSIVE

    def e_value(self, alpha: float) -> float:
        """The evidence against the claim; 0, which is always allowed, unless its own verdict contradicts it.

        Whatever is no sample has no sampling error. A sample that was stored without its e-value has at least the one
        that contradicts a claim alone.
        """
        if self.own_kind.holds is not False:
            return 0.0
        if self.rung is not Rung.SAMPLED:
            return math.inf
        known = self.entry.get("e_value")
        return 1 / alpha if known is None else float(known)


@dataclass(frozen=True)
class Swept:
    """One model of a sweep: its verdicts lie in ``folder``, or ``error`` says why there are none.

    ``error_kind`` is the name of the error's class; ``seconds`` is the wall time.
    """

    model: str
    reference: str
    folder: str | None
    seconds: float
    verdicts: tuple[Judged, ...] = ()
    error: str | None = None
    error_kind: str | None = None

    @property
    def kinds(self) -> Counter[VerdictKind]:
        """How many verdicts of each kind; a model of which nothing could be judged counts as one that says why."""
        if self.error is not None:
            return Counter([_KINDS_OF_ERRORS.get(self.error_kind or "", VerdictKind.ERROR)])
        return Counter(verdict.kind for verdict in self.verdicts)

    @property
    def attempted(self) -> int:
        return sum(verdict.rung is not None for verdict in self.verdicts)

    @property
    def flagged(self) -> tuple[Judged, ...]:
        """The verdicts on claims that do not hold."""
        return tuple(verdict for verdict in self.verdicts if verdict.kind.holds is False)


@dataclass(frozen=True)
class Tally:
    """All models of a sweep: those with flagged claims first, then those that failed, then the rest, each by name.

    ``alpha`` (a fraction) is the false discovery rate to which the flagged claims are held, ``seconds`` the wall time.
    """

    name: str
    models: tuple[Swept, ...]
    alpha: float
    seconds: float = 0.0
    is_complete: bool = True

    @classmethod
    def of(
        cls, name: str, models: Sequence[Swept], alpha: float, seconds: float = 0.0, *, is_complete: bool = True
    ) -> Tally:
        """Count all claims of the ``models`` at once; a model that stands there twice is counted once."""
        each = {one.folder or f"{one.reference} {place}": one for place, one in enumerate(models)}
        read = sorted(counted(list(each.values()), alpha), key=_order)
        return cls(name, tuple(read), alpha, seconds, is_complete)

    @property
    def kinds(self) -> Counter[VerdictKind]:
        """How many verdicts of each kind there are."""
        return sum((model.kinds for model in self.models), Counter())

    @property
    def attempted(self) -> int:
        return sum(model.attempted for model in self.models)

    @property
    def flagged(self) -> int:
        return sum(len(model.flagged) for model in self.models)

    @property
    def not_settled(self) -> list[tuple[Swept, Judged]]:
        """The claims that their own model's verdicts contradict and the sweep leaves open."""
        return [(model, verdict) for model in self.models for verdict in model.verdicts if not verdict.stands]


def counted(models: Sequence[Swept], alpha: float) -> list[Swept]:
    """The models with those claims marked that no longer stand at a false discovery rate of ``alpha`` (a fraction)."""
    evidence = {
        f"{place} {number}": verdict.e_value(alpha)
        for place, model in enumerate(models)
        for number, verdict in enumerate(model.verdicts)
        if verdict.rung is not None
    }
    standing = flagged(evidence, alpha)
    return [
        replace(
            model,
            verdicts=tuple(
                replace(verdict, stands=verdict.own_kind.holds is not False or f"{place} {number}" in standing)
                for number, verdict in enumerate(model.verdicts)
            ),
        )
        for place, model in enumerate(models)
    ]


def _order(model: Swept) -> tuple[int, int, str, str]:
    return (-len(model.flagged), -model.kinds[VerdictKind.ERROR], model.model, model.reference)
