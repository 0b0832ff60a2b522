"""Writing text with an encoder-decoder model, as its checkpoint and the task say: never by sampling.

`transformers`' ``generate`` prepares everything (encoder, cache, logits processors, stopping criteria) and is handed a
decoding loop of our own (:mod:`verify.engine.kinds.decoding`), in which finished rows cost nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from verify.engine.kinds.decoding import GenerationOutput, beam_search, greedy_search, padding_of
from verify.errors import EngineError

_OVERRIDES: Mapping[str, Any] = {
    "do_sample": False,
    "num_return_sequences": 1,
    "return_dict_in_generate": False,
    "output_scores": False,
    "output_logits": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "use_cache": True,
    "cache_implementation": None,
}

_RECORDED = (
    "max_length",
    "max_new_tokens",
    "min_length",
    "min_new_tokens",
    "num_beams",
    "length_penalty",
    "early_stopping",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "repetition_penalty",
    "sequence_bias",
    "exponential_decay_length_penalty",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "decoder_start_token_id",
    "eos_token_id",
    "pad_token_id",
)

_DEFAULT_NEW_TOKENS = 20  # what `generate` allows where neither the checkpoint nor the caller states a length


def generate(model: Any, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> GenerationOutput:
    """What ``model.generate(**inputs, **settings)`` writes for each row, without sampling.

    ``inputs`` are padded tensors on the model's device; ``settings`` go before the checkpoint's own generation
    configuration. Raises EngineError for a way of decoding other than greedy and beam search, for settings that
    contradict each other, and where the model's outputs are not numbers.
    """
    settings = {**_length_limit(model, settings), **settings}
    if _reads_padding(_configuration(model, settings)) and len(inputs.get("input_ids", ())) > 1:
        rows = [_generate(model, alone, settings) for alone in _rows_alone(inputs)]
        return GenerationOutput([row.tokens[0] for row in rows], [row.margins[0] for row in rows])
    return _generate(model, inputs, settings)


def _generate(model: Any, inputs: Mapping[str, Any], settings: Mapping[str, Any]) -> GenerationOutput:
    import torch

    runs: list[GenerationOutput] = []

    def decode(model: Any, input_ids: Any, **prepared: Any) -> Any:
        configuration = prepared["generation_config"]
        search = beam_search if configuration.num_beams > 1 else greedy_search
        runs.append(search(model, input_ids, **prepared))
        width, padding = max(map(len, runs[-1].tokens)), padding_of(configuration)
        return torch.tensor([row + [padding] * (width - len(row)) for row in runs[-1].tokens], device=input_ids.device)

    try:
        returned = model.generate(**inputs, **{**_OVERRIDES, **settings}, custom_generate=decode)
    except (ValueError, TypeError) as error:
        raise EngineError(
            f"{type(model).__name__} could not generate: {' '.join(str(error).split())[:400]} Correct the task's "
            "settings, or the model's generation_config.json."
        ) from error
    if not has_own_generate(model):
        return runs[0]
    # It may change the tokens, or call the loop for several parts.
    tokens = [_unpadded(row, padding_of(model.generation_config)) for row in returned.tolist()]
    return GenerationOutput(tokens, runs[0].margins if len(runs) == 1 else [0.0] * len(tokens))


def has_own_generate(model: Any) -> bool:
    """Whether the model's class has a `generate` of its own, as Whisper has, which may keep things in the model."""
    from transformers import GenerationMixin

    return getattr(type(model), "generate", GenerationMixin.generate) is not GenerationMixin.generate


def _reads_padding(configuration: Any) -> bool:
    """Whether the encoder's tokens decide what may be written: `transformers` then counts padding among them."""
    return bool(configuration.encoder_no_repeat_ngram_size) or configuration.encoder_repetition_penalty not in (None, 1)


def _rows_alone(inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Each row of a batch of texts without its padding."""
    for row, mask in enumerate(inputs["attention_mask"].bool()):
        yield {name: values[row : row + 1, mask] for name, values in inputs.items()}


def configuration_record(model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What shapes the text in the generation configuration in effect, as plain values; what is unset is left out.

    Raises EngineError for a way of decoding other than greedy and beam search.
    """
    configuration = _configuration(model, {**_length_limit(model, settings), **settings})
    record = {name: getattr(configuration, name, None) for name in _RECORDED}
    record = {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}
    record = {name: value for name, value in record.items() if value is not None}
    if model.generation_config.do_sample:
        record["sampling"] = "switched off, although the checkpoint asks for it"
    return record


def _length_limit(model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    stated = [getattr(model.generation_config, name) for name in ("max_length", "max_new_tokens")]
    stated += [settings.get(name) for name in ("max_length", "max_new_tokens")]
    return {} if any(stated) else {"max_new_tokens": _DEFAULT_NEW_TOKENS}


def _configuration(model: Any, settings: Mapping[str, Any]) -> Any:
    configuration = copy.deepcopy(model.generation_config)
    configuration.update(**{**_OVERRIDES, **settings})
    configuration.num_beams = configuration.num_beams or 1
    _require_reason(configuration, settings)
    mode = str(configuration.get_generation_mode().value)
    if mode not in ("greedy_search", "beam_search"):
        raise EngineError(
            f"The checkpoint asks for {mode.replace('_', ' ')} in generation_config.json, where only greedy search and "
            "beam search are supported. Set num_beams in the task's settings, or remove the option from the file."
        )
    return configuration


_MOST: Mapping[str, int] = {
    "num_beams": 64,
    "num_beam_groups": 64,
    "max_new_tokens": 4096,
    "max_length": 4096,
    "min_new_tokens": 4096,
    "min_length": 4096,
    "no_repeat_ngram_size": 4096,
    "encoder_no_repeat_ngram_size": 4096,
}
_MOST_ENTRIES = 300_000  # of a list of tokens: a vocabulary


def _require_reason(configuration: Any, settings: Mapping[str, Any]) -> None:
    """Raise EngineError for what a checkpoint asks for beyond reason; what a task asks for is the user's own."""
    replaced = {*settings, *(("max_length",) if settings.get("max_new_tokens") is not None else ())}
    for name, most in _MOST.items():
        value = getattr(configuration, name, None)
        if isinstance(value, int | float) and value > most and name not in replaced:
            raise EngineError(
                f"The checkpoint's generation configuration asks for {name} = {value:,}, where up to {most:,} is "
                "followed. Set max_new_tokens or num_beams under settings in the task, or correct the file."
            )
    for name in ("bad_words_ids", "sequence_bias", "suppress_tokens", "begin_suppress_tokens", "forced_decoder_ids"):
        value = getattr(configuration, name, None)
        if isinstance(value, list | tuple | dict) and len(value) > _MOST_ENTRIES:
            raise EngineError(
                f"The checkpoint's generation configuration holds {len(value):,} entries in {name}, where up to "
                f"{_MOST_ENTRIES:,} are followed. Correct generation_config.json."
            )


def _unpadded(tokens: list[int], padding: int) -> list[int]:
    length = len(tokens)
    while length and tokens[length - 1] == padding:
        length -= 1
    return tokens[:length]
