"""Causes that the card itself shows: another row of its table of epochs, another split's number of examples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal

from verify.claims.meaning.arithmetic import is_counted, possible_counts, printed
from verify.judging.cases import Case, Trial, score_in_form
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.meanings import FORMS, readings
from verify.metrics.names import METRICS
from verify.types import Claim

MEANINGFUL = 0.05
"""The share of all numbers that fit some count of another split's examples, above which a fit says nothing."""


def _other_epochs(case: Case) -> Iterator[Trial]:
    """The weights are those of one row of the table, as the rerun shows, and the claims may be those of another.

    Tried are the rows that authors quote: the best by each metric, that of the lowest validation loss, and the last.
    """
    table = _table(case)
    count = len(next(iter(table.values()), ()))
    rerun = {row for row in range(count) if _is_rerun(case, table, row)}
    if not rerun:
        return
    for row, why in _quoted(table, count).items():
        if row not in rerun:
            values = {claim.claim_id: table[claim.metric][row] for claim in case.claims if claim.metric in table}
            yield Trial("other_epoch", f"row {row + 1} of {count}, {' and '.join(why)}", values)


def _table(case: Case) -> dict[str, tuple[float, ...]]:
    """The columns of the card's table of epochs that claims of the case are about, and its loss; none with gaps."""
    longest = max(map(len, case.epochs.values()), default=0)
    claimed = {claim.metric for claim in case.claims}
    whole = {name: values for name, values in case.epochs.items() if len(values) == longest}
    found = {name: values for name, values in whole.items() if name in claimed}
    return {**found, **({"loss": whole["loss"]} if found and "loss" in whole else {})}


def _is_rerun(case: Case, table: Mapping[str, tuple[float, ...]], row: int) -> bool:
    """Whether the rerun agrees with one row, within its digits and the flip budget.

    The loss counts only where nothing else is known: in training it is often that of half precision.
    """
    measured, agrees = case.measurement.scores, []
    for name in sorted(set(table) - {"loss"}) or sorted(table):
        scores = [score_in_form(name, one, measured[one]) for one in readings(name, measured) if one in measured]
        if scores:
            half, value = _half_unit(table[name]), table[name][row]
            agrees.append(any(abs(one.value - value) <= (one.budget + half) * (1 + 1e-9) for one in scores))
    return bool(agrees) and all(agrees)


def _quoted(table: Mapping[str, tuple[float, ...]], count: int) -> dict[int, list[str]]:
    """The rows that authors quote, and why."""
    reasons: dict[int, list[str]] = {}
    for name, values in table.items():
        meant = FORMS.get(name) or METRICS.get(name)
        best = (max if meant is None or meant.greater_is_better else min)(values)
        why = "the lowest validation loss" if name == "loss" else f"the best {name}"
        reasons.setdefault(values.index(best), []).append(why)
    reasons.setdefault(count - 1, []).append("the last")
    return reasons


def _half_unit(values: tuple[float, ...]) -> float:
    """Half a unit of the last digit that a column prints, as its most precise number shows."""
    digits = [Decimal(repr(round(value, 10))).normalize().as_tuple().exponent for value in values]
    return 0.5 * 10.0 ** min((one for one in digits if isinstance(one, int)), default=0)


def _other_splits(case: Case) -> Iterator[Trial]:
    """A share of N examples is k/N: the claims may be counts of another split's examples, and of this one's not.

    The values are chosen after the claim, so a trial states the chance that some other number would have fitted too.
    Nothing else can be said of the other split, so all claims of the case must be such shares and differ.
    """
    here = case.measurement.population
    if not case.claims or not all(is_counted(claim) and claim.claim_id in case.differing for claim in case.claims):
        return
    for split, size in case.rows.items():
        chance = min(_share_that_fits(claim, size) for claim in case.claims) if size > 0 else 1.0
        if size != here and chance <= MEANINGFUL:
            values = {claim.claim_id: _count_elsewhere(claim, size, here) for claim in case.claims}
            yield Trial("other_split", f"{split}, {size:,} examples", values, chance=chance)


def _share_that_fits(claim: Claim, size: int) -> float:
    """The probability that a number printed as this claim is would be some count of ``size`` examples."""
    allowed = printed(claim.literal, claim.unit)
    return min(float(allowed.high - allowed.low) * (size + 1), 1.0) if allowed else 1.0


def _count_elsewhere(claim: Claim, size: int, here: int) -> float:
    """The share of ``size`` examples that the claim prints; NaN if there is none, or if it is one of ``here`` too."""
    counts = possible_counts(claim, size)
    if not counts or possible_counts(claim, here):
        return math.nan
    return counts[len(counts) // 2] / size


HYPOTHESES = (
    Hypothesis(
        "other_epoch",
        "it is another row of the card's own table of epochs than the one that these weights give ({setting})",
        None,
        _other_epochs,
        weight=2.5,
    ),
    Hypothesis(
        "other_split",
        "it is counted on another split, whose number of examples it fits while no count of this one does ({setting})",
        None,
        _other_splits,
        weight=0.2,
    ),
)
"""The hypotheses on the card."""
