"""Texts, or pairs of texts, to one class, to several, or to one number: tokenise once, pad per batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import Encoded, batch_overhead, input_limit, load_tokenizer, texts, token_budget
from verify.engine.job import Job, Prepared
from verify.engine.kinds.classes import classifier
from verify.engine.loading.load import class_names, model_for
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the tokeniser and the model, and encode the selected ``rows`` in one call."""
    from transformers import AutoModelForSequenceClassification

    settings = settings_of(job.task.kind, job.task.settings)
    lowercase = bool(settings["lowercase_input"])
    model = model_for(job, AutoModelForSequenceClassification)
    model_labels = None if model.config.num_labels == 1 else class_names(model.config)
    family, info, columns = classifier(job, model_labels, examples, rows)
    tokenizer = load_tokenizer(job.model_folder)
    if settings["truncation_side"] is not None:
        tokenizer.truncation_side = settings["truncation_side"]
    max_length = input_limit(job.max_length, tokenizer, model)
    firsts = texts(examples, "text", rows, lowercase=lowercase)
    seconds = texts(examples, "text_pair", rows, lowercase=lowercase) if "text_pair" in examples.columns else None
    whole = tokenizer(firsts, seconds, truncation=False, verbose=False, return_attention_mask=False)
    whole_lengths = np.array([len(ids) for ids in whole["input_ids"]], dtype=np.int64)
    cut = int((whole_lengths > max_length).sum()) if max_length else 0
    whole_ids: dict[str, Any] = dict(whole)
    if max_length and cut:
        long = np.flatnonzero(whole_lengths > max_length).tolist()
        short = tokenizer(
            [firsts[i] for i in long],
            [seconds[i] for i in long] if seconds else None,
            truncation=True,
            max_length=max_length,
            verbose=False,
        )
        for name, sequences in whole_ids.items():
            for position, ids in zip(long, short[name], strict=True):
                sequences[position] = ids
    encoded = Encoded.of(tokenizer, whole_ids)
    can_pad = tokenizer.pad_token_id is not None
    if can_pad and model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id

    # Padding on the left shifts absolute positions; only a model that reads its last place (XLNet) needs it.
    reads_last = getattr(model.config, "summary_type", None) == "last"
    side = tokenizer.padding_side if reads_last else "right"

    return Prepared(
        family=family,
        model=model,
        lengths=encoded.lengths,
        collate=lambda positions: encoded.padded(positions, side),
        rows=columns,
        token_budget=token_budget(device) if can_pad else 1,
        batch_overhead=batch_overhead(device),
        settings={
            "max_length": max_length,
            "truncated_texts": cut,
            "tokenizer": type(tokenizer).__name__,
            "padding_side": side,
            "truncation_side": tokenizer.truncation_side,
        },
        info=info,
        notes=(f"{cut} of {len(rows)} inputs were longer than {max_length} tokens and were cut",) if cut else (),
    )
