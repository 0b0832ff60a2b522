"""Metrics of taggers: entities found by a tag for every word, or the tags themselves.

Entities are read off the tags by seqeval 1.2.2, in its two ways: the default, which follows conlleval and makes
something of any sequence, and the strict mode, which counts only what the scheme allows. The scores equal seqeval's.
Scores are fractions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np

from verify.errors import EngineError
from verify.metrics.additive import Additive, Floats, ratio
from verify.metrics.families.averages import RATIOS, averaged, counted
from verify.metrics.families.entities import OUTSIDE, Rows, lenient_entities, strict_entities
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import TagPredictions
from verify.types import Score

PLAIN = "none"
"""The scheme of tags that mark no entities."""

_ENTITY_TAG = re.compile(r"[BIESULM](-.*)?")


def metrics(predictions: TagPredictions) -> dict[str, Additive]:
    """Return every metric of the tags, by canonical name.

    ``accuracy`` is the share of words with the right tag. Where tags mark entities, an entity is right if its type and
    both its ends are: ``f1``, ``precision`` and ``recall`` sum over all entities (seqeval's default), ``_macro`` and
    ``_weighted`` average over types, and ``_strict`` counts entities in seqeval's strict mode (left out where a tag
    does not fit the scheme: see :func:`others`). ``f1_token_macro`` is scikit-learn's macro F1 of the words' tags;
    ``f1_token_micro`` sums over all tags but "O". Plain tags have F1, precision and recall over the tags instead, as a
    classification of words.

    Raises:
        EngineError: if a row's tags and references differ in number, or a tag is empty.
    """
    _check(predictions)
    tags, reference = predictions.tags, predictions.reference
    tokens, names = token_counts(tags, reference)
    hits, words = tokens[:, 0].sum(axis=1), tokens[:, 2].sum(axis=1)
    accuracy = Additive(np.stack([hits, words], axis=1), ratio, is_share=True)
    found = {"accuracy": accuracy}
    if predictions.scheme == PLAIN:
        for average in ("macro", "micro", "weighted"):
            found |= averaged(tokens, average, f"_{average}")
        return found

    entities, _ = entity_counts(predictions)
    found |= averaged(entities, "micro", "")
    if not _unfit(predictions, predictions.scheme):
        found |= averaged(entity_counts(predictions, predictions.scheme)[0], "micro", "_strict")
    found |= averaged(entities, "macro", "_macro") | averaged(entities, "weighted", "_weighted")
    inside = tokens[:, :, [name != OUTSIDE for name in names]]
    found["f1_token_macro"] = averaged(tokens, "macro", "")["f1"]
    found["f1_token_micro"] = averaged(inside, "micro", "")["f1"]
    return found


def others(predictions: TagPredictions) -> dict[str, Callable[[], Score]]:
    """Return the strict metrics where they have no value, each of which then raises UndefinedScoreError."""
    if predictions.scheme == PLAIN:
        return {}
    unfit = _unfit(predictions, predictions.scheme)
    return {f"{name}_strict": partial(_no_strict, name, predictions.scheme, unfit) for name in RATIOS if unfit}


def detect_scheme(names: Iterable[str], sequences: Iterable[Sequence[str]] = ()) -> str:
    """Return the scheme that tag names, and reference tags that use them, follow; "none" if they mark no entities.

    Names mark entities if each of them but "O" is a prefix (B, I, E, S, U, L; M for I) alone or before a hyphen. A
    prefix S, or B with E, stands for IOBES, and U or L for BILOU. With B and I alone the sequences decide: IOB2 starts
    every entity with B, IOB1 only one that follows another of its type, and real data hold slips of either kind, so the
    more frequent start counts. IOE1 and IOE2 are their mirror images.
    """
    marks = {name for name in names if name != OUTSIDE}
    prefixes = {name[0] for name in marks if _ENTITY_TAG.fullmatch(name)}
    if not all(_ENTITY_TAG.fullmatch(name) for name in marks) or not prefixes:
        return PLAIN
    if prefixes & {"U", "L"}:
        return "BILOU"
    if prefixes & {"S", "M"} or {"B", "E"} <= prefixes:
        return "IOBES"
    if "E" in prefixes:
        return "IOE1" if _marks_only_neighbours((row[::-1] for row in sequences), "E") else "IOE2"
    return "IOB1" if "B" not in prefixes or _marks_only_neighbours(sequences, "B") else "IOB2"


def _scheme(name: str) -> Any:
    import seqeval.scheme

    return getattr(seqeval.scheme, name)


def _unfit(predictions: TagPredictions, name: str) -> list[str]:
    """Return the tags that the strict mode refuses under the scheme of that name."""
    scheme, unfit = _scheme(name), []
    for tag in sorted(set().union(*predictions.tags, *predictions.reference)):
        try:
            scheme(tag).is_valid()
        except (KeyError, ValueError):
            unfit.append(tag)
    return unfit


def _no_strict(name: str, scheme: str, unfit: Sequence[str]) -> Score:
    raise UndefinedScoreError(_why_no_strict(name, scheme, unfit))


def _why_no_strict(name: str, scheme: str, unfit: Sequence[str]) -> str:
    listed = f"{', '.join(unfit[:5])}{' …' if len(unfit) > 5 else ''}"
    return f"{name}_strict is undefined: {scheme} has no place for {listed}."


def _marks_only_neighbours(sequences: Iterable[Sequence[str]], mark: str) -> bool:
    """Whether ``mark`` is kept for entities that directly follow one of their type: most others start without it."""
    plain, marked = 0, 0
    for row in sequences:
        before = OUTSIDE
        for tag in row:
            if tag != OUTSIDE and (before == OUTSIDE or before[1:] != tag[1:]):
                plain, marked = plain + (tag[0] != mark), marked + (tag[0] == mark)
            before = tag
    return plain > marked


def entity_counts(
    predictions: TagPredictions, scheme: str | None = None, *, typed: bool = True
) -> tuple[Floats, list[str]]:
    """Return counts [N, 3, K] of entities (right, predicted, there) over types, and the K types.

    Entities are those of seqeval's default, or of its strict mode if a ``scheme`` is named. Unless ``typed``, all are
    of one type, so that only their ends count.

    Raises:
        UndefinedScoreError: if a tag does not fit the scheme.
    """
    if scheme is not None and (unfit := _unfit(predictions, scheme)):
        raise UndefinedScoreError(_why_no_strict("f1", scheme, unfit))
    sides = [
        lenient_entities(rows) if scheme is None else strict_entities(rows, _scheme(scheme))
        for rows in (predictions.tags, predictions.reference)
    ]
    if not typed:
        sides = [{(example, "", first, last) for example, _, first, last in entities} for entities in sides]
    predicted, actual = sides
    names = sorted({entity[1] for entity in predicted | actual})
    types, shape = {name: place for place, name in enumerate(names)}, (len(predictions), len(names))
    counts = [
        counted([entity[0] for entity in entities], [types[entity[1]] for entity in entities], shape)
        for entities in (predicted & actual, predicted, actual)
    ]
    return np.stack(counts, axis=1), names


def token_counts(tags: Rows, reference: Rows) -> tuple[Floats, list[str]]:
    """Return counts [N, 3, K] of words (right, predicted, there) over tags, and the K tags."""
    names = sorted(set().union(*tags, *reference))
    ids, shape = {name: place for place, name in enumerate(names)}, (len(tags), len(names))
    example = np.repeat(np.arange(len(tags)), [len(row) for row in tags])
    predicted, actual = (
        np.fromiter(map(ids.__getitem__, chain.from_iterable(rows)), np.int64, len(example))
        for rows in (tags, reference)
    )
    right = predicted == actual
    counts = [
        counted(example[right], actual[right], shape),
        counted(example, predicted, shape),
        counted(example, actual, shape),
    ]
    return np.stack(counts, axis=1), names


def _check(predictions: TagPredictions) -> None:
    pairs = zip(predictions.example, predictions.tags, predictions.reference, strict=True)
    for example, tags, reference in pairs:
        if len(tags) != len(reference):
            raise EngineError(
                f"The stored predictions do not fit together: example {example} has {len(tags)} tags and "
                f"{len(reference)} reference tags. Run the evaluation again."
            )
        if "" in tags or "" in reference:
            raise EngineError(
                f"A tag of example {example} is the empty string, so it says nothing about entities. Name every tag of "
                "the data set (labels in the task file) and of the model (id2label in its config.json)."
            )
