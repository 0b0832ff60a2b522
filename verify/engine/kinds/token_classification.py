"""A tag for every word of a sentence: entities, parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import batch_overhead, input_limit, load_tokenizer, token_budget
from verify.engine.inputs.words import WordTokens, encode_words, word_logits
from verify.engine.job import Job, Prepared
from verify.engine.loading.load import class_names, model_for
from verify.errors import DataError, NotComparableError
from verify.metrics.families.sequence import detect_scheme
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of
from verify.tasks.labels import Alignment, align_labels

_MISSING = -1


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the tokeniser and the model, and encode the words of the selected ``rows`` in one call.

    As in transformers' run_ner.py, words beyond the model's longest input and words that the tokeniser drops are left
    out on both sides, and so are words whose reference is missing (a negative id, such as -100). Raises DataError if
    words or tags are not what they must be, NotComparableError if there are no references, or if the model's tags
    cannot be compared with the data's.
    """
    from transformers import AutoModelForTokenClassification

    settings = settings_of(job.task.kind, job.task.settings)
    subword = str(settings["subword"])
    references, data_labels = _references(examples)
    sentences = _sentences(examples, rows, references)
    if settings["lowercase_input"]:
        sentences = [[word.lower() for word in words] for words in sentences]
    model = model_for(job, AutoModelForTokenClassification)
    model_labels = class_names(model.config)
    names = data_labels or model_labels
    alignment = _align(model_labels, data_labels, references, job.task.label_aliases)
    name_of_logit = [
        names[label] if label != _MISSING else own
        for own, label in zip(model_labels, alignment.label_of_logit, strict=True)
    ]
    scheme = str(settings["scheme"])
    if scheme == "auto":
        scheme = detect_scheme(names, ([names[i] for i in row if i != _MISSING] for row in references))

    tokenizer = load_tokenizer(job.model_folder)
    limit = input_limit(job.max_length, tokenizer, model)
    words = encode_words(tokenizer, model.config.model_type, sentences, limit)
    expected = [references[row][kept] for row, kept in zip(rows, words.kept, strict=True)]
    untagged = sum(int((row == _MISSING).sum()) for row in expected)
    return Prepared(
        family=Family.TAGGING,
        model=model,
        lengths=words.encoded.lengths,
        collate=words.encoded.padded,
        rows=_Tagged(np.array(names, dtype=object), np.array(name_of_logit, dtype=object), expected),
        token_budget=token_budget(device),
        batch_overhead=batch_overhead(device),
        settings={
            "max_length": limit,
            "subword": subword,
            "words_beyond_max_length": words.cut,
            "words_without_token": words.silent,
            "words_without_tag": untagged,
            "tokenizer": type(tokenizer).__name__,
            "add_prefix_space": _prefix_space(tokenizer),
            "truncation_side": tokenizer.truncation_side,
        },
        info={
            "scheme": scheme,
            "model_labels": model_labels,
            "data_labels": data_labels,
            "label_of_logit": alignment.label_of_logit,
            "label_alignment": alignment.how,
            "longest_reference": max(map(len, references), default=0),
        },
        notes=_notes(words, untagged, limit),
        forward=lambda model, inputs: word_logits(model, inputs, subword),
    )


@dataclass(frozen=True)
class _Tagged:
    """The ``rows`` of the kind: ``expected`` holds the reference id of every word with logits, by position."""

    names: NDArray[Any]
    name_of_logit: NDArray[Any]
    expected: Sequence[NDArray[np.int64]]

    def __call__(self, positions: NDArray[np.int64], outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        expected = np.concatenate([self.expected[position] for position in positions])
        tagged = expected != _MISSING
        logits = np.concatenate([one[0] for one in outputs])[tagged].astype(np.float64)
        counts = [int((self.expected[position] != _MISSING).sum()) for position in positions]
        margins = np.full(len(logits), np.inf)
        if logits.shape[1] > 1:
            top = np.partition(logits, -2, axis=1)
            margins = top[:, -1] - top[:, -2]
        ends = np.cumsum(counts)[:-1]
        return {
            "tags": [part.tolist() for part in np.split(self.name_of_logit[logits.argmax(axis=1)], ends)],
            "reference": [part.tolist() for part in np.split(self.names[expected[tagged]], ends)],
            "word_margins": [part.tolist() for part in np.split(margins.astype(np.float32), ends)],
        }


def _references(examples: Examples) -> tuple[list[NDArray[np.int64]], tuple[str, ...] | None]:
    """The tag ids of every row of the split, and the tags' names if the data or the task state them."""
    examples.require_references()
    rows, column = examples.column("tags"), examples.columns["tags"]
    for row, tags in enumerate(rows):
        if tags is None:
            raise NotComparableError(
                f"The column {column!r} has no tags in row {row} of the split {examples.split}, so nothing can be "
                "scored on it. Choose a labelled split with override.split=NAME."
            )
        if not isinstance(tags, list):
            raise DataError(_wrong(column, row, tags, "a list of tags", "tags"))
    kinds = {type(tag) for tags in rows for tag in tags} - {type(None)}
    if not kinds <= {int} and not kinds <= {str}:
        row, odd = next((i, tag) for i, tags in enumerate(rows) for tag in tags if type(tag) not in (int, str))
        raise DataError(_wrong(column, row, odd, "a tag's id or its name", "tags"))
    labels = examples.labels
    if kinds == {str}:
        labels = labels or tuple(sorted({tag for tags in rows for tag in tags if tag is not None}))
        ids: dict[Any, int] = {name: i for i, name in enumerate(labels)}
    else:
        most = max((tag for tags in rows for tag in tags if tag is not None), default=-1)
        ids = {i: i for i in range(most + 1 if labels is None else len(labels))}
    found = []
    for row, tags in enumerate(rows):
        found.append(np.array([_id(ids, tag) for tag in tags], dtype=np.int64))
        if (found[-1] == len(ids)).any():
            unknown = tags[int(np.argmax(found[-1] == len(ids)))]
            raise DataError(
                f"The tag {unknown!r} in row {row} of the column {column!r} is not among the {len(ids)} labels "
                f"({', '.join(map(str, (labels or ())[:6]))} …). Correct labels in the task, or the data."
            )
    if not any((row != _MISSING).any() for row in found):
        raise NotComparableError(
            f"The split {examples.split} carries no tags, so nothing can be scored on it. Choose a labelled split with "
            "override.split=NAME."
        )
    return found, labels


def _id(ids: Mapping[Any, int], tag: Any) -> int:
    """A tag's id; one more than the last for a tag that is unknown."""
    if tag is None or (isinstance(tag, int) and tag < 0):
        return _MISSING
    return ids.get(tag, len(ids))


def _sentences(examples: Examples, rows: NDArray[np.int64], references: Sequence[NDArray[np.int64]]) -> list[list[str]]:
    """The words of the selected rows, each row with as many as it has tags."""
    sentences, column = examples.column("tokens", rows.tolist()), examples.columns["tokens"]
    for row, words in zip(rows.tolist(), sentences, strict=True):
        if not isinstance(words, list):
            raise DataError(_wrong(column, row, words, "a list of words", "tokens"))
        for word in words:
            if not isinstance(word, str):
                raise DataError(_wrong(column, row, word, "a word", "tokens"))
        if len(words) != len(references[row]):
            raise DataError(
                f"Row {row} of the split {examples.split} has {len(words)} words in the column {column!r} and "
                f"{len(references[row])} tags in {examples.columns['tags']!r}. Each word needs one tag: correct the "
                "data, or columns in the task file."
            )
    return sentences


def _align(
    model_labels: Sequence[str],
    data_labels: Sequence[str] | None,
    references: Sequence[NDArray[np.int64]],
    aliases: Mapping[str, Sequence[str]],
) -> Alignment:
    """As :func:`align_labels`, but a model may lack tags of the data, which it then never gives."""
    if data_labels is None:
        most = max(int(row.max(initial=-1)) for row in references)
        if most >= len(model_labels):
            raise NotComparableError(
                f"The data hold the tag {most}, and the model's {len(model_labels)} tags have the ids 0 to "
                f"{len(model_labels) - 1}. Name the data's tags under labels in the task file."
            )
        return align_labels(model_labels, None)
    try:
        return align_labels(model_labels, data_labels, aliases)
    except NotComparableError as different:
        owners: dict[str, list[str]] = {}
        for label, others in aliases.items():
            for other in others:
                owners.setdefault(other, []).append(label)
        try:
            turned = align_labels(data_labels, model_labels, owners)
        except NotComparableError:
            raise different from None
        lacking = [name for name, own in zip(data_labels, turned.label_of_logit, strict=True) if own == _MISSING]
        if not turned.by_name or not lacking:
            raise
        places = {own: label for label, own in enumerate(turned.label_of_logit) if own != _MISSING}
        how = f"classes were aligned by name; the model has no class for {', '.join(lacking)}"
        return Alignment(tuple(places[own] for own in range(len(model_labels))), how, by_name=True)


def _notes(words: WordTokens, untagged: int, limit: int | None) -> tuple[str, ...]:
    notes = []
    if words.cut:
        notes.append(
            f"{words.cut} words in {words.cut_sequences} of {len(words.kept)} examples lie beyond the first {limit} "
            "tokens and were left out"
        )
    if words.silent:
        notes.append(f"{words.silent} words give no token and were left out")
    if untagged:
        notes.append(f"{untagged} words have no reference tag and were left out")
    return tuple(notes)


def _prefix_space(tokenizer: Any) -> bool | None:
    splitter = tokenizer.backend_tokenizer.pre_tokenizer if tokenizer.is_fast else None
    return getattr(splitter, "add_prefix_space", None)


def _wrong(column: str, row: int, value: Any, expected: str, role: str) -> str:
    return (
        f"The column {column!r} holds {type(value).__name__} in row {row}, where {expected} is expected. Correct "
        f"columns.{role} in the task file."
    )
