"""Extractive question answering: a span of a context as the answer to a question, or no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import Encoded, batch_overhead, load_tokenizer, longest_input, texts, token_budget
from verify.engine.job import Job, Prepared
from verify.engine.kinds.answer_spans import Windows, answer, best_spans
from verify.engine.loading.load import model_for
from verify.errors import DataError, EngineError, NotComparableError, UsageError
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of

Ints = NDArray[np.int64]


def prepare(job: Job, examples: Examples, rows: Ints, device: str) -> Prepared:
    """Load the tokeniser and the model, and encode questions and contexts of the selected ``rows`` in one call.

    A context that is too long for the model is seen through several windows, each with the whole question, as in
    transformers' run_qa.py. Where the input is put in lower case, so is the answer, which is a part of it: SQuAD's
    metrics ignore case. Raises DataError if a column holds something else than expected, NotComparableError if
    there are no references, UsageError if the settings leave no room for a context.
    """
    from transformers import AutoModelForQuestionAnswering

    settings = settings_of(job.task.kind, job.task.settings)
    numbers = {name: int(settings[name] or 0) for name in ("max_input_tokens", "stride", "max_answer_tokens", "n_best")}
    for name in ("max_input_tokens", "max_answer_tokens", "n_best"):
        if numbers[name] < 1:
            raise UsageError(f"{job.task.file}: settings.{name} must be at least 1.")
    references, is_optional = _references(examples, str(settings["no_answer"]))
    threshold = float(settings["no_answer_threshold"] or 0.0) if is_optional else None
    lowercase = bool(settings["lowercase_input"])
    questions = [question.lstrip() for question in texts(examples, "question", rows, lowercase=lowercase)]
    contexts = texts(examples, "context", rows, lowercase=lowercase)

    model = model_for(job, AutoModelForQuestionAnswering)
    tokenizer = load_tokenizer(job.model_folder)
    asked = job.max_length or numbers["max_input_tokens"]
    limit = min(asked, longest_input(tokenizer, model) or asked)
    cut = _windows(tokenizer, questions, contexts, limit, numbers["stride"])
    return Prepared(
        family=Family.ANSWERS,
        model=model,
        lengths=cut.encoded.lengths,
        collate=cut.encoded.padded,
        rows=_Answered(
            cut.windows,
            contexts,
            [references[row] for row in rows],
            numbers["n_best"],
            numbers["max_answer_tokens"],
            threshold,
        ),
        token_budget=token_budget(device),
        batch_overhead=batch_overhead(device),
        settings={
            **numbers,
            "max_input_tokens": limit,
            "no_answer": is_optional,
            "no_answer_threshold": threshold,
            "windows": len(cut.windows.owner),
            "question_first": _is_question_first(tokenizer),
            "tokenizer": type(tokenizer).__name__,
        },
        notes=cut.notes,
        owner=cut.windows.owner,
        forward=_span_logits,
    )


def _span_logits(model: Any, inputs: Mapping[str, Any]) -> list[NDArray[np.float32]]:
    """For each window of a batch, float32 start and end logits [2, length]."""
    import torch

    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    output = model(**inputs)
    both: NDArray[np.float32] = torch.stack([output.start_logits, output.end_logits], dim=1).float().cpu().numpy()
    return [one[:, :length] for one, length in zip(both, lengths, strict=True)]


@dataclass(frozen=True)
class _Answered:
    """The ``rows`` of the kind; contexts and references stand by position."""

    windows: Windows
    contexts: Sequence[str]
    references: Sequence[Sequence[str]]
    n_best: int
    max_answer_tokens: int
    threshold: float | None

    def __call__(self, positions: Ints, outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        begins, ends = np.searchsorted(self.windows.owner, [positions, positions + 1])
        units = np.concatenate([np.arange(begin, end) for begin, end in zip(begins, ends, strict=True)])
        windows = self.windows.of(units, owner=np.repeat(np.arange(len(positions)), ends - begins))
        logits = [logits for one in outputs for logits in one]
        answers = [
            answer(self.contexts[position], spans, self.n_best, self.threshold)
            for position, spans in zip(
                positions, best_spans(windows, logits, self.n_best, self.max_answer_tokens), strict=True
            )
        ]
        null = [-np.inf if self.threshold is None else one.null_difference for one in answers]
        return {
            "texts": [one.text for one in answers],
            "n_best": [list(one.n_best) for one in answers],
            "n_best_scores": [one.scores.astype(np.float32).tolist() for one in answers],
            "null_scores": np.array(null, dtype=np.float64),
            "references": [list(self.references[position]) for position in positions],
            "row_margins": np.array([one.margin for one in answers], dtype=np.float64),
        }


@dataclass(frozen=True)
class _Cut:
    encoded: Encoded
    windows: Windows
    notes: tuple[str, ...]


def _windows(tokenizer: Any, questions: Sequence[str], contexts: Sequence[str], limit: int, stride: int) -> _Cut:
    """Encode each question with its context, and cut what is longer than ``limit`` tokens into windows.

    Neighbouring windows share ``stride`` tokens of the context, or half of what a long question leaves to it. Of a
    question that leaves less than a quarter, the end is cut.
    """
    if not tokenizer.is_fast:
        raise EngineError(
            "Extractive question answering needs a fast tokeniser, which says where in the text a token stands; the "
            f"repository's {type(tokenizer).__name__} does not. Save it with its tokenizer.json."
        )
    special = tokenizer.num_special_tokens_to_add(pair=True)
    if limit <= special + 1:
        raise UsageError(
            f"Windows of {limit} tokens, of which the tokeniser takes {special} for itself, leave no room for question "
            "and context. Ask for longer ones."
        )
    is_first = _is_question_first(tokenizer)
    pair = (questions, contexts) if is_first else (contexts, questions)
    whole = tokenizer(*map(list, pair), return_offsets_mapping=True, return_attention_mask=False, verbose=False)
    names = [name for name in whole if name in tokenizer.model_input_names]
    inputs: dict[str, list[Any]] = {name: [] for name in names}
    rows: list[tuple[int, int, int, int]] = []
    offsets, seen, shortened, crowded = [np.empty((0, 2), dtype=np.int64)], 0, 0, 0
    for example in range(len(questions)):
        part = np.array([-1 if one is None else one for one in whole.sequence_ids(example)], dtype=np.int64)
        places = np.arange(len(part))
        context = places[part == int(is_first)]
        edge = context[0] if len(context) else len(part)
        kept = np.ones(len(part), dtype=bool)
        least = max(1, (limit - special) // 4)
        room = limit - (len(part) - len(context))
        if len(context) > room and room < least:
            asked = places[part == int(not is_first)]
            kept[asked[len(asked) - (least - room) :]] = False
            room, shortened = least, shortened + 1
        before = places[(places < edge) & kept]
        after = places[(places > edge) & (part != int(is_first)) & kept]
        shared = stride if stride < room else room // 2
        crowded += len(context) > room and shared < stride
        values = {name: np.array(whole[name][example], dtype=np.int64) for name in names}
        for begin in range(0, max(1, len(context) - shared), max(1, room - shared)):
            shown = context[begin : begin + room]
            index = np.concatenate([before, shown, after])
            if not len(index):
                raise DataError("A question and its context are both empty, so there is nothing to read.")
            for name in names:
                inputs[name].append(values[name][index])
            rows.append((example, len(before), len(shown), seen + begin))
        offsets.append(np.array(whole["offset_mapping"][example], dtype=np.int64).reshape(-1, 2)[context])
        seen += len(context)
    owner, place, count, first = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    null = np.array([_null_place(tokenizer, ids) for ids in inputs["input_ids"]], dtype=np.int64)
    notes = []
    if shortened:
        notes.append(f"{shortened} of {len(questions)} questions left no room for the context and were cut")
    if crowded:
        notes.append(
            f"in {crowded} of {len(questions)} examples the question left too little room for windows that share "
            f"{stride} tokens, so they share fewer"
        )
    windows = Windows(owner, place, count, first, null, np.concatenate(offsets))
    return _Cut(Encoded.of(tokenizer, inputs), windows, tuple(notes))


def _is_question_first(tokenizer: Any) -> bool:
    return bool(tokenizer.padding_side == "right")


def _null_place(tokenizer: Any, ids: Ints) -> int:
    """The token whose logits mean "no answer": the classification token, else the one that begins a text."""
    for token in (tokenizer.cls_token_id, tokenizer.bos_token_id):
        if token is not None and (ids == token).any():
            return int(np.argmax(ids == token))
    return 0


def _references(examples: Examples, no_answer: str) -> tuple[list[list[str]], bool]:
    """The acceptable answers of every row of the split, and whether "no answer" is one."""
    examples.require_references()
    found = [_texts_of(examples, row, value) for row, value in enumerate(examples.column("answers"))]
    if no_answer != "yes" and not any(found):
        raise NotComparableError(
            f"The split {examples.split} carries no answers, so nothing can be scored on it. Choose another with "
            "override.split=NAME, or say no_answer: yes in the task file if no question has an answer."
        )
    return found, no_answer == "yes" or (no_answer == "auto" and not all(found))


def _texts_of(examples: Examples, row: int, value: Any) -> list[str]:
    """The answers in one row, no empty ones: SQuAD's {text: […], answer_start: […]}, a text, or a list of these."""
    if value is None:
        raise NotComparableError(
            f"The column {examples.columns['answers']!r} has no value in row {row} of the split {examples.split}. An "
            "empty list says that a question has no answer: correct the data, or choose another split."
        )
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list):
        inner = [one["text"] if isinstance(one, Mapping) and "text" in one else one for one in value]
        if all(isinstance(one, str) for one in inner):
            return [one for one in inner if one]
    raise DataError(
        f"The column {examples.columns['answers']!r} holds {type(value).__name__} in row {row}, where answers are "
        "expected: a text, a list of texts, or SQuAD's text and answer_start. Correct columns.answers in the task file."
    )
