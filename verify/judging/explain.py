"""Which single setting explains a difference: every registered hypothesis is tried on the stored predictions.

A search over many settings finds something by chance, so the search states how likely that is, and names a cause only
where it is unlikely. Every trial is kept, whether it fits or not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from verify.judging.cases import Case, Trial
from verify.judging.chance import chance_of_a_meeting
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.judging.standing import Standing, standings
from verify.types import Claim, Verdict, VerdictKind

CERTAIN, POSSIBLE = 0.05, 0.30
"""The chances of a coincidence up to which a fitting setting is the explanation, and a possible one."""

SPREAD = 0.05
"""The standard deviation of claims that have nothing to do with the rerun: 5 points, or 5 % of a raw metric."""

STEPS = 4
"""The steps in which the flip budget is spent: a trial that takes less of it is the better one."""


@dataclass(frozen=True)
class Tried:
    """One trial, with the hypothesis that it belongs to.

    It ``fits`` if every claim that differs is met under it and every other one still holds. ``steps`` of a claim's flip
    budget (of ``STEPS``) are what this takes: 0 where all agree with the digits printed. ``distance`` sums, over the
    claims that differ, how far the claim is from the trial's number, in halves of what the claim allows.
    """

    hypothesis: Hypothesis
    trial: Trial
    fits: bool
    steps: int
    distance: float

    @property
    def rank(self) -> tuple[int, float]:
        """What is believed first: fewer steps of numerical noise, then the larger weight."""
        return self.steps, -self.hypothesis.weight


@dataclass(frozen=True)
class Search:
    """All that was tried on one case, and the ``best`` of what fits, if anything does.

    ``chance`` is the probability (a fraction) that claims unrelated to the rerun, and about as far from it as these,
    would have met some setting that ranks as high as the best one or higher; without a best one, that they would have
    met any. The ranks are fixed beforehand, so the rare causes do not make the common ones any less certain.
    """

    tried: tuple[Tried, ...]
    best: Tried | None
    chance: float

    @property
    def others(self) -> tuple[Tried, ...]:
        """What fits beside the best one."""
        return tuple(one for one in self.tried if one.fits and one is not self.best)


def search(case: Case, hypotheses: Iterable[Hypothesis], paid: Iterable[tuple[Hypothesis, Trial]] = ()) -> Search:
    """Try every hypothesis that applies; ``paid`` are trials that were rerun. Costs no inference itself.

    Of the trials that fit, those that agree with the printed digits come before those that take numerical noise, then
    the hypothesis of larger weight, then the closer one, then the first.
    """
    known = standings(case)
    differing = [standing for standing in known if standing.differs]
    holding = [standing for standing in known if not standing.differs]
    replays = [(one, trial) for one in hypotheses if one.applies(case) for trial in one.replay(case) if trial.values]
    tried = tuple(_tried(differing, holding, one, trial) for one, trial in [*replays, *paid])
    if not differing or case.differing != {standing.claim.claim_id for standing in differing}:
        return Search(tuple(replace(one, fits=False) for one in tried), None, 1.0)
    best = min((one for one in tried if one.fits), key=lambda one: (*one.rank, one.distance), default=None)
    possible = [one for one in tried if all(standing.keeps(one.trial) for standing in holding)]
    return Search(tried, best, _chance(differing, possible, best.rank if best else (STEPS, math.inf)))


def explained(verdict: Verdict, found: Search) -> Verdict:
    """The verdict on a claim that differs, with what the search found; its kind changes only where chance is ruled out.

    Verdicts of other kinds are returned as they are.
    """
    if verdict.kind not in (VerdictKind.OVERSTATED, VerdictKind.UNDERSTATED):
        return verdict
    verdict = replace(verdict, explanation=explanation_entry(verdict.claim, found))
    best = found.best
    if best is None or verdict.claim.claim_id not in best.trial.values:
        return verdict
    cause, share = _cause(best), _share(found.chance)
    if found.chance > CERTAIN:
        how = "could explain it" if found.chance <= POSSIBLE else "would fit, as many numbers would"
        note = f"A cause that {how}: the card's number is reached if {cause} (chance of a coincidence {share})."
        return replace(verdict, notes=(note, *verdict.notes))
    others = [one for one in found.others if one.hypothesis.name != best.hypothesis.name]
    also = f" It is reached, too, if {_cause(others[0])}." if others else ""
    return replace(
        verdict,
        kind=VerdictKind.EXPLAINED,
        rule=f"explained by {best.hypothesis.name}",
        reason=f"{verdict.reason} The card's number is reached if {cause}.{also} {len(found.tried)} settings were "
        f"tried; the chance that an unrelated number would meet this one, or one as common, is {share}.",
        next_step="Ask the author to state this setting on the card, or compare models by the number measured here.",
    )


def explanation_entry(claim: Claim, found: Search) -> dict[str, Any]:
    """What a verdict keeps of a search, as plain values: the setting that fits, all that was tried, and the chance.

    ``value`` is what the claim would say under the setting, in the claim's own unit; None if it does not bear on it.
    """

    def entry(one: Tried) -> dict[str, Any]:
        value = one.trial.values.get(claim.claim_id)
        return {
            "hypothesis": one.hypothesis.name,
            "version": one.hypothesis.version,
            "setting": one.trial.setting,
            "value": value * claim.scale if value is not None and math.isfinite(value) else None,
            "fits": one.fits,
        }

    best = found.best
    return {
        "found": None if best is None else entry(best),
        "certain": best is not None and found.chance <= CERTAIN,
        "chance": found.chance,
        "tried": [entry(one) for one in found.tried],
    }


def _tried(differing: Sequence[Standing], holding: Sequence[Standing], hypothesis: Hypothesis, trial: Trial) -> Tried:
    noise = max((standing.noise(trial) for standing in differing), default=math.inf)
    if not math.isfinite(noise) or not all(standing.keeps(trial) for standing in holding):
        return Tried(hypothesis, trial, False, STEPS, math.inf)
    away = (abs(one.number(trial) - one.claim.value) / (one.half + one.budget) for one in differing)
    return Tried(hypothesis, trial, True, math.ceil(noise * STEPS), sum(away))


def _chance(differing: Sequence[Standing], possible: Iterable[Tried], rank: tuple[int, float]) -> float:
    """The chance that unrelated claims meet a trial of this ``rank`` or a higher one.

    It is taken under the less favourable of two ideas of how far such claims lie: as far from the rerun as the claims
    of the case do; or, where that is near, ``SPREAD`` away. The first makes settings near the rerun count where the
    claims are near it (the best of five seeds), and forgets them where the claims are far from it (another order of the
    labels). A trial that states its own chance adds that.
    """
    steps, lightness = rank
    counted, own = [], 0.0
    for one in possible:
        allowed = steps if -one.hypothesis.weight <= lightness else steps - 1
        if allowed < 0:
            continue
        if one.trial.chance > 0:
            own += one.trial.chance
        elif all(math.isfinite(standing.number(one.trial)) for standing in differing):
            counted.append((one.trial, allowed / STEPS))
    away = max(standing.away for standing in differing)
    return min(max(_chance_at(differing, counted, spread) for spread in {away, max(away, SPREAD)}) + own, 1.0)


def _chance_at(differing: Sequence[Standing], counted: Sequence[tuple[Trial, float]], spread: float) -> float:
    """``counted`` gives with each trial the share of the flip budgets that it may take."""
    boxes = [
        [one.around(one.number(trial), noise * one.budget + trial.reach * one.claim.scale, spread) for one in differing]
        for trial, noise in counted
    ]
    held = [one.around(one.measured, one.budget, spread) for one in differing]
    return chance_of_a_meeting(np.array(boxes).reshape(-1, len(differing), 2), np.array(held))


def _cause(one: Tried) -> str:
    return one.hypothesis.cause.format(setting=one.trial.setting)


def _share(chance: float) -> str:
    return f"{chance:.2%}" if chance >= 0.0001 else "below 0.01%"
