"""One number read in one place, before its unit is settled and before it is joined with its other places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property

from verify.claims.form.values import Number, unit_of
from verify.claims.meaning.vocabulary import Metric, key
from verify.types import Claim, Evidence, Interval, Setting, Unit

_LONGEST_QUOTE = 300


@dataclass(frozen=True)
class Context:
    """What the place says about every number in it: the data, the task, the settings."""

    task: str | None = None
    dataset: str | None = None
    dataset_name: str | None = None
    config: str | None = None
    split: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True)
class Reading:
    """A number with its metric and its place. ``block`` is equal for numbers printed as one list, table or entry."""

    metric: Metric
    number: Number
    evidence: Evidence
    context: Context
    block: str
    header: str = ""
    unit: Unit | None = None
    unit_reason: str = ""
    verified: bool = False
    verify_token: str | None = None
    date: str | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def fraction(self) -> float:
        """The value with percentages divided by a hundred."""
        return self.number.value / 100 if self.unit is Unit.PERCENT else self.number.value

    @cached_property
    def data_names(self) -> frozenset[str]:
        """The squashed names of the data set, without organisation; with its config where there is one."""
        context = self.context
        names = {key(name.rsplit("/", 1)[-1]) for name in (context.dataset, context.dataset_name) if name}
        if context.dataset and context.config:
            names.add(key(context.dataset.rsplit("/", 1)[-1] + context.config))
        return frozenset(names)


def settle_units(readings: Iterable[Reading]) -> list[Reading]:
    """Give every reading its unit, from its own print and from the numbers of the same block."""
    readings = list(readings)
    largest: dict[tuple[str, str], Decimal] = {}
    for reading in readings:
        if reading.metric.unit != "raw" and not reading.number.percent_sign:
            for name in {reading.metric.name, reading.metric.unit}:
                place = (reading.block, name)
                largest[place] = max(largest.get(place, Decimal(0)), abs(reading.number.decimal))
    settled = []
    for reading in readings:
        if reading.unit is None:
            # Two bounded metrics of one list may differ in scale (accuracy 92.1, AUC 0.97); error rates do not, and a
            # bare 0 or 1 tells nothing of its own scale.
            shared = reading.metric.unit == "rate" or abs(reading.number.decimal) in (0, 1)
            beside = largest.get((reading.block, reading.metric.unit if shared else reading.metric.name))
            unit, reason = unit_of(reading.number, reading.metric.unit, beside, reading.header)
            reading = replace(reading, unit=unit, unit_reason=reason)
        settled.append(reading)
    return settled


def to_claim(reading: Reading, model: str, revision: str | None) -> Claim:
    """The claim that a settled reading states."""
    context = reading.context
    unit = reading.unit or Unit.RAW
    return Claim(
        model=model,
        metric=reading.metric.name,
        value=reading.number.value,
        literal=reading.number.literal,
        unit=unit,
        interval=reading.number.interval,
        evidence=(reading.evidence,),
        task=context.task,
        dataset=context.dataset,
        dataset_name=context.dataset_name,
        config=context.config,
        split=context.split,
        settings=dict(context.settings),
        subject=context.subject,
        revision=revision,
        date=reading.date,
        verified=reading.verified,
        verify_token=reading.verify_token,
        notes=(*reading.notes, f"unit {unit}: {reading.unit_reason}"),
    )


def in_unit(number: Number, unit: Unit, claim: Claim) -> tuple[Unit, Interval]:
    """The unit and interval of another print of ``claim``: its own unit, or a hundred times or a hundredth of it."""
    if claim.unit is not Unit.RAW and claim.value and number.value:
        ratio = abs(number.value / claim.value)
        if ratio > 10:
            unit = Unit.PERCENT
        elif ratio < 0.1:
            unit = Unit.FRACTION
    return unit, number.interval


def quote(text: str, literal: str) -> str:
    """``text`` on one line, at most 300 characters around ``literal``, which it contains."""
    if len(text) > _LONGEST_QUOTE:
        middle = max(text.find(literal), 0)
        first = max(0, middle - _LONGEST_QUOTE // 2)
        text = text[first : max(first + _LONGEST_QUOTE, middle + len(literal))]
    return text.strip()
