"""Texts that come as words: which tokens belong to which word, and one row of logits for each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import Encoded, flattened

WORDS = "words"
"""In a batch, the number of each token's word within its sequence, or -1."""

_SPACE_BEFORE_WORDS = (
    "bart blenderbot bloom codegen data2vec-text deberta gpt2 gpt_neo gptj ibert led longformer mvp opt roberta "
    "roberta-prelayernorm"
)
"""Model types whose fast byte-level tokenisers, until transformers 5, refused separate words unless each got a space
before it (``add_prefix_space``), so that taggers of these types were trained with one. Others are used as saved.
"""

_Encoding = tuple[dict[str, list[Any]], list[NDArray[np.int64]]]


@dataclass(frozen=True)
class WordTokens:
    """Sequences of words as tokens.

    ``encoded`` has a column more than the model's inputs, ``words``: it counts from 0 the words of a sequence that have
    a token. ``kept`` lists, for each sequence, which of its words these are. ``cut`` words lie beyond the longest
    input, in ``cut_sequences`` sequences; ``silent`` words give no token at all.
    """

    encoded: Encoded
    kept: tuple[NDArray[np.int64], ...]
    cut: int
    cut_sequences: int
    silent: int


def encode_words(tokenizer: Any, model_type: str, sequences: Sequence[Sequence[str]], limit: int | None) -> WordTokens:
    """Encode sequences of words in one call; those of more than ``limit`` tokens are cut as the tokeniser cuts."""
    if tokenizer.is_fast:
        _put_space_before_words(tokenizer, model_type)
    encode = _encode_fast if tokenizer.is_fast else _encode_slow
    inputs, words = encode(tokenizer, sequences, None)
    kept = [np.unique(of_token[of_token >= 0]) for of_token in words]
    silent = sum(len(sequence) - len(seen) for sequence, seen in zip(sequences, kept, strict=True))
    long = [i for i, ids in enumerate(inputs["input_ids"]) if limit is not None and len(ids) > limit]
    cut = 0
    if long:
        short, short_words = encode(tokenizer, [sequences[i] for i in long], limit)
        for line, i in enumerate(long):
            for name, values in inputs.items():
                values[i] = short[name][line]
            words[i] = short_words[line]
            seen = np.unique(words[i][words[i] >= 0])
            cut, kept[i] = cut + len(kept[i]) - len(seen), seen
    _fill_empty(tokenizer, inputs, words)
    numbers = [np.where(w >= 0, np.searchsorted(seen, w), -1) for w, seen in zip(words, kept, strict=True)]
    encoded = Encoded.of(tokenizer, inputs)
    encoded = replace(
        encoded,
        flat={**encoded.flat, WORDS: np.concatenate(numbers)},
        padding={**encoded.padding, WORDS: -1},
    )
    return WordTokens(encoded, tuple(kept), cut, len(long), silent)


def word_logits(model: Any, inputs: Mapping[str, Any], subword: str) -> list[NDArray[np.float32]]:
    """For each sequence of a batch, float32 logits [words, C].

    ``subword`` says which tokens of a word count: its first, its last, or all of them by their mean or max.
    """
    import torch

    batch = dict(inputs)
    words = batch.pop(WORDS)
    counts = (words.amax(dim=1) + 1).tolist()
    most = max(counts)
    slots = torch.where(words >= 0, words, most)  # tokens of no word share one more slot, which is left out below
    logits = model(**batch).logits.float()
    classes = logits.shape[-1]
    if subword in ("first", "last"):
        places = torch.arange(words.shape[1], device=words.device).expand_as(words)
        chosen = torch.zeros(len(counts), most + 1, dtype=torch.int64, device=words.device)
        chosen.scatter_reduce_(1, slots, places, "amin" if subword == "first" else "amax", include_self=False)
        pooled = logits.gather(1, chosen[:, :most, None].expand(-1, -1, classes))
    else:
        pooled = torch.zeros(len(counts), most + 1, classes, device=logits.device)
        index = slots[:, :, None].expand(-1, -1, classes)
        pooled.scatter_reduce_(1, index, logits, "mean" if subword == "mean" else "amax", include_self=False)
    array: NDArray[np.float32] = pooled.cpu().numpy()
    return [array[line, :count] for line, count in enumerate(counts)]


def _encode_fast(tokenizer: Any, sequences: Sequence[Sequence[str]], limit: int | None) -> _Encoding:
    encoding = tokenizer(
        [list(sequence) for sequence in sequences],
        is_split_into_words=True,
        truncation=limit is not None,
        max_length=limit,
        return_attention_mask=False,
        verbose=False,
    )
    words = [
        np.array([-1 if word is None else word for word in encoding.word_ids(i)], dtype=np.int64)
        for i in range(len(sequences))
    ]
    return {name: list(encoding[name]) for name in encoding}, words


def _encode_slow(tokenizer: Any, sequences: Sequence[Sequence[str]], limit: int | None) -> _Encoding:
    """Word by word, because a tokeniser written in Python does not say which word a token came from."""
    distinct = {word for sequence in sequences for word in sequence}
    ids_of = {word: tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) for word in distinct}
    room = None if limit is None else limit - tokenizer.num_special_tokens_to_add()
    inputs: dict[str, list[Any]] = {}
    words = []
    for sequence in sequences:
        ids = flattened([ids_of[word] for word in sequence])
        of_token = np.repeat(np.arange(len(sequence)), [len(ids_of[word]) for word in sequence])
        if room is not None and len(ids) > room:
            part = slice(len(ids) - room, None) if tokenizer.truncation_side == "left" else slice(0, room)
            ids, of_token = ids[part], of_token[part]
        one = tokenizer.prepare_for_model(ids.tolist(), return_special_tokens_mask=True, verbose=False)
        is_special = np.array(one.pop("special_tokens_mask"), dtype=bool)
        for name, values in one.items():
            inputs.setdefault(name, []).append(values)
        numbers = np.full(len(is_special), -1, dtype=np.int64)
        numbers[~is_special] = of_token
        words.append(numbers)
    return inputs, words


def _put_space_before_words(tokenizer: Any, model_type: str) -> None:
    splitter = tokenizer.backend_tokenizer.pre_tokenizer
    if model_type not in _SPACE_BEFORE_WORDS.split() or splitter is None:
        return
    for part in splitter if type(splitter).__name__ == "Sequence" else [splitter]:
        if type(part).__name__ == "ByteLevel":
            part.add_prefix_space = True
    tokenizer.backend_tokenizer.pre_tokenizer = splitter


def _fill_empty(tokenizer: Any, inputs: Mapping[str, list[Any]], words: list[NDArray[np.int64]]) -> None:
    """Give a sequence without any token one for padding: a model cannot read nothing."""
    for i, of_token in enumerate(words):
        if not len(of_token):
            words[i] = np.array([-1], dtype=np.int64)
            for name, values in inputs.items():
                values[i] = [(tokenizer.pad_token_id or 0) if name == "input_ids" else 0]
