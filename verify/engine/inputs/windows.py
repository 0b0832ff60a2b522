"""Texts as tokens, words and bytes that can be scored, and the windows that long ones are cut into."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import flattened
from verify.errors import EngineError

Ints = NDArray[np.int64]

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Window:
    """The tokens ``begin`` to ``end`` − 1 of a text, of which those from ``first`` on are scored."""

    begin: int
    first: int
    end: int

    def moved(self, by: int) -> Window:
        return Window(self.begin + by, self.first + by, self.end + by)


def sliding(length: int, context: int, stride: int, *, before: int = 1, prefix: int = 0) -> list[Window]:
    """Windows of ``context`` tokens that move by ``stride`` over ``length`` tokens, until one reaches the end.

    A window scores the tokens that no earlier one held; the others are context. Its first ``before`` tokens are never
    scored: 1 for a model that predicts from what stands before, 0 for one that looks both ways. Nor are the first
    ``prefix`` tokens of the text. These are the windows of https://huggingface.co/docs/transformers/perplexity. A
    window that would score nothing is left out.
    """
    windows, held = [], prefix
    for begin in range(0, length, stride):
        end = min(begin + context, length)
        first = max(held, begin + before)
        if first < end:
            windows.append(Window(begin, first, end))
        held = end
        if end == length:
            break
    return windows


def last_window(length: int, context: int, target: int) -> Window:
    """The last ``context`` tokens of a text, of which the last ``target`` are scored, but never the window's first."""
    begin = max(0, length - context)
    return Window(begin, max(length - target, begin + 1), length)


@dataclass(frozen=True)
class Tokenised:
    """Texts as tokens ``ids`` [T], end to end; those of text n are ``starts[n]`` to ``starts[n + 1]`` − 1.

    ``prefix`` and ``suffix`` are the special tokens that the tokeniser puts before and after each text. The prefix is
    among ``ids`` where it was asked for, the suffix never is. ``chars`` [T] is where each token begins in its text: it
    owns the characters from there to the next one, the first token also those before it. ``words`` and ``bytes``
    [T + 1] count, from the beginning, the words that begin in the tokens and the UTF-8 bytes of their characters.
    """

    ids: Ints
    starts: Ints
    chars: Ints
    words: Ints
    bytes: Ints
    prefix: Ints
    suffix: Ints


def tokenise(tokenizer: Any, texts: Sequence[str], *, with_prefix: bool) -> Tokenised:
    """Encode texts of any length, in one call. Words are what stands between white space.

    Raises EngineError if the tokeniser does not say where in the text its tokens stand.
    """
    if not tokenizer.is_fast:
        raise EngineError(
            f"The tokeniser {type(tokenizer).__name__} does not say where in a text its tokens stand, which is "
            "needed to count words and bytes. The repository must hold a fast tokeniser (tokenizer.json)."
        )
    encoding: Mapping[str, Any] = tokenizer(
        list(texts) or [""],
        truncation=False,
        verbose=False,
        return_attention_mask=False,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
    )
    prefix, suffix = _special(tokenizer)
    kept = prefix if with_prefix else prefix[:0]
    nothing = np.zeros_like(kept)
    ids, chars, words, sizes = [], [], [], []
    for place, (text, mask) in enumerate(zip(texts, encoding["special_tokens_mask"], strict=False)):
        own = np.flatnonzero(np.asarray(mask) == 0)
        begins = _begins(encoding["offset_mapping"][place], own)
        ids.append(np.concatenate([kept, np.asarray(encoding["input_ids"][place], dtype=np.int64)[own]]))
        chars.append(np.concatenate([nothing, begins]))
        words.append(np.concatenate([nothing, _words_in(text, begins)]))
        sizes.append(np.concatenate([nothing, _bytes_in(text, begins)]))
    return Tokenised(
        ids=_end_to_end(ids),
        starts=_summed(np.array([len(row) for row in ids], dtype=np.int64)),
        chars=_end_to_end(chars),
        words=_summed(_end_to_end(words)),
        bytes=_summed(_end_to_end(sizes)),
        prefix=prefix,
        suffix=suffix,
    )


def _special(tokenizer: Any) -> tuple[Ints, Ints]:
    """The special tokens that the tokeniser puts before and after a text."""
    probe: Mapping[str, Any] = tokenizer("a", return_special_tokens_mask=True)
    ids, mask = np.asarray(probe["input_ids"], dtype=np.int64), np.asarray(probe["special_tokens_mask"])
    own = np.flatnonzero(mask == 0)
    if len(own) == 0:
        raise EngineError(f"The tokeniser {type(tokenizer).__name__} gives no token for the text 'a'.")
    return ids[: own[0]], ids[own[-1] + 1 :]


def _begins(offsets: Sequence[tuple[int, int]], places: Ints) -> Ints:
    begins = flattened([[begin for begin, _ in offsets]])[places]
    if len(begins):
        begins[0] = 0
    return np.maximum.accumulate(begins)


def _words_in(text: str, begins: Ints) -> Ints:
    counts = np.zeros(len(begins), dtype=np.int64)
    if len(begins):
        found = np.array([match.start() for match in _WORD.finditer(text)], dtype=np.int64)
        np.add.at(counts, np.searchsorted(begins, found, side="right") - 1, 1)
    return counts


def _bytes_in(text: str, begins: Ints) -> Ints:
    """Tokens of one character share its bytes out: the last of them is given all."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    summed = _summed(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000))
    return np.diff(summed[np.append(begins, len(text))]) if len(begins) else np.empty(0, dtype=np.int64)


def _end_to_end(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _summed(counts: NDArray[Any]) -> Ints:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
