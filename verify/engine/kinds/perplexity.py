"""The likelihood of texts under a causal or a masked language model.

A causal model predicts each token from those before it in its window. A masked model has no such likelihood: each token
is masked in turn and predicted from all others in its window, which gives the pseudo-perplexity of Salazar et al. 2020
(https://arxiv.org/abs/1910.14659).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import input_limit, load_tokenizer, longest_input, texts, token_budget
from verify.engine.inputs.windows import Ints, Tokenised, Window, last_window, sliding, tokenise
from verify.engine.job import Job, Prepared
from verify.engine.kinds.language_model import CAUSAL, load_language_model, logits_at, token_scores
from verify.engine.kinds.likelihood_units import CausalUnits, MaskedUnits, Units, in_chunks
from verify.errors import DataError, EngineError, UsageError
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of

DEFAULT_CONTEXT = 2048
"""Tokens of a window for a model that states no limit, as in lm-evaluation-harness."""

_LOGITS = {"cpu": 2**28, "other": 2**30}  # computed at once: 1 and 4 GiB in float32


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the model, and cut the texts of the selected ``rows`` into windows.

    Without ``join`` each row is a text of its own. With it, all rows of the split are one text, whatever is selected,
    and a row owns the windows whose first scored token lies in it: most rows own none, and the sums over all rows are
    those of the text. ``words`` and ``bytes`` count what begins in the scored tokens.

    Special tokens that the tokeniser puts before a causal model's text are read and never scored, those after it are
    left out; where there is none before it, the first token of a text is not scored. A window of ``context`` tokens
    scores those that no earlier window held, but for its own first: with the default ``stride``, a whole window, one
    token of each window is not scored, as in the transformers documentation, and with one token less all are. The last
    token of a window is predicted and not read, so a causal context may be one token more than the model takes, which
    with the stride that the model takes gives the windows of lm-evaluation-harness.

    With ``target: last_word`` the scored tokens are those that the whole text has more than the text without its last
    word, as lm-evaluation-harness splits them.

    Raises UsageError for settings that do not fit the model or each other, DataError for a row without a last word,
    EngineError if the checkpoint is no language model.
    """
    settings = settings_of(job.task.kind, job.task.settings)
    model, objective = load_language_model(job, str(settings["objective"]))
    tokenizer = load_tokenizer(job.model_folder)
    cut = _cut(job, settings, objective, tokenizer, model)
    if cut.last_word:
        work = _last_words(cut, tokenizer, texts(examples, "text", rows), rows)
    elif cut.join is not None:
        work = _joined(cut, tokenizer, texts(examples, "text", np.arange(len(examples))), rows)
    else:
        work = _separate(cut, tokenizer, texts(examples, "text", rows))
    tokens, padding, budget = work.tokens, tokenizer.pad_token_id or 0, token_budget(device)
    batches: CausalUnits | MaskedUnits
    if objective == CAUSAL:
        batches = CausalUnits(work.windows, tokens.ids, padding)
        at_once = _LOGITS["cpu" if device == "cpu" else "other"]
        budget = max(1, min(budget, at_once // int(model.config.get_text_config().vocab_size)))
    else:
        units = in_chunks(work.windows, len(tokens.prefix) + len(tokens.suffix))
        batches = MaskedUnits(units, tokens, padding, int(tokenizer.mask_token_id))
    return Prepared(
        family=Family.LIKELIHOOD,
        model=model,
        lengths=batches.lengths,
        collate=batches.collate,
        rows=work.columns,
        token_budget=budget,
        settings={
            "objective": objective,
            "context": cut.context,
            "stride": cut.stride,
            "join": cut.join,
            "target": settings["target"],
            "special_before": tokenizer.convert_ids_to_tokens(tokens.prefix.tolist()),
            "special_after": tokenizer.convert_ids_to_tokens(tokens.suffix.tolist()) if objective != CAUSAL else [],
            "tokenizer": type(tokenizer).__name__,
        },
        info={"unit": "last word" if cut.last_word else "document"},
        notes=_notes(cut, work, len(examples)),
        owner=batches.units.owner,
        forward=_scores,
        concurrent=False,  # logits_at hooks into the model that the batches share
    )


@dataclass(frozen=True)
class _Cut:
    """How texts are cut: windows of ``size`` tokens of the text, which are ``context`` with the special ones."""

    objective: str
    context: int
    size: int
    stride: int
    join: str | None
    last_word: bool

    @property
    def is_causal(self) -> bool:
        return self.objective == CAUSAL

    def windows(self, tokens: Tokenised, text: int) -> list[Window]:
        """The windows of one text, in places of ``tokens.ids``."""
        start, end = int(tokens.starts[text]), int(tokens.starts[text + 1])
        found = (
            sliding(end - start, self.size, self.stride, before=1, prefix=len(tokens.prefix))
            if self.is_causal
            else sliding(end - start, self.size, self.stride, before=0)
        )
        return [window.moved(start) for window in found]


@dataclass(frozen=True)
class _Work:
    """The windows of all texts, and what those of each example score: ``tokens_of``, ``words_of``, ``bytes_of`` [N]."""

    tokens: Tokenised
    windows: Units
    tokens_of: Ints
    words_of: Ints
    bytes_of: Ints

    @staticmethod
    def of(tokens: Tokenised, found: Sequence[tuple[int, Window]], count: int) -> _Work:
        """Windows with the positions of their examples, in any order, for ``count`` examples."""
        flat = np.array([(owner, w.begin, w.first, w.end) for owner, w in found], dtype=np.int64).reshape(-1, 4)
        owner, begin, first, end = flat[np.argsort(flat[:, 0], kind="stable")].T
        sums = [np.zeros(count, dtype=np.int64) for _ in range(3)]
        counts = (end - first, tokens.words[end] - tokens.words[first], tokens.bytes[end] - tokens.bytes[first])
        for total, amount in zip(sums, counts, strict=True):
            np.add.at(total, owner, amount)
        return _Work(tokens, Units(owner, begin, end, first, end), *sums)

    def columns(self, positions: NDArray[np.int64], outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        """The ``rows`` of the kind; an output is a unit's (sum of −ln p, hits)."""
        return {
            "nll": np.array([math.fsum(nll for nll, _ in units) for units in outputs], dtype=np.float64),
            "hits": np.array([sum(hits for _, hits in units) for units in outputs], dtype=np.int64),
            "tokens": self.tokens_of[positions],
            "words": self.words_of[positions],
            "bytes": self.bytes_of[positions],
        }


def _scores(model: Any, inputs: Mapping[str, Any]) -> list[tuple[float, int]]:
    """For each unit of a batch, the sum of −ln p over its scored tokens, and how many of them were the most likely."""
    inputs = dict(inputs)
    rows, columns, targets = (inputs.pop(name) for name in ("rows", "columns", "targets"))
    scored = inputs.pop("scored")
    losses, hits = token_scores(logits_at(model, inputs, rows, columns), targets)
    ends = np.cumsum(scored)[:-1]
    return [
        (math.fsum(part), int(right.sum()))
        for part, right in zip(np.split(losses, ends), np.split(hits, ends), strict=True)
    ]


def _separate(cut: _Cut, tokenizer: Any, rows: Sequence[str]) -> _Work:
    tokens = tokenise(tokenizer, rows, with_prefix=cut.is_causal)
    return _Work.of(tokens, [(text, w) for text in range(len(rows)) for w in cut.windows(tokens, text)], len(rows))


def _joined(cut: _Cut, tokenizer: Any, split: Sequence[str], rows: NDArray[np.int64]) -> _Work:
    """All rows of the split as one text. What stands between two rows belongs to the first of them."""
    join = cut.join or ""
    tokens = tokenise(tokenizer, [join.join(split)], with_prefix=cut.is_causal)
    begins = np.cumsum([0, *(len(row) + len(join) for row in split[:-1])])
    position = np.full(len(split), -1, dtype=np.int64)
    position[rows] = np.arange(len(rows))
    found = []
    for window in cut.windows(tokens, 0):
        row = int(np.searchsorted(begins, tokens.chars[window.first], side="right")) - 1
        if position[row] >= 0:
            found.append((int(position[row]), window))
    return _Work.of(tokens, found, len(rows))


def _last_words(cut: _Cut, tokenizer: Any, wholes: Sequence[str], rows: NDArray[np.int64]) -> _Work:
    """White space at the end is dropped, and that before the last word belongs to the word."""
    wholes = [text.rstrip() for text in wholes]
    words = [text.split()[-1] if text else "" for text in wholes]
    contexts = [text[: len(text) - len(word)].rstrip() for text, word in zip(wholes, words, strict=True)]
    tokens = tokenise(tokenizer, wholes, with_prefix=True)
    lengths = np.diff(tokenise(tokenizer, contexts, with_prefix=True).starts)
    found = []
    for text, length in enumerate(lengths.tolist()):
        start, end = int(tokens.starts[text]), int(tokens.starts[text + 1])
        if length == 0 or length >= end - start:
            raise DataError(
                f"The text in row {rows[text]} has no last word with something before it, which target: last_word asks "
                "for. Take the row out of the data, or score the whole text with target: all."
            )
        found.append((text, last_window(end - start, cut.size, end - start - length).moved(start)))
    work = _Work.of(tokens, found, len(wholes))
    sizes = np.array([len(word.encode()) for word in words], dtype=np.int64)
    return _Work(tokens, work.windows, work.tokens_of, np.ones_like(sizes), sizes)


def _cut(job: Job, settings: Mapping[str, Any], objective: str, tokenizer: Any, model: Any) -> _Cut:
    """The task's settings, checked against the model. Raises UsageError where they do not fit."""
    where, last_word = f"{job.task.file}: settings", settings["target"] == "last_word"
    join = None if settings["join"] is None else str(settings["join"]).replace("\\n", "\n")
    asked = job.max_length or settings["context"]
    if last_word and join is not None:
        raise UsageError(f"{where}.join: with target: last_word each row is a text of its own. Leave join out.")
    if objective == CAUSAL:
        held = _longest(tokenizer, model)
        context = int(asked) if asked else (held or DEFAULT_CONTEXT) + int(last_word)
        if held is not None and context > held + 1:
            raise UsageError(f"{where}.context: {context} tokens were asked for, and the model takes {held}.")
        special, size = 0, context
    else:
        if last_word:
            raise UsageError(f"{where}.target: last_word needs a causal model, and this one is masked.")
        if tokenizer.mask_token_id is None:
            raise EngineError(f"The tokeniser {type(tokenizer).__name__} has no mask token, so no token can be masked.")
        context = input_limit(int(asked) if asked else None, tokenizer, model) or DEFAULT_CONTEXT
        special = tokenizer.num_special_tokens_to_add()
        size = context - special
    stride = int(settings["stride"] or size)
    least = 2 if objective == CAUSAL else 1
    if size < least:
        raise UsageError(f"{where}.context: {context} tokens are too few to predict one from another. Ask for more.")
    if not 1 <= stride <= size:
        raise UsageError(
            f"{where}.stride: it must be between 1 and {size}, the tokens of a window"
            + (f" without {special} special ones" if special else "")
            + f", and is {stride}."
        )
    return _Cut(objective, context, size, stride, join, last_word)


def _longest(tokenizer: Any, model: Any) -> int | None:
    """The most tokens that a causal model takes: the tokeniser's limit, but never more than the model's positions."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    known = [int(limit) for limit in (longest_input(tokenizer, model), positions) if limit is not None]
    return min(known) if known else None


def _notes(cut: _Cut, work: _Work, split: int) -> tuple[str, ...]:
    notes = []
    if not cut.is_causal:
        notes.append(
            "pseudo-perplexity: each token was masked in turn and predicted from all others (Salazar et al. 2020); it "
            "is not comparable with the perplexity of a causal model"
        )
    if cut.join is not None:
        notes.append(f"the {split} rows of the split were read as one text, joined by {cut.join!r}")
    if cut.last_word or not cut.is_causal:
        return tuple(notes)
    if len(work.tokens.prefix) == 0:
        notes.append("the first token of a text was not scored: the tokeniser puts nothing before it")
    if cut.stride == cut.size and (lost := int((~np.isin(work.windows.begin, work.tokens.starts)).sum())):
        notes.append(
            f"{lost} windows begin inside a text with a token that has nothing before it and was not scored; a stride "
            "smaller than the context scores it"
        )
    return tuple(notes)
