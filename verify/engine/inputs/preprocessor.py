"""What a repository says about preprocessing, held against reason before a processor is built from it.

Sizes decide how large a model's inputs become, whatever the data, and some allocate tables on construction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verify.errors import EngineError
from verify.tasks.limits import INPUT_EDGE, INPUT_PIXELS, MODEL_RATES

_FILES = ("preprocessor_config.json", "processor_config.json")

_EDGES = ("size", "crop_size", "pad_size", "image_size", "height", "width", "shortest_edge", "longest_edge")
_AREAS = ("size", "crop_size", "pad_size", "image_size")

_BOUNDS: Mapping[str, tuple[float, float]] = {
    "sampling_rate": MODEL_RATES,
    **dict.fromkeys(("n_fft", "fft_length", "fft_window_size", "win_length", "win_size", "frame_length"), (1, 2**16)),
    **dict.fromkeys(("feature_size", "num_mel_bins", "nb_frequency_bins", "n_mels"), (1, 2**13)),
    **dict.fromkeys(("hop_length", "hop_size"), (1, 2**16)),
    **dict.fromkeys(("chunk_length", "chunk_length_s", "max_length_s"), (0, 600)),
    **dict.fromkeys(("nb_max_frames", "max_length"), (1, 2**17)),
    **dict.fromkeys(("n_samples", "nb_max_samples"), (1, 600 * MODEL_RATES[1])),
    **dict.fromkeys(_EDGES, (1, INPUT_EDGE)),
    **dict.fromkeys(("size_divisor", "size_divisibility", "pad_size_divisor", "pad_to_multiple_of"), (1, INPUT_EDGE)),
    "crop_pct": (0.25, 1),
}
"""The least and the most of what is stated under a name; Whisper hears 30 seconds, and transforms 400 samples."""

_ANYTHING = 10**9  # the most under any other name


def check_preprocessor(folder: str) -> None:
    """Raise EngineError if the files on preprocessing state a size that no model has; unreadable ones are left alone.

    Their readers name what is wrong with those.
    """
    for name in _FILES:
        file = Path(folder) / name
        try:
            stated = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            continue
        for key, value, parent in _numbers(stated, name):
            least, most = _BOUNDS.get(key, (-float("inf"), _ANYTHING))
            if not least <= value <= most:
                shown = f"{value:,}" if abs(value) < 10**15 else f"{value:.3g}"
                raise EngineError(
                    f"The repository's {name} states {parent} {shown}, where {'up to' if value > most else 'at least'} "
                    f"{most if value > most else least:,} is reasonable. Correct the file in a copy of the repository."
                )
        for key, height, width in _areas(stated):
            if height * width > INPUT_PIXELS:
                raise EngineError(
                    f"The repository's {name} states a {key} of {height:,} × {width:,} pixels, where up to "
                    f"{INPUT_PIXELS / 1e6:.1f} million are reasonable. Correct the file in a copy of the repository."
                )


def _numbers(value: Any, key: str, path: str = "") -> Iterator[tuple[str, float, str]]:
    """Every number, under the name that it is stated under, and the way to it."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _numbers(part, str(name), f"{path}.{name}" if path else str(name))
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, key, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value, path


def _areas(value: Any) -> Iterator[tuple[str, float, float]]:
    """Heights and widths of what images are brought to: an edge, both edges, or an edge alone, which is a square."""
    if not isinstance(value, Mapping):
        return
    for key, part in value.items():
        if key in _AREAS:
            yield from _area(key, part)
        else:
            yield from _areas(part)


def _area(key: str, part: Any) -> Iterator[tuple[str, float, float]]:
    found = part
    if isinstance(part, Mapping):
        square = part.get("shortest_edge") or 0
        found = [part.get("height") or square, part.get("width") or square]
    edges = found if isinstance(found, list) else [found, found]
    if len(edges) == 2 and all(isinstance(edge, (int, float)) for edge in edges):
        yield key, edges[0], edges[1]
