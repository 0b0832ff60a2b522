"""Texts to summaries or translations, with an encoder-decoder model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.text import Encoded, input_limit, load_tokenizer, texts
from verify.engine.job import Job, Prepared
from verify.engine.kinds.direction import Direction, direction_of
from verify.engine.kinds.generation import configuration_record, generate
from verify.engine.loading.load import model_for
from verify.errors import DataError, NotComparableError, UsageError
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of
from verify.types import Setting

_ROLES = {"summarization": ("text", "summary"), "translation": ("source", "target")}
_FAMILIES = {"summarization": Family.SUMMARIES, "translation": Family.TRANSLATIONS}
_GENERATION = ("max_new_tokens", "min_new_tokens", "num_beams", "length_penalty", "no_repeat_ngram_size")

_MEMORY = {"cpu": 2**29, "other": 2**33}  # bytes for what a batch keeps from step to step
_MOST_TOKENS = {"cpu": 8192, "other": 65536}
_TOKENS_OF_A_ROW = (
    32  # a cautious guess, to share out what each row costs: a row of fewer tokens costs more than stated
)


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the tokeniser and the model, and encode the selected ``rows`` in one call.

    What the task leaves open is as the checkpoint's generation configuration says. Raises DataError if a column holds
    no texts, NotComparableError if there are no references, UsageError if settings and model do not fit together.
    """
    from transformers import AutoModelForSeq2SeqLM

    settings = settings_of(job.task.kind, job.task.settings)
    source, target = _ROLES[job.task.kind]
    references = _references(examples, target, rows)
    inputs = texts(examples, source, rows)
    model = model_for(job, AutoModelForSeq2SeqLM)
    tokenizer = load_tokenizer(job.model_folder)
    direction = direction_of(job.task, settings, tokenizer, model)
    generation = _generation(job, settings, direction, model)
    limit = _input_limit(job.max_length or settings["max_input_tokens"], tokenizer, model)
    encoded, cut = _encode(tokenizer, [direction.prefix + text for text in inputs], limit)
    record = configuration_record(model, generation)

    def collate(positions: Sequence[int]) -> Mapping[str, Any]:
        batch = encoded.padded(positions)
        if model.config.model_type == "led":
            batch["global_attention_mask"] = batch["input_ids"].new_zeros(batch["input_ids"].shape)
            batch["global_attention_mask"][:, 0] = 1
        return batch

    def write(model: Any, inputs: Mapping[str, Any]) -> list[tuple[list[int], float]]:
        output = generate(model, inputs, generation)
        return list(zip(output.tokens, output.margins, strict=True))

    def columns(positions: NDArray[np.int64], outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        written = [one[0] for one in outputs]
        return {
            "texts": tokenizer.batch_decode([tokens for tokens, _ in written], skip_special_tokens=True),
            "references": [references[position] for position in positions],
            "row_margins": np.array([margin for _, margin in written], dtype=np.float64),
        }

    return Prepared(
        family=_FAMILIES[job.task.kind],
        model=model,
        lengths=encoded.lengths,
        collate=collate,
        rows=columns,
        token_budget=_token_budget(model, int(record.get("num_beams", 1)), device),
        settings={
            **direction.record,
            "max_input_tokens": limit,
            "truncated_texts": cut,
            "tokenizer": type(tokenizer).__name__,
            "clean_up_tokenization_spaces": bool(tokenizer.clean_up_tokenization_spaces),
            "generation": record,
            **_unused(job, model),
        },
        notes=(
            *direction.notes,
            *((f"{cut} of {len(rows)} inputs were longer than {limit} tokens and were cut",) if cut else ()),
            *_length_note(record, generation, model),
        ),
        forward=write,
    )


def _encode(tokenizer: Any, inputs: list[str], limit: int | None) -> tuple[Encoded, int]:
    """The token ids of every input, cut at ``limit``, and how many were cut. No input but the ids and their mask."""
    whole = tokenizer(inputs, truncation=False, verbose=False, return_attention_mask=False)["input_ids"]
    long = [i for i, ids in enumerate(whole) if limit is not None and len(ids) > limit]
    if long:
        short = tokenizer([inputs[i] for i in long], truncation=True, max_length=limit, verbose=False)["input_ids"]
        for i, ids in zip(long, short, strict=True):
            whole[i] = ids
    return Encoded.of(tokenizer, {"input_ids": whole}), len(long)


def _references(examples: Examples, role: str, rows: NDArray[np.int64]) -> list[list[str]]:
    """The acceptable texts of each row: the column holds one, or a list of several."""
    examples.require_references()
    references = []
    for row, value in zip(rows, examples.column(role, rows.tolist()), strict=True):
        several = list(value) if isinstance(value, list | tuple) else [value]
        if not several or None in several:
            raise NotComparableError(
                f"The column {examples.columns[role]!r} holds no reference in row {row}, so the split {examples.split} "
                "cannot be scored. Choose another split with override.split=NAME."
            )
        if not all(isinstance(text, str) for text in several):
            raise DataError(
                f"The column {examples.columns[role]!r} holds {type(several[0]).__name__} in row {row}, where a text, "
                f"or a list of texts, is expected. Correct columns.{role} in the task file; a part of a column is "
                "named with a dot, such as translation.de."
            )
        references.append(several)
    return references


def _generation(job: Job, settings: Mapping[str, Setting], direction: Direction, model: Any) -> dict[str, Any]:
    """The settings of generation that the task states. Raises UsageError where the model cannot write that much."""
    stated = {name: settings[name] for name in _GENERATION if settings[name] is not None}
    for name in ("max_new_tokens", "num_beams"):
        if name in stated and int(stated[name] or 0) < 1:
            raise UsageError(f"{job.task.file}: settings.{name} must be at least 1.")
    held = _positions(model.get_decoder(), model.config, "max_decoder_position_embeddings")
    if held is not None and int(stated.get("max_new_tokens") or 0) >= held:
        raise UsageError(
            f"{job.task.file}: settings.max_new_tokens: the model's decoder has {held} positions, one of them for the "
            "start. Ask for fewer tokens."
        )
    return {**stated, **direction.generation}


def _length_note(record: Mapping[str, Any], generation: Mapping[str, Any], model: Any) -> tuple[str, ...]:
    if "max_length" in record or "max_new_tokens" in generation or model.generation_config.max_new_tokens is not None:
        return ()
    return (
        f"neither task nor checkpoint states how much to write, so it is at most {record['max_new_tokens']} tokens, "
        "as transformers has it",
    )


def _input_limit(asked: Setting, tokenizer: Any, model: Any) -> int | None:
    """The tokens at which an input is cut, no more than the encoder has positions."""
    limit = input_limit(int(asked) if asked else None, tokenizer, model)
    held = _positions(model.get_encoder(), model.config, "max_encoder_position_embeddings")
    if held is None or (limit is not None and limit <= held):
        return limit
    if asked:
        raise UsageError(f"Inputs of {limit} tokens were asked for, and the model takes {held}. Ask for no more.")
    return held


def _positions(stack: Any, config: Any, own_name: str) -> int | None:
    """How many positions an encoder or a decoder has a table for; None where positions are relative or computed."""
    import torch

    if not isinstance(getattr(stack, "embed_positions", None), torch.nn.Embedding):
        return None
    return int(getattr(config, own_name, None) or config.max_position_embeddings)


def _token_budget(model: Any, num_beams: int, device: str) -> int:
    """Input tokens of a batch, so that the input's keys and values and the logits of every beam fit into ``_MEMORY``.

    Large batches pay: a step costs little more for many rows than for few, and finished rows leave.
    """
    config, where = model.config, "cpu" if device == "cpu" else "other"
    layers = getattr(config, "decoder_layers", None) or getattr(config, "num_decoder_layers", None)
    kept = 2 * int(layers or config.num_hidden_layers) * int(config.hidden_size) * model.dtype.itemsize
    logits = 3 * int(config.vocab_size) * 4 / _TOKENS_OF_A_ROW
    return max(1, min(_MOST_TOKENS[where], int(_MEMORY[where] / ((kept + logits) * num_beams))))


def _unused(job: Job, model: Any) -> dict[str, Any]:
    """Settings of generation for this kind in the model's configuration, which only old pipelines applied."""
    stated = getattr(model.config, "task_specific_params", None) or {}
    parts = {name: part for name, part in stated.items() if name.startswith(job.task.kind) and isinstance(part, dict)}
    unused = {name: {key: value for key, value in part.items() if key != "prefix"} for name, part in parts.items()}
    unused = {name: part for name, part in unused.items() if part}
    return {"unused_task_specific_params": unused} if unused else {}
