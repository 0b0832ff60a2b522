"""A claim and a measurement of the same examples → a verdict.

A full rerun of the same split has no sampling error. What remains is rounding (the print interval) and numerical noise
(the flip budget, measured). Everything outside of both is a difference, and its size is stated. Of a part of the split
the sequential tests (:mod:`verify.judging.sampled`) say what it shows.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, replace

from verify.errors import BlockedError, NotComparableError, VerifyError
from verify.judging.cases import score_in_form
from verify.judging.intervals import agrees_if_cut, allowed, contains
from verify.judging.sampled import Sampled
from verify.judging.sequential import Answer
from verify.metrics.meanings import FORMS, measured_for, readings
from verify.metrics.names import METRICS
from verify.tasks.data import DIFFERENT_DATA
from verify.tasks.match import Match
from verify.types import Claim, Interval, Measurement, Rung, Score, Unit, Verdict, VerdictKind


@dataclass(frozen=True)
class _Reading:
    """One thing that the claim's metric may mean, and how the measurement compares, all in the claim's unit."""

    metric: str
    score: Score
    measured: float
    interval: Interval

    @property
    def fits(self) -> bool:
        return contains(self.interval, self.measured)

    @property
    def distance(self) -> float:
        return max(self.interval.low - self.measured, self.measured - self.interval.high, 0.0)


def judge(
    claim: Claim, match: Match, measurement: Measurement, tolerance: float = 0.0, sampled: Sampled | None = None
) -> Verdict:
    """The verdict on a claim for which ``match`` found the task that ``measurement`` measured.

    ``tolerance`` (a fraction; for raw metrics in the metric's unit) is the policy's own allowance on top of rounding
    and flips. ``sampled`` is what a measurement of a part of the split shows, None where it can show nothing.
    """
    found = _readings(claim, measurement, tolerance)
    if not found:
        return unmeasurable(claim, match, measurement)
    if not measurement.is_full:
        e_value = min(sampled.evidence, sys.float_info.max) if sampled else None
        return replace(_of_part(claim, match, measurement, found[0], sampled), e_value=e_value)
    standard = found[0] if len(found) == 1 or found[0].metric.endswith("_binary") else None
    fitting = [reading for reading in found if reading.fits]
    if standard is not None and standard.fits:
        return _reproduced(claim, match, measurement, standard)
    if fitting and len(fitting) == len(found):
        return _reproduced(claim, match, measurement, fitting[0])
    if fitting:
        return _underspecified(claim, match, measurement, found, fitting)
    nearest = standard or min(found, key=lambda reading: reading.distance)
    if agrees_if_cut(claim, nearest.measured):
        return _reproduced(claim, match, measurement, nearest, cut=True)
    return _differs(claim, match, measurement, nearest)


def unmeasurable(claim: Claim, match: Match, measurement: Measurement | None = None) -> Verdict:
    """The verdict on a claim whose metric this task's kind does not give."""
    kind = match.task.kind if match.task else "this task"
    possible = measured_for(match.task.kind) if match.task else tuple(METRICS)
    known = sorted(measurement.scores) if measurement else possible
    notes = measurement.notes if measurement else ()
    undefined = next((note for note in notes if re.search(rf"\b{re.escape(claim.metric)}\b", note)), None)
    if _wrong_scale(claim, claim.metric):
        undefined = f"The card gives {claim.metric} as a percentage ({claim.literal}), which is no scale of it."
    return Verdict(
        VerdictKind.UNVERIFIABLE,
        claim,
        rule="metric not measured",
        reason=undefined or f"The metric {claim.metric} is not measured for {kind}.",
        next_step=f"Measured are: {', '.join(known)}. A task may name any `evaluate` module under metrics.",
        task=match.task.name if match.task else None,
        split=match.split or None,
        notes=match.notes,
    )


def no_task(claim: Claim, match: Match) -> Verdict:
    """The verdict on a claim that no task can check."""
    return Verdict(
        VerdictKind.UNVERIFIABLE,
        claim,
        rule="no task",
        reason=match.reason,
        next_step=match.next_step,
        notes=match.notes,
    )


def impossible(claim: Claim, match: Match, finding: str, measured: Verdict | None = None) -> Verdict:
    """The verdict on a claim that arithmetic alone rules out as one run on its split, as ``finding`` says.

    ``measured`` is the verdict of a rerun that other claims made necessary: where it shows a difference beyond noise,
    the size of the difference says more than that the number is impossible, so it stands, with the finding as a note.
    """
    if measured is not None and measured.kind in (VerdictKind.OVERSTATED, VerdictKind.UNDERSTATED):
        return replace(measured, notes=(finding, *measured.notes))
    verdict = measured or Verdict(VerdictKind.IMPOSSIBLE, claim, "", "", notes=match.notes)
    return replace(
        verdict,
        kind=VerdictKind.IMPOSSIBLE,
        rule="no count of examples gives it",
        reason=finding,
        next_step="Ask the author how the number was computed, and on which examples.",
        task=match.task.name if match.task else None,
        split=match.split or None,
        rung=Rung.ARITHMETIC,
    )


def failed(claim: Claim, match: Match, error: VerifyError, retry: str) -> Verdict:
    """The verdict on a claim whose measurement ended in ``error``; ``retry`` is the command that tries again."""
    if isinstance(error, BlockedError):
        kind, rule, step = VerdictKind.BLOCKED, "safety gate", None
    elif isinstance(error, NotComparableError):
        kind, rule, step = VerdictKind.UNVERIFIABLE, "not comparable", None
    else:
        kind, rule, step = VerdictKind.ERROR, "the run failed", f"To try again: {retry}"
    name = match.task.name if match.task else None
    return Verdict(kind, claim, rule, str(error), step, task=name, split=match.split or None, notes=match.notes)


def _readings(claim: Claim, measurement: Measurement, tolerance: float) -> list[_Reading]:
    found = []
    for name in readings(claim.metric, measurement.scores):
        score = measurement.scores.get(name)
        if score is not None and math.isfinite(score.value) and not _wrong_scale(claim, name):
            score = score_in_form(claim.metric, name, score)
            interval = allowed(claim, score.budget + tolerance)
            found.append(_Reading(name, score, score.value * claim.scale, interval))
    return found


def _wrong_scale(claim: Claim, metric: str) -> bool:
    """A percentage of a raw metric, such as a loss, has no meaning."""
    return metric in METRICS and METRICS[metric].unit is Unit.RAW and claim.unit is Unit.PERCENT


def _verdict(
    kind: VerdictKind,
    claim: Claim,
    match: Match,
    measurement: Measurement,
    reading: _Reading,
    rule: str,
    reason: str,
    next_step: str | None = None,
) -> Verdict:
    return Verdict(
        kind,
        claim,
        rule,
        reason,
        next_step,
        task=measurement.task,
        split=measurement.split,
        rung=Rung.FULL if measurement.is_full else Rung.SAMPLED,
        measured=reading.measured,
        delta=reading.measured - claim.value,
        interval=reading.interval,
        n=measurement.n,
        population=measurement.population,
        flips=measurement.flips,
        probed=measurement.probed,
        notes=(*match.notes, *measurement.notes),
        result=measurement.result,
    )


def _reproduced(
    claim: Claim, match: Match, measurement: Measurement, reading: _Reading, *, cut: bool = False
) -> Verdict:
    if cut:
        rule = "agrees if the card cut the number"
        why = f"{_value(claim, reading.measured)} agrees with {claim.literal} if the card cut the number off"
    elif contains(claim.interval, reading.measured):
        rule = "agrees with the printed digits"
        why = f"{_value(claim, reading.measured)} agrees with the digits printed"
    else:
        rule = "within rounding and numerical noise"
        why = f"{_value(claim, reading.measured)} differs by no more than numerical noise explains"
    how = "computed from" if claim.metric in FORMS else "read as"
    read = f" ({how} {reading.metric})" if reading.metric != claim.metric else ""
    return _verdict(
        VerdictKind.REPRODUCED,
        claim,
        match,
        measurement,
        reading,
        rule,
        f"All {measurement.n} examples of {measurement.split} were run: {why}{read}.",
    )


def _differs(claim: Claim, match: Match, measurement: Measurement, reading: _Reading) -> Verdict:
    overstated = _is_overstated(claim, reading, below=reading.measured < claim.value)
    size = _size(claim, abs(reading.measured - claim.value))
    measured = (
        f"The card says {claim.literal}; all {measurement.n} examples of {measurement.split} give "
        f"{_value(claim, reading.measured)}"
    )
    return _undecidable(claim, match, measurement, reading, f"{measured}, {size} away") or _verdict(
        VerdictKind.OVERSTATED if overstated else VerdictKind.UNDERSTATED,
        claim,
        match,
        measurement,
        reading,
        "beyond rounding and numerical noise",
        f"{measured}, {size} {'worse' if overstated else 'better'} than claimed; rounding, numerical noise and "
        f"the tolerance allow at most {_size(claim, (reading.interval.high - reading.interval.low) / 2)}.",
        "Compare the settings of this run with the author's (split, preprocessing, revision), or ask the author.",
    )


def _is_overstated(claim: Claim, reading: _Reading, *, below: bool) -> bool:
    """Whether what was measured is worse than claimed, where it lies ``below`` the claim or above it."""
    meant = FORMS.get(claim.metric) or METRICS.get(reading.metric)
    return below == (meant is None or meant.greater_is_better)


def _undecidable(
    claim: Claim, match: Match, measurement: Measurement, reading: _Reading, measured: str
) -> Verdict | None:
    """The verdict on a difference that may be no difference, because other examples may have been claimed; else None.

    ``measured`` is the beginning of a sentence.
    """
    if different := next((note for note in measurement.notes if note.startswith(DIFFERENT_DATA)), None):
        return _verdict(
            VerdictKind.UNVERIFIABLE,
            claim,
            match,
            measurement,
            reading,
            "other data than claimed",
            f"{measured}, but {different}.",
            "Get the data that the task describes, or correct `rows` in the task file.",
        )
    if not match.split_known:
        return _verdict(
            VerdictKind.UNDERSPECIFIED,
            claim,
            match,
            measurement,
            reading,
            "the split is not stated",
            f"{measured}; but the card does not say which split it means, and the data have several.",
            "Name the split that is meant: override.split=NAME.",
        )
    return None


def _underspecified(
    claim: Claim, match: Match, measurement: Measurement, found: list[_Reading], fitting: list[_Reading]
) -> Verdict:
    listed = ", ".join(f"{reading.metric} {_value(claim, reading.measured)}" for reading in found)
    fit = " and ".join(reading.metric for reading in fitting)
    return _verdict(
        VerdictKind.UNDERSPECIFIED,
        claim,
        match,
        measurement,
        fitting[0],
        "the average is not stated",
        f"The card says {claim.metric} {claim.literal} and not which average it means: {listed}. It agrees with {fit}.",
        "Ask the author which average was reported.",
    )


def _of_part(
    claim: Claim, match: Match, measurement: Measurement, reading: _Reading, sampled: Sampled | None
) -> Verdict:
    """The verdict after a part of the split: what the sequential tests have shown, if anything."""
    part = (
        f"The card says {claim.literal}; {measurement.n} of the {measurement.population} examples of "
        f"{measurement.split}, drawn at random, give {_value(claim, reading.measured)}"
    )
    go_on = "the same command goes on from here with policy=strict, and without limit and budget"
    if sampled is None:
        missing = measurement.population - measurement.n
        return _verdict(
            VerdictKind.INCONCLUSIVE,
            claim,
            match,
            measurement,
            reading,
            "only a sample was run",
            f"{part}. This score can only be judged on the whole split.",
            f"Run the {missing} missing examples: {go_on}.",
        )
    reading = replace(reading, interval=claim.interval.widened(sampled.margin))
    low, high = _value(claim, sampled.interval.low), _value(claim, sampled.interval.high)
    so = f"{part}, so all of them would give {low} to {high}"
    if sampled.answer is None:
        return _verdict(
            VerdictKind.INCONCLUSIVE,
            claim,
            match,
            measurement,
            reading,
            "the sample leaves it open",
            f"{so}. That neither contradicts the card nor confirms it.",
            f"About {sampled.more} more examples would settle it: {go_on}.",
        )
    if sampled.answer is Answer.INSIDE:
        return _verdict(
            VerdictKind.CONSISTENT,
            claim,
            match,
            measurement,
            reading,
            "a sample lies within the margin",
            f"{so}. That is within {_size(claim, sampled.margin)} of the card's number; whether its last digit is "
            "right only the whole split can tell.",
        )
    overstated = _is_overstated(claim, reading, below=sampled.answer is Answer.BELOW)
    return _undecidable(claim, match, measurement, reading, so) or _verdict(
        VerdictKind.OVERSTATED if overstated else VerdictKind.UNDERSTATED,
        claim,
        match,
        measurement,
        reading,
        "a sample lies beyond the margin",
        f"{so}, {'worse' if overstated else 'better'} than claimed (the chance that a sample says so wrongly is at "
        f"most {sampled.level:.2%}).",
        f"To search for the cause, or for the exact difference, run the whole split: {go_on}.",
    )


def _value(claim: Claim, value: float) -> str:
    """A measured value with one digit more than the claim prints, within reason."""
    decimals = len(claim.literal.partition(".")[2].rstrip("%")) + 1
    least = 2 if claim.unit is Unit.PERCENT else 4
    return f"{value:.{min(max(decimals, least), least + 2)}f}"


def _size(claim: Claim, difference: float) -> str:
    if claim.unit is Unit.RAW:
        return f"{difference:.3g}"
    points = difference if claim.unit is Unit.PERCENT else difference * 100
    return f"{points:.2f} points" if points >= 0.005 else f"{points:.2g} points"
