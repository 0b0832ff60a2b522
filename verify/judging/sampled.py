"""What a part of the split shows about a claim, and whether that is enough to stop.

The examples of a run come in a seeded random order, so the first of them are a fair sample, and the sequential tests
(:mod:`verify.judging.sequential`) may be asked after every block. A claim is tested with a margin on each side of what
its printed digits allow: a part of the split never confirms digits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from verify.engine.running.plan import blocks
from verify.judging.bootstrap import LEVEL, interval
from verify.judging.cases import standard_reading
from verify.judging.intervals import allowed
from verify.judging.many import needed
from verify.judging.sequential import (
    ANSWERS,
    OUTSIDE,
    Answer,
    Seen,
    Standing,
    expected,
    how_many_more,
    seen_of,
    standing,
)
from verify.metrics.additive import Additive
from verify.metrics.families.sequence import PLAIN
from verify.metrics.meanings import FORMS, readings
from verify.metrics.names import METRICS, Metric
from verify.metrics.registry import additive_metrics, class_count
from verify.store.predictions import (
    AnswerPredictions,
    LabelPredictions,
    LabelSetPredictions,
    Predictions,
    TagPredictions,
)
from verify.types import Claim, Interval, Setting

_SOME = 0.25
_KEEPS_WORDS = frozenset({"none", "lower", "no_punctuation"})
"""The normalisers of transcripts that never make more words of a text than it has."""


@dataclass(frozen=True)
class Rule:
    """When a part of the split is enough: for which ``answers``, and with which ``margin`` (a fraction).

    ``alpha`` (a fraction) is the chance that any of the ``attempted`` claims of one run is settled wrongly.
    """

    answers: frozenset[Answer] = ANSWERS
    margin: float = 0.01
    alpha: float = 0.05
    attempted: int = 1

    def level(self, answer: Answer) -> float:
        """The level at which an answer is given: claims that are contradicted share the chance among them."""
        return self.alpha if answer is Answer.INSIDE else 1 / needed(self.attempted, self.alpha)


@dataclass(frozen=True)
class Sample:
    """The first examples of a run: ``order`` int64 [n] are their numbers in the seeded order, of ``population``.

    ``settings`` are those of the task; ``longest`` is the largest number of words that a reference of the whole split
    has, None where it is not known.
    """

    predictions: Predictions
    order: NDArray[np.int64]
    population: int
    settings: Mapping[str, Setting] = field(default_factory=dict)
    longest: int | None = None

    @cached_property
    def _known(self) -> dict[str, Additive | None]:
        return {}

    def seen(self, metric: str, n: int) -> Seen | None:
        """The first ``n`` examples as the tests want them; None for a metric of which a part says nothing."""
        if metric not in self._known:
            found = additive_metrics(self.predictions, self.settings, {metric}).get(metric)
            rows = np.searchsorted(self.predictions.example, self.order)
            self._known[metric] = found and replace(found, statistics=found.statistics[rows])
        additive = self._known[metric]
        if additive is None:
            return None
        part = replace(additive, statistics=additive.statistics[:n])
        return seen_of(metric, part, self.population, self._most(metric))

    def _most(self, metric: str) -> float:
        """The most of what a ratio counts, such as predicted and true entities, that one example can have."""
        predictions, sides = self.predictions, 2.0 if metric.startswith("f1") else 1.0
        if isinstance(predictions, LabelPredictions):
            return sides
        if isinstance(predictions, LabelSetPredictions):
            return sides * float(predictions.reference.shape[1] + len(predictions.label_of_logit))
        if self.longest is None:
            return math.inf
        if isinstance(predictions, TagPredictions):
            return sides * self.longest
        keeps = self.settings.get("normalizer", "none") in _KEEPS_WORDS
        return self.longest if metric == "wer" and keeps else math.inf


@dataclass(frozen=True)
class Sampled:
    """What a sample shows of one claim.

    ``answer`` says where the score of the whole split lies, None if that is still open; ``leaning`` is the side, below
    or above the claim, on which the evidence against the claim is larger, and ``evidence`` its e-value. ``interval``
    holds the score of the whole split but for a chance of ``level`` (a fraction), in the claim's unit; ``margin`` is in
    the claim's unit too. ``more`` is about how many more examples would settle it: all of the rest where only the whole
    split can.
    """

    answer: Answer | None
    leaning: Answer
    evidence: float
    interval: Interval
    margin: float
    level: float
    more: int


@dataclass(frozen=True)
class _Tested:
    """The tests of one claim on a sample: the metric measured, what it may be, where it is expected, and each look."""

    name: str
    low: float
    high: float
    centre: float
    looks: list[Standing]

    def contradicting(self, rule: Rule) -> Standing:
        """The first look that contradicted the claim, else the last."""
        level = rule.level(Answer.BELOW)
        return next((look for look in self.looks if look.answer(level, OUTSIDE)), self.looks[-1])

    def answer(self, rule: Rule) -> Answer | None:
        """Where the measured score lies, if any look has shown it: outside sooner than inside."""
        outside = self.contradicting(rule).answer(rule.level(Answer.BELOW), rule.answers & OUTSIDE)
        inside = (look.answer(rule.level(Answer.INSIDE), rule.answers & {Answer.INSIDE}) for look in self.looks)
        return outside or next((one for one in inside if one is not None), None)


def sampled(claim: Claim, sample: Sample, rule: Rule) -> Sampled | None:
    """What the sample shows of the claim under the rule; None where only the whole split can show anything.

    An answer counts at each point at which the run could have stopped: a later look does not take back what an earlier
    one has shown. The e-value is that of the first look that contradicted the claim, else the last: their largest would
    be none.
    """
    tested = _tested(claim, sample, rule)
    seen = sample.seen(tested.name, len(sample.order)) if tested else None
    if tested is None or seen is None:
        return None
    name, low, high, centre = tested.name, tested.low, tested.high, tested.centre
    stood, answer, level = tested.contradicting(rule), tested.answer(rule), rule.level(Answer.BELOW)
    found = sorted(_form(claim, name, end) * claim.scale for end in seen.interval(level, expected(low, high, centre)))
    return Sampled(
        answer=answer and _as_claimed(claim, name, answer),
        leaning=_as_claimed(claim, name, Answer.BELOW if stood.below > stood.above else Answer.ABOVE),
        evidence=stood.outside,
        interval=Interval(*found),
        margin=rule.margin * claim.scale,
        level=level,
        more=0 if answer else how_many_more(seen, low, high, centre, level, rule.answers),
    )


def estimated(claim: Claim, sample: Sample) -> Sampled | None:
    """What the sample lets one expect of a score that only the whole split can settle; None where that is not known.

    The interval is a bootstrap's (:mod:`verify.judging.bootstrap`). It is no test, and gives no answer.
    """
    name = _reading(claim, sample)
    found = interval(sample.predictions, name, sample.settings, population=sample.population) if name else None
    if name is None or found is None:
        return None
    low, high = sorted(_form(claim, name, end) * claim.scale for end in (found.low, found.high))
    missing = sample.population - len(sample.order)
    return Sampled(None, Answer.BELOW, 0.0, Interval(low, high), 0.0, 1 - LEVEL, missing)


def is_settled(claims: Sequence[Claim], sample: Sample, rule: Rule) -> bool:
    """Whether the sample answers what is asked about every one of the claims, of which there must be one at least."""
    found = (_tested(claim, sample, rule) for claim in claims)
    return bool(claims) and all(one is not None and one.answer(rule) is not None for one in found)


def _reading(claim: Claim, sample: Sample) -> str | None:
    """The metric that the claim stands for, if that is one alone, and one from whose score the claim's can be told."""
    measured = _measured(sample.predictions)
    name = standard_reading(claim.metric, measured)
    names = readings(claim.metric, measured)
    if name is None or not (len(names) == 1 or names[0].endswith("_binary")):
        return None
    return name if _inverse(claim, name, _form(claim, name, _SOME)) == _SOME else None


def _measured(predictions: Predictions) -> dict[str, Metric]:
    """The metrics that a run of this form gives, without measuring them."""
    left_out: set[str] = set()
    if isinstance(predictions, LabelPredictions) and class_count(predictions) != 2:
        left_out |= {name for name in METRICS if name.endswith("_binary")}
    if not isinstance(predictions, AnswerPredictions | TagPredictions) or getattr(predictions, "scheme", "") == PLAIN:
        left_out |= {"f1", "precision", "recall"}
    return {
        name: metric
        for name, metric in METRICS.items()
        if predictions.family in metric.families and name not in left_out
    }


def _tested(claim: Claim, sample: Sample, rule: Rule) -> _Tested | None:
    """The claim, tested wherever the run could have stopped; None where a part of the split says nothing of it."""
    name = _reading(claim, sample)
    if name is None:
        return None
    low, high = _range(claim, name, rule.margin)
    centre = _inverse(claim, name, claim.value / claim.scale)
    seen = (sample.seen(name, block.stop) for block in blocks(len(sample.order), small=True))
    looks = [standing(one, low, high, centre) for one in seen if one is not None]
    return _Tested(name, low, high, centre, looks) if looks else None


def _range(claim: Claim, name: str, margin: float) -> tuple[float, float]:
    """What the claim allows of the measured metric, on its own scale, with the margin on each side."""
    interval = allowed(claim, margin)
    low, high = sorted(_inverse(claim, name, end / claim.scale) for end in (interval.low, interval.high))
    return low, high


def _form(claim: Claim, name: str, value: float) -> float:
    return FORMS[claim.metric].value(value) if _is_other_form(claim, name) else value


def _inverse(claim: Claim, name: str, value: float) -> float:
    """From the form that the claim prints to the measured metric, for forms that are their own inverse (1 − x)."""
    return _form(claim, name, value)


def _as_claimed(claim: Claim, name: str, answer: Answer) -> Answer:
    """The answer about the number that the claim prints, which falls where the measured one rises."""
    turned = {Answer.BELOW: Answer.ABOVE, Answer.ABOVE: Answer.BELOW}
    return turned.get(answer, answer) if _is_other_form(claim, name) else answer


def _is_other_form(claim: Claim, name: str) -> bool:
    return claim.metric != name and claim.metric in FORMS
