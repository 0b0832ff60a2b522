"""Recordings to a model's inputs, in batches whose outputs are those of each recording alone.

Padding is the trap. Where the first layers normalise over time (``feat_extract_norm`` is group, as in wav2vec2-base),
zeros at the end change every frame, and no mask undoes that; strided or stacked convolutions (SEW, Data2Vec,
conformers) let zeros leak into the last frames. Only for the architectures below, with layer normalisation, was a
padded and masked batch found equal to single recordings, to rounding. For all others, recordings share a forward pass
only if their inputs have the same shape: spectrograms of a fixed size do, and so do clips of equal length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.inputs.audio import RESAMPLER, Recordings, Waveform
from verify.engine.inputs.preprocessor import check_preprocessor
from verify.errors import DataError, EngineError

FRAME = 320
"""Samples of a frame of 20 ms at 16 kHz, the step of wav2vec 2.0 and its kin: the unit in which costs are counted."""

FRAME_BUDGET: Mapping[str, int] = {"cpu": 2048, "other": 16384}
"""Frames of a batch, by the type of the device."""

_MASKS_EXACTLY = frozenset({"wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat"})
_ORDER = "order"

Extract = Callable[[Waveform], Mapping[str, Any]]
Collate = Callable[[Recordings, Sequence[int]], dict[str, Any]]


def load_feature_extractor(folder: str) -> Any:
    """The repository's feature extractor, with no code from the repository. Raises EngineError if it has none."""
    from transformers import AutoFeatureExtractor

    check_preprocessor(folder)
    try:
        return AutoFeatureExtractor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EngineError(
            f"The feature extractor could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            "The repository must hold a preprocessor_config.json that this version of transformers knows."
        ) from error


def frame_budget(device: str) -> int:
    return FRAME_BUDGET["cpu" if device == "cpu" else "other"]


def frames(samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """The cost of recordings of so many samples: at least one frame each."""
    return np.maximum(samples // FRAME, 1)


def pads_exactly(model: Any) -> bool:
    """Whether a padded and masked batch gives what each recording gives alone."""
    config = model.config
    return (
        config.model_type in _MASKS_EXACTLY
        and getattr(config, "feat_extract_norm", None) == "layer"
        and not getattr(config, "add_adapter", False)
        and not getattr(config, "conv_pos_batch_norm", False)
    )


def check_lengths(model: Any, recordings: Recordings, samples: NDArray[np.int64]) -> None:
    """Raise DataError if a recording is shorter than what the model's convolutions need for a single frame."""
    kernels, strides = getattr(model.config, "conv_kernel", None), getattr(model.config, "conv_stride", None)
    if not isinstance(kernels, (list, tuple)) or not isinstance(strides, (list, tuple)) or not len(samples):
        return
    needed, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=False):
        needed, step = needed + (kernel - 1) * step, step * stride
    shortest = int(np.argmin(samples))
    if samples[shortest] < needed:
        raise DataError(
            f"The recording {recordings.place(shortest)} has {samples[shortest]} samples at {recordings.rate} Hz, and "
            f"the model needs {needed} for its first frame. Leave it out."
        )


def alone(extractor: Any) -> Extract:
    """What a plain call of the feature extractor on one waveform gives, as torch tensors [1, …]."""
    return lambda wave: extractor(wave, sampling_rate=extractor.sampling_rate, return_tensors="pt")


def in_groups(
    extract: Extract,
    recordings: Recordings,
    positions: Sequence[int],
    apart: Callable[[Waveform], bool] = lambda wave: False,
) -> dict[str, Any]:
    """A batch in which every recording is extracted alone, and stands with those whose inputs have the same shape.

    Those that are to be kept ``apart`` stand by themselves. Raises DataError if the extractor refuses one.
    """
    import torch

    groups: dict[Any, list[tuple[int, Mapping[str, Any]]]] = {}
    for place, (position, wave) in enumerate(zip(positions, recordings.waveforms(positions), strict=True)):
        try:
            inputs = extract(wave)
        except Exception as error:
            raise DataError(
                f"The recording {recordings.place(position)}, of {len(wave)} samples, could not be turned into "
                f"the model's inputs: {type(error).__name__}: {' '.join(str(error).split())[:200]} Leave it out."
            ) from error
        shape = tuple((name, tuple(value.shape)) for name, value in sorted(inputs.items()))
        groups.setdefault(place if apart(wave) else shape, []).append((place, inputs))
    batch: dict[str, Any] = {}
    for number, members in enumerate(groups.values()):
        for name in members[0][1]:
            batch[f"{number}.{name}"] = torch.cat([inputs[name] for _, inputs in members])
    batch[_ORDER] = torch.tensor([place for members in groups.values() for place, _ in members])
    return batch


def padded(extractor: Any, recordings: Recordings, positions: Sequence[int]) -> dict[str, Any]:
    """A batch padded with zeros to its longest recording, with an attention mask, as a single group."""
    import torch

    inputs = extractor(
        recordings.waveforms(positions),
        sampling_rate=extractor.sampling_rate,
        padding=True,
        return_attention_mask=True,
        return_tensors="pt",
    )
    return {f"0.{name}": value for name, value in inputs.items()} | {_ORDER: torch.arange(len(positions))}


def collator(model: Any, extractor: Any) -> Collate:
    """How recordings are batched for a model that reads what its feature extractor gives."""
    return partial(padded, extractor) if pads_exactly(model) else partial(in_groups, alone(extractor))


def over_groups(
    call: Callable[[Any, Mapping[str, Any]], Iterable[Any]], model: Any, inputs: Mapping[str, Any]
) -> list[Any]:
    """One output for each recording, in the order in which they were collated: ``call`` runs once for each group."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in inputs.items():
        if key != _ORDER:
            number, _, name = key.partition(".")
            groups.setdefault(number, {})[name] = value
    outputs = [output for arguments in groups.values() for output in call(model, arguments)]
    ordered: list[Any] = [None] * len(outputs)
    for position, output in zip(inputs[_ORDER].tolist(), outputs, strict=True):
        ordered[position] = output
    return ordered


def extractor_settings(extractor: Any, pads: bool) -> dict[str, Any]:
    """What run.json says about how recordings became inputs."""
    return {
        "feature_extractor": type(extractor).__name__,
        "sampling_rate": extractor.sampling_rate,
        "resampler": RESAMPLER,
        "padding": "masked" if pads else "none, equal shapes share a batch",
    }


def cut_note(extractor: Any, samples: NDArray[np.int64]) -> tuple[str, ...]:
    """A note where the feature extractor itself drops the end of long recordings (Whisper's, the AST's)."""
    limit = getattr(extractor, "n_samples", None)
    if limit is None and type(extractor).__name__ == "ASTFeatureExtractor":
        limit = extractor.max_length * extractor.sampling_rate // 100  # Kaldi's frames are 10 ms apart
    cut = 0 if limit is None else int((samples > limit).sum())
    if not cut:
        return ()
    return (f"{cut} of {len(samples)} recordings were longer than {limit / extractor.sampling_rate:g} s and were cut",)
