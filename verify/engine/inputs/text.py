"""What all kinds that read text share: the tokeniser, the longest input, the texts of a column, and padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.bounded_tokenizer import BoundedTokenizer, is_panic
from verify.engine.inputs.rewriting import require_sound_pieces
from verify.errors import DataError, EngineError, UsageError
from verify.tasks.data import Examples

TOKEN_BUDGET: Mapping[str, int] = {"cpu": 2048, "other": 16384}
"""Tokens of a batch, padding included, by the type of the device."""

BATCH_OVERHEAD: Mapping[str, int] = {"cpu": 64, "other": 2048}
"""What a batch that goes through the model once costs beside its tokens, in tokens, by the type of the device."""

_VOCABULARIES = {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json", "vocab.txt", "spiece.model"}
_NO_LIMIT = 1_000_000  # transformers states 10**30 for a tokeniser without a limit of its own


def token_budget(device: str) -> int:
    return TOKEN_BUDGET["cpu" if device == "cpu" else "other"]


def batch_overhead(device: str) -> int:
    return BATCH_OVERHEAD["cpu" if device == "cpu" else "other"]


def load_tokenizer(folder: str, **options: Any) -> Any:
    """The repository's tokeniser, the fast one where there is one, with no code from the repository.

    ``options`` are handed to `AutoTokenizer.from_pretrained`. Raises EngineError if it cannot be built, or if the
    repository lacks its vocabulary, in which case transformers 5 makes up an empty one without a word, or if what it
    states is beyond reason.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except BaseException as error:
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        raise EngineError(
            f"The tokeniser could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            "The repository must hold its tokeniser files."
        ) from error
    known = {name for name in tokenizer.vocab_files_names.values() if isinstance(name, str)}
    if known and not any((Path(folder) / name).is_file() for name in known | _VOCABULARIES):
        raise EngineError(
            f"The repository holds no vocabulary for its tokeniser ({', '.join(sorted(known))}), so every word would "
            "be unknown to it. The repository must hold its tokeniser files."
        )
    require_sound_pieces(tokenizer)
    if isinstance(getattr(tokenizer, "_tokenizer", None), Tokenizer):
        tokenizer._tokenizer = BoundedTokenizer(tokenizer._tokenizer)
    _require_length(tokenizer)
    return tokenizer


def _require_length(tokenizer: Any) -> None:
    """Raise EngineError unless the longest input that the tokeniser states is a number that a text fits into.

    Whatever is beyond any model's stands for none, as the 10**30 that transformers writes.
    """
    stated = tokenizer.model_max_length
    special = tokenizer.num_special_tokens_to_add()
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not stated > special:
        raise EngineError(
            f"The repository's tokenizer_config.json states a model_max_length of {str(stated)[:40]}, and it has to be "
            f"a number of tokens above the {special} that the tokeniser takes for itself. Correct the file in a copy "
            "of the repository, or ask the model's author."
        )


def longest_input(tokenizer: Any, model: Any) -> int | None:
    """The most tokens, special ones included, that the model takes, or None where neither part states a limit.

    It is the tokeniser's limit, but never more than the model has position embeddings.
    """
    stated = int(tokenizer.model_max_length) if tokenizer.model_max_length < _NO_LIMIT else None
    held, is_table = _positions(model)
    if stated is None or held is None:
        return held if stated is None else stated
    return min(stated, held) if is_table else stated


def input_limit(asked: int | None, tokenizer: Any, model: Any) -> int | None:
    """The tokens, special ones included, at which an input is cut: those ``asked`` for, else the model's limit.

    Raises UsageError if the model has fewer positions, or if nothing of a text would be left.
    """
    limit = asked or longest_input(tokenizer, model)
    held, is_table = _positions(model)
    if limit is None:
        return None
    if is_table and held is not None and limit > held:
        raise UsageError(f"Inputs of {limit} tokens were asked for, and the model takes {held}. Ask for no more.")
    special = tokenizer.num_special_tokens_to_add()
    if limit <= special:
        raise UsageError(
            f"Inputs of {limit} tokens were asked for, of which the tokeniser takes {special} for itself, so nothing "
            "of the text would be left. Ask for more."
        )
    return limit


def _positions(model: Any) -> tuple[int | None, bool]:
    """How many positions the model states, and whether that is the size of a table that an input cannot exceed."""
    positions = getattr(model.config, "max_position_embeddings", None)
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    if positions is None:
        return None, False
    padding = getattr(table, "padding_idx", None)
    return int(positions) - (padding + 1 if padding is not None else 0), table is not None


def texts(examples: Examples, role: str, rows: NDArray[np.int64], *, lowercase: bool = False) -> list[str]:
    """The texts of one role in the given rows of the split, in lower case if asked.

    Raises DataError where one is not a text.
    """
    values = examples.column(role, rows.tolist())
    for row, text in zip(rows, values, strict=True):
        if not isinstance(text, str):
            raise DataError(
                f"The column {examples.columns[role]!r} holds {type(text).__name__} in row {row}, where a text is "
                f"expected. Correct columns.{role} in the task file."
            )
    return [text.lower() for text in values] if lowercase else values


@dataclass(frozen=True)
class Encoded:
    """Token sequences of different lengths, end to end: the sequence u is ``flat[name][starts[u] : starts[u + 1]]``.

    ``flat`` maps model inputs (input_ids, token_type_ids …) to int64 [T]; ``starts`` is int64 [U + 1]; ``padding``
    gives the value that fills up a batch, for each input.
    """

    flat: Mapping[str, NDArray[np.int64]]
    starts: NDArray[np.int64]
    padding: Mapping[str, int]

    @staticmethod
    def of(tokenizer: Any, encoding: Mapping[str, Sequence[Sequence[int]]]) -> Encoded:
        """Take over what a tokeniser returned for many texts, the attention mask excepted: there is no padding yet."""
        names = [name for name in encoding if name in tokenizer.model_input_names and name != "attention_mask"]
        fill = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
        return Encoded(
            {name: flattened(encoding[name]) for name in names},
            starts_of(encoding["input_ids"]),
            {name: fill.get(name, 0) for name in names},
        )

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    def padded(self, units: Sequence[int], side: str = "right") -> dict[str, Any]:
        """A batch of torch tensors [n, longest], attention mask included, padded on the ``side`` given.

        On the right, no token's output depends on the padding, whether the model attends both ways or backwards and
        whether its positions are absolute or relative. Padding on the left is for generation.
        """
        import torch

        chosen = np.asarray(units, dtype=np.int64)
        lengths = self.lengths[chosen]
        width = int(lengths.max(initial=0))
        begins = np.zeros_like(lengths) if side == "right" else width - lengths
        places = np.arange(width) - begins[:, None]
        filled = (places >= 0) & (places < lengths[:, None])
        source = (self.starts[chosen][:, None] + places)[filled]
        batch = {}
        for name, values in self.flat.items():
            array = np.full(filled.shape, self.padding[name], dtype=np.int64)
            array[filled] = values[source]
            batch[name] = torch.from_numpy(array)
        batch["attention_mask"] = torch.from_numpy(filled.astype(np.int64))
        return batch


def flattened(sequences: Sequence[Sequence[int] | NDArray[np.int64]]) -> NDArray[np.int64]:
    """Integer sequences end to end [T]."""
    parts = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def starts_of(sequences: Sequence[Sequence[Any]]) -> NDArray[np.int64]:
    """Where each sequence begins when they stand end to end, and where the last one ends [U + 1]."""
    lengths = np.fromiter((len(sequence) for sequence in sequences), dtype=np.int64, count=len(sequences))
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
