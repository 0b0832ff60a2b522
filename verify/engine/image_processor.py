"""The checkpoint's own image processor, and what it does to an image: that decides a good part of the score."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from verify.errors import EngineError

_FILE = "preprocessor_config.json"
_SWITCHED: Mapping[str | None, tuple[str, ...]] = {
    "do_resize": ("size", "crop_pct"),
    "do_center_crop": ("do_center_crop", "crop_size"),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
    None: ("do_convert_rgb",),
}
"""What is recorded, under the switch without which it has no effect."""


def load_image_processor(folder: str) -> Any:
    """The processor that a repository names, with no code from the repository.

    Repositories of 2021 to 2023 name a feature extractor (``ViTFeatureExtractor``), which became the image processor of
    the same name; `transformers` 5 follows that only where the file calls it ``feature_extractor_type``. Raises
    EngineError if there is no processor, or none that this version of transformers knows.
    """
    from transformers import AutoImageProcessor

    try:
        renamed = _renamed(Path(folder) / _FILE)
        if renamed is None:
            return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with TemporaryDirectory() as corrected:
            (Path(corrected) / _FILE).write_text(json.dumps(renamed), encoding="utf-8")
            return AutoImageProcessor.from_pretrained(corrected, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EngineError(
            f"The image processor could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            f"The repository must hold a {_FILE} that this version of transformers knows."
        ) from error


def processor_settings(processor: Any) -> dict[str, str]:
    """What the processor does, in words: its class and back end, sizes, crop, interpolation, and normalisation.

    Pillow and torchvision resize differently, so the back end belongs to the result. What is switched off is not named.
    """
    backend = str(getattr(processor, "backend", "its own"))
    settings = {"processor": type(processor).__name__, "backend": "PIL" if backend == "pil" else backend}
    if getattr(processor, "do_resize", None) and getattr(processor, "resample", None) is not None:
        settings["interpolation"] = _interpolation(processor.resample)
    for switch, names in _SWITCHED.items():
        if switch is None or getattr(processor, switch, None):
            values = {name: getattr(processor, name, None) for name in names}
            settings |= {name: _plain(value) for name, value in values.items() if value is not None}
    return settings


def _renamed(file: Path) -> dict[str, Any] | None:
    """The processor's configuration under its present name, or None where the file needs no change."""
    if not file.is_file():
        return None
    configuration = json.loads(file.read_text(encoding="utf-8"))
    name = configuration.get("image_processor_type") if isinstance(configuration, dict) else None
    if not isinstance(name, str) or not name.endswith("FeatureExtractor"):
        return None
    return {**configuration, "image_processor_type": name.removesuffix("FeatureExtractor") + "ImageProcessor"}


def _interpolation(resample: Any) -> str:
    """The name of a filter, such as BICUBIC, which files give as Pillow's number."""
    from PIL import Image

    if hasattr(resample, "name"):
        return str(resample.name)
    try:
        return Image.Resampling(int(resample)).name
    except (ValueError, TypeError):
        return str(resample)


def _plain(value: Any) -> str:
    """A value as text, without the parts of a size that are unset."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        value = {name: part for name, part in value.items() if part is not None}
    return str(value)
