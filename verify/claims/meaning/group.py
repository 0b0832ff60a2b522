"""The same claim in several places is one claim with several pieces of evidence; places that disagree are reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from verify.claims.form.values import half_unit
from verify.claims.meaning.reading import Reading, settle_units, to_claim
from verify.claims.meaning.vocabulary import key
from verify.types import Claim, Evidence, Setting, Source, Unit

_MOST_COMPARED = 60
_CELLS = 5_000


@dataclass(frozen=True)
class Finding:
    """Something that the card alone shows, in one sentence for its reader; ``claim_ids`` are the claims concerned."""

    kind: str
    sentence: str
    claim_ids: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def group(readings: Iterable[Reading], model: str, revision: str | None) -> list[Claim]:
    """Join the readings that state one claim: equal metric and value, and nothing else in contradiction.

    The claim keeps its most precise print, and every field that any of its places states.
    """
    joined: list[list[Reading]] = []
    buckets: dict[tuple[str, str | None], _Bucket] = {}
    exact: dict[tuple[object, ...], list[Reading]] = {}
    for reading in readings:
        context = reading.context
        settings = tuple(sorted(context.settings.items(), key=str))
        same = (
            *(reading.metric.name, reading.number.literal, reading.unit, reading.data_names),
            *(context.config, context.split, context.subject, settings),
        )
        if (known := exact.get(same)) is not None:
            known.append(reading)
            continue
        bucket = buckets.setdefault((reading.metric.name, _subject(reading)), _Bucket())
        members = next((near for near in bucket.near(reading) if _joins(reading, near)), None)
        if members is None:
            members = bucket.open(reading)
            joined.append(members)
        else:
            members.append(reading)
        exact[same] = members
    return [_claim(members, model, revision) for members in joined]


def _joins(reading: Reading, members: list[Reading]) -> bool:
    """True if the reading contradicts no member; of very many, the first stand for the rest."""
    return all(_one_claim(member, reading) for member in members[:_MOST_COMPARED])


class _Bucket:
    """The claims of one metric, by the data that they name; of very many, only near values are compared."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[list[Reading]]] = {}
        self.by_value: dict[tuple[str, int], list[list[Reading]]] = {}

    def near(self, reading: Reading) -> list[list[Reading]]:
        names = (*reading.data_names, "") if reading.data_names else tuple(self.by_name)
        found: list[list[Reading]] = []
        for name in names[:_MOST_COMPARED]:
            alike = self.by_name.get(name, [])
            if len(alike) > _MOST_COMPARED:
                cell = int(reading.fraction * _CELLS)
                alike = [
                    members for near in (cell - 1, cell, cell + 1) for members in self.by_value.get((name, near), ())
                ]
            found += alike[:_MOST_COMPARED]
        return found

    def open(self, reading: Reading) -> list[Reading]:
        members = [reading]
        for name in reading.data_names or ("",):
            self.by_name.setdefault(name, []).append(members)
            self.by_value.setdefault((name, int(reading.fraction * _CELLS)), []).append(members)
        return members


def _subject(reading: Reading) -> str | None:
    return key(reading.context.subject) if reading.context.subject else None


def _one_claim(one: Reading, other: Reading) -> bool:
    return (
        abs(one.fraction - other.fraction) <= max(0.06, 0.1 * abs(one.fraction))  # more than any rounding
        and compatible_data(one, other)
        and same_number(one, other)
        and compatible(one.context.config, other.context.config)
        and compatible(one.context.split, other.context.split)
        and _compatible_settings(one.context.settings, other.context.settings)
    )


def same_number(one: Reading, other: Reading) -> bool:
    """True if the coarser print is the finer one rounded, after scaling percentages to fractions."""
    first, second = _scaled(one), _scaled(other)
    if half_unit(first) > half_unit(second):
        first, second = second, first
    return abs(first - second) <= half_unit(second)


def _scaled(reading: Reading) -> Decimal:
    shift = -2 if reading.unit is Unit.PERCENT else 0
    return reading.number.decimal.scaleb(shift)


def compatible(one: str | None, other: str | None) -> bool:
    return not one or not other or key(one) == key(other)


def compatible_data(one: Reading, other: Reading) -> bool:
    """True if the two may be about the same data set: one names none, or a name of one is a name of the other."""
    return not one.data_names or not other.data_names or bool(one.data_names & other.data_names)


def _compatible_settings(one: dict[str, Setting] | object, other: dict[str, Setting] | object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return True
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _claim(members: list[Reading], model: str, revision: str | None) -> Claim:
    best = min(members, key=lambda reading: half_unit(_scaled(reading)))
    claim = to_claim(best, model, revision)
    if len(members) == 1:
        return claim
    contexts = [best.context, *(member.context for member in members if member is not best)]
    settings: dict[str, Setting] = {}
    for context in reversed(contexts):
        settings |= context.settings
    notes = dict.fromkeys(note for member in (best, *members) for note in member.notes)
    whole = next((context for context in contexts if context.dataset), contexts[0])
    return replace(
        claim,
        evidence=tuple(member.evidence for member in members),
        task=next((context.task for context in contexts if context.task), None),
        dataset=whole.dataset,
        dataset_name=whole.dataset_name or next((c.dataset_name for c in contexts if c.dataset_name), None),
        config=next((context.config for context in contexts if context.config), None),
        split=next((context.split for context in contexts if context.split), None),
        settings=settings,
        verified=any(member.verified for member in members),
        verify_token=next((member.verify_token for member in members if member.verify_token), None),
        date=next((member.date for member in members if member.date), None),
        notes=(*notes, claim.notes[-1]),
    )


def contradictions(claims: Iterable[Claim]) -> list[Finding]:
    """Pairs of claims about one metric of one thing whose places give different numbers.

    Only claims from different kinds of place are compared: within one table or list, different numbers are different
    rows.
    """
    findings = []
    by_metric: dict[tuple[str, str | None], list[Claim]] = {}
    for claim in claims:
        by_metric.setdefault((claim.metric, claim.subject), []).append(claim)
    for alike in by_metric.values():
        if len(alike) > 40:
            continue
        for position, one in enumerate(alike):
            for other in alike[position + 1 :]:
                if _disagree(one, other):
                    findings.append(_disagreement(one, other))
    return findings


def _disagree(one: Claim, other: Claim) -> bool:
    places = {evidence.source for evidence in one.evidence} & {evidence.source for evidence in other.evidence}
    same_data = key((one.dataset or "").rsplit("/")[-1]) == key((other.dataset or "").rsplit("/")[-1])
    return (
        not places
        and same_data
        and compatible(one.config, other.config)
        and compatible(one.split, other.split)
        and _compatible_settings(dict(one.settings), dict(other.settings))
    )


def _disagreement(one: Claim, other: Claim) -> Finding:
    first, second = one.evidence[0], other.evidence[0]
    sentence = (
        f"The card gives two numbers for {one.metric}: {one.literal} ({first.source}, {first.file}:{first.line}) and "
        f"{other.literal} ({second.source}, {second.file}:{second.line})."
    )
    return Finding("disagreement", sentence, (one.claim_id, other.claim_id), (first, second))


def best_of_epochs(readings: Iterable[Reading], epochs: Sequence[Sequence[Reading]]) -> list[Finding]:
    """Scores that are the best of the card's own table of epochs and not its last: chosen by the data they are on."""
    findings = []
    last = {reading.metric.name: reading for reading in (epochs[-1] if len(epochs) > 1 else ())}
    for reading in readings:
        metric = reading.metric
        final = last.get(metric.name)
        if final is None or metric.greater_is_better is None or reading.evidence.source is Source.TABLE:
            continue
        values = [row.number.decimal for epoch in epochs for row in epoch if row.metric.name == metric.name]
        best = max(values) if metric.greater_is_better else min(values)
        shown = reading.number.decimal.quantize(Decimal(1).scaleb(int(best.as_tuple().exponent)))
        if shown == best != final.number.decimal:
            sentence = (
                f"{metric.name} {reading.number.literal} is the best of the {len(epochs)} rows of the card's own table "
                f"of epochs, not the last ({final.number.literal}): it was chosen by the data that it is reported on."
            )
            findings.append(Finding("best-epoch", sentence, (), (reading.evidence, final.evidence)))
    return findings


def scores_of_epochs(epochs: Sequence[Sequence[Reading]]) -> dict[str, tuple[float, ...]]:
    """The values of each metric in the order of training, percentages as fractions."""
    found: dict[str, list[float]] = {}
    for reading in settle_units(reading for epoch in epochs for reading in epoch):
        found.setdefault(reading.metric.name, []).append(reading.fraction)
    return {metric: tuple(values) for metric, values in found.items()}
