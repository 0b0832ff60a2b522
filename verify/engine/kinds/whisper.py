"""What is particular to Whisper: windows of 30 seconds, and a language and a task that the decoder is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.audio import Waveform
from verify.engine.inputs.audio_features import FRAME, alone
from verify.types import Setting


def whisper_features(extractor: Any) -> Callable[[Waveform], Mapping[str, Any]]:
    """Log-mel features [1, bins, frames]: of 30 seconds, or of the whole recording where it is longer.

    Longer ones are transcribed window after window, which `transformers` does on its own.
    """
    short = alone(extractor)

    def extract(wave: Waveform) -> Mapping[str, Any]:
        if len(wave) <= extractor.n_samples:
            return short(wave)
        features: Mapping[str, Any] = extractor(
            wave,
            sampling_rate=extractor.sampling_rate,
            truncation=False,
            padding="longest",
            return_attention_mask=True,
            return_tensors="pt",
        )
        return features

    return extract


def whisper_windows(model: Any, extractor: Any) -> Callable[[Waveform], bool]:
    """Whether a recording is transcribed in several steps, each of which begins where the text so far ends.

    Such ones stand by themselves: rows would drop out of a batch between the steps.
    """
    by_timestamps = bool(getattr(model.generation_config, "return_timestamps", False))
    return lambda wave: by_timestamps or len(wave) > extractor.n_samples


def whisper_cost(extractor: Any) -> Callable[[NDArray[np.int64]], NDArray[np.int64]]:
    """Whisper's cost: every recording counts as whole windows of 30 seconds, the last one padded."""
    window = int(extractor.n_samples)
    return lambda samples: np.maximum(-(-samples // window), 1) * (window // FRAME)


def whisper_language(model: Any, language: Setting) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What must be said to a Whisper model about language and task, and a note where it detects the language itself.

    Where the task is silent, a language or task in the checkpoint's own generation configuration stands.
    """
    configuration = model.generation_config
    if not getattr(configuration, "is_multilingual", True) or not hasattr(configuration, "lang_to_id"):
        return {}, ()
    forced = getattr(configuration, "forced_decoder_ids", None) or getattr(model.config, "forced_decoder_ids", None)
    settings: dict[str, Any] = {}
    if language is not None:
        settings["language"] = str(language)
    if hasattr(configuration, "task_to_id") and (
        language is not None or (not forced and getattr(configuration, "task", None) is None)
    ):
        settings["task"] = "transcribe"
    is_detected = language is None and getattr(configuration, "language", None) is None
    if is_detected and (not forced or forced[0][1] is None):
        return settings, ("no language was stated, so the model detects the language of each recording",)
    return settings, ()
