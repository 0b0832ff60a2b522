"""The checkpoint's own image processor, and what it does to an image: that decides a good part of the score."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from verify.engine.inputs.preprocessor import check_preprocessor
from verify.errors import DataError, EngineError, UsageError
from verify.tasks.limits import BATCH_PIXELS, PICTURE_PIXELS
from verify.types import Setting

_FILE = "preprocessor_config.json"
_SWITCHED: Mapping[str | None, tuple[str, ...]] = {
    "do_resize": ("size", "crop_pct"),
    "do_center_crop": ("do_center_crop", "crop_size"),
    "do_rescale": ("rescale_factor",),
    "do_normalize": ("image_mean", "image_std"),
    None: ("do_convert_rgb",),
}
"""What is recorded, under the switch without which it has no effect."""

_TRIED = 64  # pixels of the edge of a square image, sent through a processor to see what size it gives
_CONVNEXT_WHOLE = 384


def load_image_processor(folder: str, **options: Any) -> Any:
    """The processor that a repository names, with no code from the repository; ``options`` replace what it states.

    Repositories of 2021 to 2023 name a feature extractor (``ViTFeatureExtractor``), which became the image processor of
    the same name; `transformers` 5 follows that only where the file calls it ``feature_extractor_type``. Raises
    EngineError if there is no processor, or none that this version of transformers knows.
    """
    from transformers import AutoImageProcessor

    options |= {"local_files_only": True, "trust_remote_code": False}
    check_preprocessor(folder)
    try:
        renamed = _renamed(Path(folder) / _FILE)
        if renamed is None:
            return AutoImageProcessor.from_pretrained(folder, **options)
        with TemporaryDirectory() as corrected:
            (Path(corrected) / _FILE).write_text(json.dumps(renamed), encoding="utf-8")
            return AutoImageProcessor.from_pretrained(corrected, **options)
    except Exception as error:
        raise EngineError(
            f"The image processor could not be loaded: {type(error).__name__}: {' '.join(str(error).split())[:300]} "
            f"The repository must hold a {_FILE} that this version of transformers knows."
        ) from error


def adjusted_image_processor(folder: str, settings: Mapping[str, Setting], mode: str, file: str) -> Any:
    """The repository's processor, changed where the ``settings`` of the kind are not None.

    ``interpolation`` replaces its filter. ``resize`` and ``crop_pct`` (a fraction) replace how an image of the ``mode``
    (a Pillow mode) comes to the size that the model takes: its shorter edge, or with ``exact`` both edges, get the
    model's size divided by ``crop_pct``, and the middle is kept. These are the modes `center` and `squash` of timm's
    evaluation transforms (timm/data/transforms_factory.py). ``file`` is the task's, to be named in errors. Raises
    UsageError where the processor cannot be changed so.
    """
    processor = load_image_processor(folder)
    changes: dict[str, Any] = {}
    if settings["interpolation"] is not None:
        changes["resample"] = _filter(processor, str(settings["interpolation"]), file)
    if settings["resize"] is not None or settings["crop_pct"] is not None:
        is_exact = settings["resize"] == "exact"
        kept = 1.0 if settings["crop_pct"] is None else float(settings["crop_pct"])
        changes |= _sizes(processor, is_exact=is_exact, kept=kept, mode=mode, file=file)
    return load_image_processor(folder, **changes) if changes else processor


def preprocessed(processor: Any, images: Iterable[tuple[Any, str]]) -> dict[str, Any]:
    """What the processor makes of a batch of images, each with its place in the data, as torch tensors [n, …].

    No more of them are held at their full size than :data:`verify.tasks.limits.BATCH_PIXELS` allows. Raises DataError
    for one that the processor would stretch beyond reason.
    """
    import torch

    done, held, pixels = list[Mapping[str, Any]](), list[Any](), 0
    for image, place in images:
        _check_stretch(processor, image.size, place)
        pixels += image.size[0] * image.size[1]
        if held and pixels > BATCH_PIXELS:
            done.append(processor(images=held, return_tensors="pt"))
            held, pixels = [], image.size[0] * image.size[1]
        held.append(image)
    done.append(processor(images=held, return_tensors="pt"))
    return dict(done[0]) if len(done) == 1 else {name: torch.cat([part[name] for part in done]) for name in done[0]}


def _check_stretch(processor: Any, size: tuple[int, int], place: str) -> None:
    """Raise DataError if a shorter edge brought to the model's size makes the longer one boundless."""
    shorter, longer = min(size), max(size)
    stated = getattr(processor, "size", None)
    edge = stated.get("shortest_edge") if isinstance(stated, Mapping) else getattr(stated, "shortest_edge", None)
    if getattr(processor, "do_resize", False) and edge and edge * edge * longer / max(shorter, 1) > PICTURE_PIXELS:
        raise DataError(
            f"The image {place} has {size[0]:,} × {size[1]:,} pixels, so that the shorter edge brought to {edge} makes "
            f"more than {PICTURE_PIXELS / 1e6:g} million. Cut it, or leave it out of the data."
        )


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


def _filter(processor: Any, name: str, file: str) -> int:
    from PIL import Image

    if not getattr(processor, "do_resize", False):
        raise UsageError(f"{file}: settings.interpolation: {_class(processor)} does not resize. Leave it out.")
    return int(Image.Resampling[name.upper()])


def _sizes(processor: Any, *, is_exact: bool, kept: float, mode: str, file: str) -> dict[str, Any]:
    """The sizes with which a processor scales an image and keeps the middle of it."""
    if not 0 < kept <= 1:
        raise UsageError(f"{file}: settings.crop_pct: must be a fraction above 0 and up to 1, and is {kept:g}.")
    if not getattr(processor, "do_resize", False):
        raise UsageError(f"{file}: settings.resize and crop_pct: {_class(processor)} does not resize. Leave them out.")
    height, width = _size_taken(processor, mode)
    if _resizes_by_itself(processor):
        # ConvNeXT's own way: below 384 pixels the shorter edge and a crop, from there on both edges
        if not hasattr(processor, "crop_pct") or is_exact != (height >= _CONVNEXT_WHOLE) or (is_exact and kept < 1):
            raise UsageError(
                f"{file}: settings.resize and crop_pct: {_class(processor)} resizes in a way of its own, which cannot "
                "be changed so. Leave them out."
            )
        return {} if is_exact else {"crop_pct": kept}
    longer = int(max(height, width) / kept)
    scaled = {"height": int(height / kept), "width": int(width / kept)} if is_exact else {"shortest_edge": longer}
    return {"size": scaled, "do_center_crop": True, "crop_size": {"height": height, "width": width}}


def _size_taken(processor: Any, mode: str) -> tuple[int, int]:
    """Height and width of what the model is given for a square image."""
    from PIL import Image

    pixels = processor(images=Image.new(mode, (_TRIED, _TRIED)), return_tensors="np")["pixel_values"]
    height, width = pixels.shape[-2:]
    return int(height), int(width)


def _resizes_by_itself(processor: Any) -> bool:
    """Whether its class has a ``resize`` of its own, for which the sizes stated mean something else."""
    from transformers.image_processing_backends import PilBackend, TorchvisionBackend

    return type(processor).resize not in (PilBackend.resize, TorchvisionBackend.resize)


def _class(processor: Any) -> str:
    return f"the checkpoint's {type(processor).__name__}"


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
