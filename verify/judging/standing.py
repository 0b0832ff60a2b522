"""One claim beside the rerun of a case: what it allows, and what a trial makes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from verify.judging.cases import Case, Trial, score_in_form
from verify.judging.intervals import agrees_if_cut, contains
from verify.metrics.meanings import FORMS, readings
from verify.metrics.names import METRICS
from verify.types import Claim, Unit


@dataclass(frozen=True)
class Standing:
    """A claim, with what was ``measured`` in the nearest reading of its metric, and its flip ``budget``.

    Both are in the claim's own unit. ``differs`` says that it is one to explain; otherwise it holds.
    """

    claim: Claim
    measured: float
    budget: float
    greater_is_better: bool
    differs: bool

    @property
    def half(self) -> float:
        """Half a unit of the last printed digit."""
        return (self.claim.interval.high - self.claim.interval.low) / 2

    @property
    def size(self) -> float:
        """What one means: the whole scale of a fraction or a percentage, the score itself of a raw metric."""
        if self.claim.unit is not Unit.RAW:
            return self.claim.scale
        return abs(self.measured) or abs(self.claim.value) or 1.0

    @property
    def away(self) -> float:
        """How far the claim is from the rerun, a share of ``size``; as far as rounding goes, at least."""
        return max(abs(self.measured - self.claim.value), self.half) / self.size

    def number(self, trial: Trial) -> float:
        """What the claim would say under a trial, in its own unit; NaN if the trial does not bear on it."""
        return trial.values.get(self.claim.claim_id, math.nan) * self.claim.scale

    def noise(self, trial: Trial) -> float:
        """The share of the flip budget that a trial takes to agree with the claim; infinite if it does not agree."""
        return self._noise(self.number(trial), trial.reach * self.claim.scale)

    def holds(self, number: float, reach: float = 0.0) -> bool:
        return math.isfinite(self._noise(number, reach)) or agrees_if_cut(self.claim, number)

    def keeps(self, trial: Trial) -> bool:
        """Whether the claim, which holds, still does under a trial."""
        bears = self.claim.claim_id in trial.values
        return not bears or self.holds(self.number(trial), trial.reach * self.claim.scale)

    def _noise(self, number: float, reach: float) -> float:
        near = self.claim.interval.widened(reach)
        if not math.isfinite(number) or not contains(near.widened(self.budget), number):
            return math.inf
        if contains(near, number) or self.budget <= 0:
            return 0.0
        return min(max(near.low - number, number - near.high) / self.budget, 1.0)

    def around(self, number: float, margin: float, spread: float) -> tuple[float, float]:
        """Where an unrelated claim would agree with ``number`` give or take ``margin``.

        In standard deviations from what was measured, as :func:`chance_of_a_meeting` takes them.
        """
        middle, half = (number - self.measured) * (1 if self.greater_is_better else -1), self.half + margin
        return (middle - half) / (spread * self.size), (middle + half) / (spread * self.size)


def standings(case: Case) -> list[Standing]:
    """The claims that say something about a setting: those that differ, and those that hold.

    One that neither holds nor is said to differ (its split is not stated …) is no evidence either way.
    """
    found = []
    for claim in case.claims:
        standing = _of(claim, case)
        if standing is not None and (standing.differs or standing.holds(standing.measured)):
            found.append(standing)
    return found


def _of(claim: Claim, case: Case) -> Standing | None:
    measured = case.measurement.scores
    found = [
        (score_in_form(claim.metric, name, measured[name]), FORMS.get(claim.metric) or METRICS.get(name))
        for name in readings(claim.metric, measured)
        if name in measured and math.isfinite(measured[name].value)
    ]
    if not found:
        return None
    score, meant = min(found, key=lambda one: abs(one[0].value * claim.scale - claim.value))
    return Standing(
        claim,
        score.value * claim.scale,
        score.budget * claim.scale,
        meant is None or meant.greater_is_better,
        claim.claim_id in case.differing,
    )
