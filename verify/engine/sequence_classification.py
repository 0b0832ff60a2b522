"""Texts, or pairs of texts, to one class or one number: tokenise once, pad per batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Job, Prepared
from verify.engine.load import class_names, load_model
from verify.errors import DataError, EngineError
from verify.tasks.data import Examples

TOKEN_BUDGET = {"cpu": 2048, "other": 16384}


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the tokeniser and the model, and encode the selected ``rows`` in one call."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = load_model(AutoModelForSequenceClassification, job.model_folder, job.dtype)
    try:
        tokenizer = AutoTokenizer.from_pretrained(job.model_folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EngineError(
            f"The tokeniser could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            "The repository must hold its tokeniser files."
        ) from error
    max_length = job.max_length or _longest_input(tokenizer, model)
    texts = _texts(examples, "text", rows)
    pairs = _texts(examples, "text_pair", rows) if "text_pair" in examples.columns else None
    whole = tokenizer(texts, pairs, truncation=False, verbose=False, return_attention_mask=False)
    whole_lengths = np.array([len(ids) for ids in whole["input_ids"]], dtype=np.int64)
    cut = int((whole_lengths > max_length).sum()) if max_length else 0
    names = [name for name in whole if name in tokenizer.model_input_names and name != "attention_mask"]
    encoded = {name: list(whole[name]) for name in names}
    if max_length and cut:
        long = np.flatnonzero(whole_lengths > max_length).tolist()
        short = tokenizer(
            [texts[i] for i in long],
            [pairs[i] for i in long] if pairs else None,
            truncation=True,
            max_length=max_length,
            verbose=False,
        )
        for name in names:
            for position, ids in zip(long, short[name], strict=True):
                encoded[name][position] = ids
    can_pad = tokenizer.pad_token_id is not None
    if can_pad and model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id

    def collate(positions: Sequence[int]) -> Any:
        features = {name: [encoded[name][i] for i in positions] for name in names}
        if can_pad:
            return tokenizer.pad(features, return_tensors="pt")
        import torch

        return {name: torch.tensor(values) for name, values in features.items()}

    return Prepared(
        model=model,
        model_labels=None if model.config.num_labels == 1 else class_names(model.config),
        lengths=np.minimum(whole_lengths, max_length) if max_length else whole_lengths,
        collate=collate,
        token_budget=TOKEN_BUDGET["cpu" if device == "cpu" else "other"] if can_pad else 1,
        settings={
            "max_length": max_length,
            "truncated_texts": cut,
            "tokenizer": type(tokenizer).__name__,
            "padding_side": tokenizer.padding_side,
            "truncation_side": tokenizer.truncation_side,
        },
        notes=(f"{cut} of {len(rows)} inputs were longer than {max_length} tokens and were cut",) if cut else (),
    )


def _longest_input(tokenizer: Any, model: Any) -> int | None:
    """The most tokens the model takes: the tokeniser's own limit, or the number of position embeddings."""
    if tokenizer.model_max_length < 1_000_000:
        return int(tokenizer.model_max_length)
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is None:
        return None
    embeddings = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(embeddings, "padding_idx", None)
    return int(positions) - (padding + 1 if padding is not None else 0)


def _texts(examples: Examples, role: str, rows: NDArray[np.int64]) -> list[str]:
    texts = examples.column(role, rows.tolist())
    for row, text in zip(rows, texts, strict=True):
        if not isinstance(text, str):
            raise DataError(
                f"The column {examples.columns[role]!r} holds {type(text).__name__} in row {row}, where a text is "
                f"expected. Correct columns.{role} in the task file."
            )
    return texts
