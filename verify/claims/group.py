"""The same claim in several places is one claim with several pieces of evidence; places that disagree are reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from verify.claims.reading import Reading, to_claim
from verify.claims.values import half_unit
from verify.claims.vocabulary import key
from verify.types import Claim, Evidence, Setting, Unit


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
    by_metric: dict[tuple[str, str | None], list[list[Reading]]] = {}
    for reading in readings:
        bucket = by_metric.setdefault((reading.metric.name, _subject(reading)), [])
        for members in bucket:
            if all(_one_claim(member, reading) for member in members):
                members.append(reading)
                break
        else:
            members = [reading]
            bucket.append(members)
            joined.append(members)
    return [_claim(members, model, revision) for members in joined]


def _subject(reading: Reading) -> str | None:
    return key(reading.context.subject) if reading.context.subject else None


def _one_claim(one: Reading, other: Reading) -> bool:
    return (
        same_number(one, other)
        and compatible_data(one, other)
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
    first, second = _data_names(one), _data_names(other)
    return not first or not second or bool(first & second)


def _data_names(reading: Reading) -> set[str]:
    context = reading.context
    names = {key(name.rsplit("/", 1)[-1]) for name in (context.dataset, context.dataset_name) if name}
    if context.dataset and context.config:
        names.add(key(context.dataset.rsplit("/", 1)[-1] + context.config))
    return names


def _compatible_settings(one: dict[str, Setting] | object, other: dict[str, Setting] | object) -> bool:
    if not isinstance(one, dict) or not isinstance(other, dict):
        return True
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def _claim(members: list[Reading], model: str, revision: str | None) -> Claim:
    best = min(members, key=lambda reading: half_unit(_scaled(reading)))
    claim = to_claim(best, model, revision)
    contexts = [best.context, *(member.context for member in members if member is not best)]
    settings: dict[str, Setting] = {}
    for context in reversed(contexts):
        settings |= context.settings
    notes = dict.fromkeys(note for member in (best, *members) for note in to_claim(member, model, revision).notes[:-1])
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
