"""The metrics that a sentence names, and which numbers can be values of which."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from verify.claims.form.values import Number
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key, spans
from verify.claims.meaning.words import words

_WORD = re.compile(r"[^\W_][\w@+'’-]*|\S")
_SINGLE_LETTERS = frozenset(("f", "p", "r"))
_WEAK = words("weak_metrics")


@dataclass(frozen=True)
class Mention:
    """A metric's name in a text, from ``start`` to ``end``; ``split`` if the name says one ("train loss")."""

    start: int
    end: int
    metric: Metric
    split: str | None


def mentions(text: str, vocabulary: Vocabulary) -> Iterator[Mention]:
    """The metrics that a sentence names, longest names first, left to right."""
    found = list(_WORD.finditer(text))
    tokens = [word.group() if word.group()[0].isalnum() else "" for word in found]
    for first, end in spans(tokens, vocabulary.metrics, 5):
        phrase = text[found[first].start() : found[end - 1].end()]
        folded = phrase.casefold()
        weak = folded in _SINGLE_LETTERS or folded == "score" or (folded in _WEAK and not phrase.isupper())
        if weak or re.search(r"[,;:.!?]\s", phrase) or phrase[-1] in "@+":
            continue
        metric = vocabulary.metric(phrase)
        if metric is None or metric.name == "score":
            continue
        start = found[first].start()
        before = key(tokens[first - 1]) if first else ""
        if before in ("train", "training"):
            yield Mention(start, found[end - 1].end(), metric, "train")
            continue
        if first and (averaged := vocabulary.canonical.get(f"{metric.name}_{before}")):
            metric, start = averaged, found[first - 1].start()
        yield Mention(start, found[end - 1].end(), metric, None)


def sensible(number: Number, metric: Metric, percent: bool) -> bool:
    """True if the number can be a value of the metric: losses are not counts, percentages stay within 100."""
    if metric.unit == "raw":
        return number.decimal >= 0 and not (metric.name == "loss" and number.is_integer)
    if metric.unit == "unknown":
        return number.decimal >= 0
    if number.is_integer and not percent and (number.decimal in (16, 32, 64) or number.decimal > 100):
        return False
    return abs(number.decimal) <= (300 if metric.unit == "rate" else 100)
