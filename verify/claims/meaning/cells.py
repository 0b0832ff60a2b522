"""The numbers of one table cell: "88.5/91.2", "84.4 ± 0.3", "**61,37**", "8.5 (8shot CoT)"."""

from __future__ import annotations

import re
from functools import lru_cache

from verify.claims.form.values import NUMBER, Number, from_match
from verify.claims.meaning.labels import read_label
from verify.claims.meaning.vocabulary import Vocabulary
from verify.types import Setting

_LONGEST = 80
_MARKS = re.compile(r"[*†‡§¶^↑↓⬆⬇▲▼✓✔🏆🥇]+|\[\d{1,2}\]")
_PARENTHESES = re.compile(r"[(\[]([^()\[\]]{0,40})[)\]]")
_BETWEEN = re.compile(r"\s*(?P<percent>[%％])?\s*(?:(?P<spread>±|\+/-|\+-)\s*|(?P<next>/|\||&|,\s|\s)\s*|$)")
_MOST = 4


def cell_numbers(text: str) -> tuple[Number, ...]:
    """The numbers of a cell that holds nothing but numbers; empty for words, relative numbers and amounts ("7B")."""
    if not text or len(text) > _LONGEST or not any(character.isdigit() for character in text):
        return ()
    return _numbers(text)


@lru_cache(maxsize=50_000)
def _numbers(text: str) -> tuple[Number, ...]:
    left = _MARKS.sub(" ", text)
    left = _PARENTHESES.sub(" ", left).strip(" ~≈")
    if not left or left[0] == "+":
        return ()
    found: list[Number] = []
    position = 0
    while position < len(left):
        match = NUMBER.match(left, position)
        if match is None or match.group("sign") == "+":
            return ()
        between = _BETWEEN.match(left, match.end())
        if between is None:
            return ()
        number = from_match(match, bool(between["percent"]))
        if number is None or len(found) == _MOST:
            return ()
        position = between.end()
        if between["spread"]:
            spread = NUMBER.match(left, position)
            after = _BETWEEN.match(left, spread.end()) if spread else None
            if spread is None or after is None or after["spread"]:
                return ()
            number = Number(
                number.literal, number.decimal, number.percent_sign or bool(after["percent"]), spread.group()
            )
            position = after.end()
        found.append(number)
    return tuple(found)


def cell_settings(text: str, vocabulary: Vocabulary) -> dict[str, Setting]:
    """Settings in the parentheses of a number's cell: "8.5 (8shot CoT)"."""
    if "(" not in text and "[" not in text:
        return {}
    settings: dict[str, Setting] = {}
    for found in _PARENTHESES.finditer(text):
        settings |= read_label(found.group(1), vocabulary).settings
    return settings
