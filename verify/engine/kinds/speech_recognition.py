"""Speech to text: CTC models decoded greedily, and encoder-decoder models such as Whisper.

Transcripts are those of single recordings, whatever the batch. A CTC transcript is the most likely token of each frame,
repeats merged and blanks dropped. Its special tokens are not skipped, as `transformers`' own pipeline does not: the
padding token is the blank, and skipping it before repeats are merged would turn "hello" into "helo".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.audio import Recordings
from verify.engine.inputs.audio_features import (
    Collate,
    alone,
    check_lengths,
    collator,
    extractor_settings,
    frame_budget,
    frames,
    in_groups,
    load_feature_extractor,
    over_groups,
    pads_exactly,
)
from verify.engine.inputs.text import load_tokenizer, texts
from verify.engine.job import Job, Prepared
from verify.engine.kinds.generation import configuration_record, generate, has_own_generate
from verify.engine.kinds.whisper import whisper_cost, whisper_features, whisper_language, whisper_windows
from verify.engine.loading.load import load_model, model_for
from verify.errors import EngineError
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples
from verify.tasks.kinds import settings_of
from verify.tasks.places import data_folder
from verify.types import Setting

_GENERATES = frozenset({"whisper", "speech_to_text", "speech-encoder-decoder", "moonshine"})
_LONGEST_TEXT = 256
"""New tokens where neither the model nor the task states a limit, as in `transformers`' speech pipeline."""

_GENERATION_BREADTH = 3  # a step of generation reads all weights for one token a row, so rows cost little

Transcript = tuple[Sequence[int], float]
"""Token ids, and the smallest gap between the best and the second-best token on the way to them."""


@dataclass(frozen=True)
class _Recogniser:
    """A model with its feature extractor and the way from ids to text.

    ``collate`` makes a batch, ``call`` transcribes one group of it, ``cost`` counts the frames of recordings of so many
    samples, ``breadth`` is how many times as many of them as usual make a batch. ``spelling`` maps British to American
    words, for Whisper's English normaliser.
    """

    model: Any
    extractor: Any
    collate: Collate
    call: Callable[[Any, Mapping[str, Any]], Sequence[Transcript]]
    cost: Callable[[NDArray[np.int64]], NDArray[np.int64]]
    text: Callable[[Sequence[int]], str]
    settings: dict[str, Any]
    notes: tuple[str, ...]
    breadth: int = 1
    spelling: Mapping[str, str] | None = None


def prepare(job: Job, examples: Examples, rows: NDArray[np.int64], device: str) -> Prepared:
    """Load the model that the checkpoint's architecture asks for; recordings are decoded batch by batch.

    Raises EngineError for an architecture that is neither CTC nor one of the known encoder-decoders.
    """
    examples.require_references()
    references = texts(examples, "text", rows)
    options = settings_of(job.task.kind, job.task.settings)
    architecture, model_type = _architecture(job.model_folder)
    if architecture.endswith("ForCTC"):
        recogniser = _ctc(job, options)
    elif model_type in _GENERATES:
        recogniser = _encoder_decoder(job, options, model_type)
    else:
        raise EngineError(
            f"{architecture or model_type} is not a speech recogniser that is known here. Known are models for CTC "
            f"(such as Wav2Vec2ForCTC) and encoder-decoders of the types {', '.join(sorted(_GENERATES))}."
        )
    rate = recogniser.extractor.sampling_rate
    recordings = Recordings(examples, rows, rate, data_folder(job.task, job.split))
    samples = recordings.durations()
    check_lengths(recogniser.model, recordings, samples)

    def columns(positions: NDArray[np.int64], outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        return {
            "texts": [recogniser.text(one[0][0]) for one in outputs],
            "references": [[references[position]] for position in positions],
            "row_margins": np.array([one[0][1] for one in outputs], dtype=np.float64),
        }

    return Prepared(
        family=Family.TRANSCRIPTS,
        model=recogniser.model,
        lengths=recogniser.cost(samples),
        collate=lambda positions: recogniser.collate(recordings, positions),
        rows=columns,
        token_budget=frame_budget(device) * recogniser.breadth,
        settings=recogniser.settings,
        info={
            **({"spelling": dict(recogniser.spelling)} if recogniser.spelling else {}),
            "longest_reference": _longest(examples),
        },
        notes=recogniser.notes,
        forward=lambda model, inputs: over_groups(recogniser.call, model, inputs),
        concurrent=not has_own_generate(recogniser.model),
    )


def _longest(examples: Examples) -> int:
    """The words of the longest transcript of the whole split, which bounds what an example can add to an error rate."""
    everything = np.arange(len(examples))
    return max((len(text.split()) for text in texts(examples, "text", everything)), default=0)


def _architecture(folder: str) -> tuple[str, str]:
    """The class and the model type that config.json names."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CTC_MAPPING_NAMES

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EngineError(
            f"The model's config.json could not be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
    named = (config.architectures or [""])[0]
    model_type = str(config.model_type)
    return named if named.endswith("ForCTC") else MODEL_FOR_CTC_MAPPING_NAMES.get(model_type, named), model_type


def _ctc(job: Job, options: Mapping[str, Setting]) -> _Recogniser:
    from transformers import AutoModelForCTC

    tokenizer, extractor = load_tokenizer(job.model_folder), load_feature_extractor(job.model_folder)
    language = options["language"]
    is_multilingual = language is not None and isinstance(next(iter(getattr(tokenizer, "vocab", {}).values()), 0), dict)
    if is_multilingual:
        model = _with_adapter(load_model(AutoModelForCTC, job.model_folder, job.dtype), tokenizer, str(language))
    else:
        model = model_for(job, AutoModelForCTC)
    pads = pads_exactly(model)

    def call(model: Any, arguments: Mapping[str, Any]) -> list[Transcript]:
        logits = model(**arguments).logits.float()
        if not bool(logits.isfinite().all()):
            raise EngineError(
                "The model returns values that are not finite (NaN or infinite). If it was run in half precision, "
                "try engine.dtype=float32; otherwise its weights are damaged."
            )
        best = logits.topk(2, dim=-1).values
        gaps, ids = (best[..., 0] - best[..., 1]).cpu(), logits.argmax(dim=-1).cpu()
        counts = [ids.shape[1]] * len(ids)
        if pads:
            counts = model._get_feat_extract_output_lengths(arguments["attention_mask"].sum(dim=-1)).tolist()
        return [(ids[i, :count].tolist(), float(gaps[i, :count].min())) for i, count in enumerate(counts)]

    has_language_model = any((Path(job.model_folder) / name).exists() for name in ("language_model", "alphabet.json"))
    note = "the repository's language-model decoder is not used: transcripts are the greedy ones of the acoustic model"
    return _Recogniser(
        model=model,
        extractor=extractor,
        collate=collator(model, extractor),
        call=call,
        cost=frames,
        text=tokenizer.decode,
        settings={
            **extractor_settings(extractor, pads),
            "tokenizer": type(tokenizer).__name__,
            "decoding": "ctc, greedy",
            "language": language if is_multilingual else None,
        },
        notes=(note,) if has_language_model else (),
    )


def _with_adapter(model: Any, tokenizer: Any, language: str) -> Any:
    """The model with the adapter and the head of one language, as MMS checkpoints hold them in files of their own."""
    known = sorted(tokenizer.vocab)
    if language not in known:
        shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
        raise EngineError(
            f"The model has no language {language!r}. Set settings.language in the task to one of {shown}."
        )
    tokenizer.set_target_lang(language)
    try:
        model.load_adapter(language, local_files_only=True, use_safetensors=True)
    except Exception as error:
        raise EngineError(
            f"The adapter for {language} could not be loaded: {' '.join(str(error).split())[:300]} The repository must "
            f"hold adapter.{language}.safetensors."
        ) from error
    return model.eval()


def _encoder_decoder(job: Job, options: Mapping[str, Setting], model_type: str) -> _Recogniser:
    from transformers import AutoModelForSpeechSeq2Seq

    model = model_for(job, AutoModelForSpeechSeq2Seq)
    tokenizer, extractor = load_tokenizer(job.model_folder), load_feature_extractor(job.model_folder)
    settings: dict[str, Any] = {
        name: options[name] for name in ("max_new_tokens", "num_beams") if options[name] is not None
    }
    settings |= _length_limit(model, settings)
    notes: tuple[str, ...] = ()
    collate: Collate = partial(in_groups, alone(extractor))
    if model_type == "whisper":
        chosen, notes = whisper_language(model, options["language"])
        settings |= chosen
        collate = partial(in_groups, whisper_features(extractor), apart=whisper_windows(model, extractor))

    def call(model: Any, arguments: Mapping[str, Any]) -> list[Transcript]:
        output = generate(model, arguments, settings)
        return list(zip(output.tokens, output.margins, strict=True))

    return _Recogniser(
        model=model,
        extractor=extractor,
        collate=collate,
        call=call,
        cost=whisper_cost(extractor) if model_type == "whisper" else frames,
        text=lambda ids: str(tokenizer.decode(ids, skip_special_tokens=True)),
        settings={
            **extractor_settings(extractor, pads=False),
            "tokenizer": type(tokenizer).__name__,
            **{name: settings[name] for name in ("language", "task") if name in settings},
            "generation": configuration_record(model, settings),
        },
        notes=notes,
        breadth=_GENERATION_BREADTH,
        spelling=getattr(tokenizer, "english_spelling_normalizer", None),
    )


def _length_limit(model: Any, settings: Mapping[str, Any]) -> dict[str, Any]:
    """A limit on the text's length where nobody states one; `generate` would stop after 20 tokens."""
    stated = (
        settings.get("max_new_tokens"),
        model.generation_config.max_new_tokens,
        model.generation_config.max_length,
    )
    if any(limit is not None for limit in stated):
        return {}
    positions = getattr(model.config, "max_target_positions", None)
    return {"max_new_tokens": _LONGEST_TEXT} if positions is None else {"max_length": int(positions)}
