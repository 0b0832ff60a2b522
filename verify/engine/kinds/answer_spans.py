"""From start and end logits to answers, as transformers' utils_qa.py (``postprocess_qa_predictions``) does it.

The official code visits every pair of a start and an end in Python; here the pairs of all windows are one array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from verify.metrics.families.answers import normalised

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_WINDOWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Windows:
    """The windows of one or more contexts [U], in the order of their examples.

    ``owner`` is the position of the window's example. The window shows ``count`` tokens of the context, from its
    ``place``-th token on; they are the tokens ``first`` and following of all contexts end to end, whose first and last
    character (exclusive) ``offsets`` [T, 2] states. ``null`` is the place of the token that stands for "no answer".
    """

    owner: Ints
    place: Ints
    count: Ints
    first: Ints
    null: Ints
    offsets: Ints

    def of(self, units: Ints, owner: Ints) -> Windows:
        """Some of the windows, of which ``owner`` says anew whose they are."""
        place, count, first, null = (values[units] for values in (self.place, self.count, self.first, self.null))
        return Windows(owner, place, count, first, null, self.offsets)


@dataclass(frozen=True)
class Spans:
    """The best spans of one example, best first: characters ``begin`` to ``end`` − 1 of its context.

    ``scores`` are sums of a start and an end logit; ``null_score`` is the least such sum over the example's windows at
    the token for "no answer".
    """

    scores: Floats
    begin: Ints
    end: Ints
    null_score: float


@dataclass(frozen=True)
class Answer:
    """The answer of one example with its candidates, best first.

    ``null_difference`` is the score of "no answer" minus that of the best span. ``margin`` is how far the score of the
    answer is from that of the best one that SQuAD's normalisation tells from it.
    """

    text: str
    n_best: tuple[str, ...]
    scores: Floats
    null_difference: float
    margin: float


def best_spans(
    windows: Windows, logits: Sequence[NDArray[np.float32]], n_best: int, max_answer_tokens: int
) -> Iterator[Spans]:
    """For each example in ``windows``, in their order, its ``n_best`` best spans over all its windows.

    ``logits`` are, for each window, start and end logits [2, length]. A span joins one of the ``n_best`` largest start
    logits of a window with one of its ``n_best`` largest end logits, both within the context, and has at most
    ``max_answer_tokens`` tokens. Of equal scores the one with the larger start logit comes first.
    """
    parts = []
    for begin in range(0, len(logits), _WINDOWS_AT_ONCE):
        units = np.arange(begin, min(begin + _WINDOWS_AT_ONCE, len(logits)))
        some = logits[begin : begin + _WINDOWS_AT_ONCE]
        parts.append(_candidates(windows.of(units, windows.owner[units]), some, n_best, max_answer_tokens))
    scores, starts, ends = (np.concatenate(values) for values in zip(*parts, strict=True))
    lines, columns = np.nonzero(np.isfinite(scores))
    owner, scores = windows.owner[lines], scores[lines, columns]
    starts, ends = (values[lines, columns] + windows.first[lines] for values in (starts, ends))
    order = np.lexsort((-scores, owner))
    examples, begins = np.unique(windows.owner, return_index=True)
    null = np.array([one[:, place].sum(dtype=np.float64) for one, place in zip(logits, windows.null, strict=True)])
    null_scores = np.minimum.reduceat(null, begins)
    bounds = np.searchsorted(owner[order], [examples, examples + 1])
    for begin, end, null_score in zip(*bounds, null_scores, strict=True):
        chosen = order[begin : min(end, begin + n_best)]
        yield Spans(
            scores[chosen], windows.offsets[starts[chosen], 0], windows.offsets[ends[chosen], 1], float(null_score)
        )


def answer(context: str, spans: Spans, n_best: int, null_threshold: float | None) -> Answer:
    """Choose an answer; ``null_threshold`` None means that there always is one.

    Else the answer is "" where the score of "no answer" exceeds that of the best span that is not empty by more than
    the threshold. Without any span it is "", where the official code puts a made-up text with a score of 0.
    """
    texts = tuple(context[begin:end] for begin, end in zip(spans.begin.tolist(), spans.end.tolist(), strict=True))
    said = 0 if null_threshold is None else next((i for i, text in enumerate(texts) if text), len(texts))
    if said == len(texts):
        return Answer("", texts, spans.scores, spans.null_score, 0.0)
    difference = spans.null_score - float(spans.scores[said])
    if null_threshold is not None and difference > null_threshold:
        return Answer("", texts, spans.scores, difference, difference - null_threshold)
    margin = _gap(texts, spans.scores, said, is_whole=len(texts) < n_best)
    if null_threshold is not None:
        margin = min(margin, null_threshold - difference)
    return Answer(texts[said], texts, spans.scores, difference, margin)


def _candidates(
    windows: Windows, logits: Sequence[NDArray[np.float32]], n_best: int, max_answer_tokens: int
) -> tuple[Floats, Ints, Ints]:
    """The best spans of each window: scores [U, n_best] (-inf: no more), and tokens counted from the context shown."""
    count = len(logits)
    both = np.full((2, count, max(one.shape[1] for one in logits)), -np.inf, dtype=np.float32)
    for line, one in enumerate(logits):
        both[:, line, : one.shape[1]] = one
    places = np.argsort(-both, axis=2, kind="stable")[:, :, :n_best]
    top = np.take_along_axis(both, places, axis=2).astype(np.float64)
    tokens = places - windows.place[None, :, None]
    is_inside = (tokens >= 0) & (tokens < windows.count[None, :, None])
    starts, ends = tokens[0][:, :, None], tokens[1][:, None, :]
    is_span = (
        is_inside[0][:, :, None] & is_inside[1][:, None, :] & (starts <= ends) & (ends - starts < max_answer_tokens)
    )
    scores = np.where(is_span, top[0][:, :, None] + top[1][:, None, :], -np.inf).reshape(count, -1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n_best]
    width = places.shape[2]
    return (
        np.take_along_axis(scores, order, axis=1),
        np.take_along_axis(tokens[0], order // width, axis=1),
        np.take_along_axis(tokens[1], order % width, axis=1),
    )


def _gap(texts: Sequence[str], scores: Floats, said: int, *, is_whole: bool) -> float:
    """From the chosen candidate to the first that says something else; a lower bound where the list ends too early."""
    own = normalised(texts[said])
    for text, score in zip(texts, scores.tolist(), strict=True):
        if text != texts[said] and normalised(text) != own:
            return abs(float(scores[said]) - float(score))
    return float("inf") if is_whole else float(scores[said] - scores[-1])
