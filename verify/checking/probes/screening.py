"""Whether the first examples of a run already rule out that the whole of it would give what the card claims.

The score of a part is compared with that of the same examples in the rerun, so that what makes some examples harder
than others cancels out; only where the examples are others (another split) does the part stand for itself. Its noise is
measured by leaving out one of 50 groups of examples at a time (the delete-a-group jackknife: Kott 2001, Journal of
Official Statistics 17, 521), which serves every metric alike. A part of which too little is known rules out nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verify.judging.cases import Case, in_form
from verify.judging.intervals import allowed
from verify.metrics.meanings import readings
from verify.metrics.registry import additive_metrics, measure
from verify.store.predictions import Predictions, subset
from verify.types import Claim, Setting

GROUPS = 50

FEWEST = 128
"""Examples below which nothing is ruled out."""

DEVIATIONS, UNSEEN = 4.0, 7.0
"""How many standard errors a claim must be away, and how many changed examples more: where a change comes to 7 examples
of a part on average, it shows in none of them with a chance of e⁻⁷, a tenth of a percent. A run is looked at some ten
times, so fewer than one setting in a hundred is given up that would have met the claims."""

_Values = dict[tuple[str, str], float]
"""By claim and by the metric that it may stand for: what the claim would print, on the scale of Score."""


@dataclass(frozen=True)
class Outlook:
    """What ``n`` examples of a run make of the whole: for each claim the value expected, and how far it may be off.

    Both are in the standard reading, on the scale of :class:`verify.types.Score`. ``is_ruled_out`` is true if some
    claim cannot be met in any reading.
    """

    n: int
    values: Mapping[str, float]
    margins: Mapping[str, float]
    is_ruled_out: bool


def outlook(
    case: Case, part: Predictions, settings: Mapping[str, Setting], population: int, *, paired: bool
) -> Outlook:
    """What the predictions of a ``part`` of another run say about all ``population`` examples of its split.

    ``settings`` are the task's, ``paired`` says that the split is the rerun's. Claims whose metric the part does not
    give are left out.
    """
    score = _scorer(case, part, settings)
    if paired:
        same = subset(case.predictions, np.isin(case.predictions.example, part.example))
        score = _difference(score, _scorer(case, same, case.settings))
    groups = np.random.default_rng(0).permutation(len(part)) % GROUPS
    whole = score(np.ones(len(part), dtype=bool))
    without = [score(groups != group) for group in range(GROUPS)]
    before = _measured(case)
    unseen = max(1 - len(part) / population, 0.0)
    values: _Values = {}
    margins: _Values = {}
    for key, value in whole.items():
        left = np.array([one.get(key, math.nan) for one in without])
        error = math.sqrt((GROUPS - 1) / GROUPS * float(((left - left.mean()) ** 2).sum()) * unseen)
        bias = (GROUPS - 1) * abs(float(left.mean()) - value)
        values[key] = value + (before[key] if paired else 0.0)
        one_changed = max(abs(values[key]), 1.0) / len(part)
        margins[key] = DEVIATIONS * error + bias + UNSEEN * one_changed * unseen
    can_be_met = {
        claim.claim_id: [not _distance(case, claim, name, values[key]) > margins[key] for name, key in known]
        for claim in case.claims
        if (known := [(name, key) for name in _names(case, claim) if (key := (claim.claim_id, name)) in values])
    }
    standard = {claim.claim_id: (claim.claim_id, name) for claim in case.claims for name in _names(case, claim)[:1]}
    return Outlook(
        len(part),
        {claim_id: values[key] for claim_id, key in standard.items() if key in values},
        {claim_id: margins[key] for claim_id, key in standard.items() if key in margins},
        len(part) >= FEWEST and not all(any(met) for met in can_be_met.values()),
    )


def _names(case: Case, claim: Claim) -> tuple[str, ...]:
    """The measured metrics that a claim may stand for, the standard one first, and alone where there is one."""
    measured = case.measurement.scores
    found = tuple(name for name in readings(claim.metric, measured) if name in measured)
    return found[:1] if found and found[0].endswith("_binary") else found


def _scorer(
    case: Case, predictions: Predictions, settings: Mapping[str, Setting]
) -> Callable[[NDArray[np.bool_]], _Values]:
    """From chosen rows to the numbers that the claims would print."""
    names = {claim.claim_id: _names(case, claim) for claim in case.claims}
    wanted = {name for found in names.values() for name in found}
    sums = {name: one for name, one in additive_metrics(predictions, settings, wanted).items() if name in wanted}

    def score(rows: NDArray[np.bool_]) -> _Values:
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = {name: float(one.value(one.statistics[rows].sum(axis=0))) for name, one in sums.items()}
        if others := wanted - set(scores):
            found, _ = measure(subset(predictions, rows), settings, others)
            scores |= {name: one.value for name, one in found.items()}
        return {
            (claim.claim_id, name): in_form(claim.metric, name, scores[name])
            for claim in case.claims
            for name in names[claim.claim_id]
            if math.isfinite(scores.get(name, math.nan))
        }

    return score


def _difference(
    one: Callable[[NDArray[np.bool_]], _Values], other: Callable[[NDArray[np.bool_]], _Values]
) -> Callable[[NDArray[np.bool_]], _Values]:
    def difference(rows: NDArray[np.bool_]) -> _Values:
        mine, theirs = one(rows), other(rows)
        return {key: mine[key] - theirs[key] for key in mine.keys() & theirs.keys()}

    return difference


def _measured(case: Case) -> _Values:
    scores = case.measurement.scores
    return {
        (claim.claim_id, name): in_form(claim.metric, name, scores[name].value)
        for claim in case.claims
        for name in _names(case, claim)
    }


def _distance(case: Case, claim: Claim, name: str, value: float) -> float:
    """How far a value lies outside of what a claim allows."""
    interval = allowed(claim, case.measurement.scores[name].budget)
    return max(interval.low / claim.scale - value, value - interval.high / claim.scale, 0.0)
