"""Pictures and recordings beyond reason, and processors that would make such of honest ones."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hostile.harness import variants
from verify.engine.inputs.audio import decode, duration
from verify.engine.inputs.image_processor import load_image_processor, preprocessed
from verify.engine.inputs.pictures import picture
from verify.engine.inputs.preprocessor import check_preprocessor
from verify.errors import DataError, EngineError

SECRET = "text,label\nsecret,1\n"
PLACE = "'image' in row 0"


def encoded(form: str, size: tuple[int, int] = (13_000, 13_000), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB" if form == "WEBP" else "1", size).save(stream, format=form, **options)
    return stream.getvalue()


def a_png() -> bytes:
    return encoded("PNG")


def a_tiff() -> bytes:
    return encoded("TIFF", compression="group4")


def a_gif() -> bytes:
    return encoded("GIF")


def a_webp() -> bytes:
    return encoded("WEBP", (10_100, 10_100), method=0)


def a_header_alone() -> bytes:
    return encoded("PNG", (1, 1))[:16] + struct.pack(">II", 2**30, 2**30) + encoded("PNG", (1, 1))[24:]


@variants(a_png, a_tiff, a_gif, a_webp, a_header_alone)
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(variant: Callable[[], bytes], monkeypatch):
    from PIL import ImageFile

    content = variant()
    assert len(content) < 10_000_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("was decoded"))
    with pytest.raises(DataError, match=r"image' in row 0 (has .* pixels, and at most 100 million|could not be decod)"):
        picture(content, None, PLACE)


def test_a_drawing_in_postscript_is_not_run(monkeypatch):
    from PIL import EpsImagePlugin

    drawing = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
    assert Image.open(io.BytesIO(drawing)).format == "EPS"
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: pytest.fail("was run"))
    with pytest.raises(DataError, match="could not be decoded"):
        picture(drawing, None, PLACE)


def processor(folder: Path, **changes: Any) -> str:
    stated = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 8, "width": 8}}
    (folder / "preprocessor_config.json").write_text(json.dumps({**stated, **changes}))
    return str(folder)


@variants(
    {"size": {"height": 10**6, "width": 10**6}},
    {"size": 10**6},
    {"size": {"shortest_edge": 10**6}},
    {"do_center_crop": True, "crop_size": {"height": 10**6, "width": 10**6}},
    {"do_pad": True, "pad_size": {"height": 4000, "width": 4000}},
    {"size": {"shortest_edge": 224}, "crop_pct": 1e-6},
)
def test_a_processor_that_makes_boundless_inputs_is_refused(variant: dict[str, Any], tmp_path: Path):
    with pytest.raises(EngineError, match=r"preprocessor_config\.json states .* reasonable\. Correct the file"):
        load_image_processor(processor(tmp_path, **variant))


def test_a_thin_picture_is_not_stretched_beyond_measure(tmp_path: Path):
    made = load_image_processor(processor(tmp_path, size={"shortest_edge": 224}))
    with pytest.raises(DataError, match=r"row 0 has 60,000 × 1 pixels, so that"):
        preprocessed(made, [(Image.new("RGB", (60_000, 1)), PLACE)])


def test_many_large_pictures_are_preprocessed_in_parts(tmp_path: Path, monkeypatch):
    import torch

    made = load_image_processor(processor(tmp_path))
    rng = np.random.default_rng(0)
    images = [(Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)), PLACE) for _ in range(5)]
    whole = preprocessed(made, images)["pixel_values"]
    monkeypatch.setattr("verify.engine.inputs.image_processor.BATCH_PIXELS", 900)
    assert torch.equal(preprocessed(made, images)["pixel_values"], whole)


@variants(
    {"sampling_rate": 1},
    {"sampling_rate": 10**9},
    {"n_fft": 10**8},
    {"chunk_length": 10**6},
    {"feature_size": 10**7},
    {"nb_max_frames": 10**9},
    {"num_mel_bins": 10**8},
    {"of_another_kind": 10**12},
)
def test_a_feature_extractor_out_of_reason_is_refused(variant: dict[str, Any], tmp_path: Path):
    stated = {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": 16_000, "n_fft": 400}
    (tmp_path / "processor_config.json").write_text(json.dumps({"feature_extractor": {**stated, **variant}}))
    with pytest.raises(EngineError, match=next(iter(variant))):
        check_preprocessor(str(tmp_path))


def wav(rate: int, seconds: float = 0, frames: int = 0, channels: int = 1) -> bytes:
    import soundfile

    stream = io.BytesIO()
    samples = np.zeros((frames or int(rate * seconds), channels), np.int16)
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_U8")
    return stream.getvalue()


def once_a_second() -> Any:
    return wav(1, frames=100_000)


def a_thousand_million_times_a_second() -> Any:
    return wav(10**9, frames=1000)


def a_thousand_channels() -> Any:
    return wav(16_000, frames=1000, channels=1000)


def three_hours() -> Any:
    return wav(1000, seconds=3 * 3600)


def plain_samples_once_a_second() -> Any:
    return {"array": np.zeros(100_000, np.float32), "sampling_rate": 1}


@variants(
    once_a_second, a_thousand_million_times_a_second, a_thousand_channels, three_hours, plain_samples_once_a_second
)
def test_a_recording_out_of_reason_is_refused(variant: Callable[[], Any]):
    for read in (decode, duration):
        with pytest.raises(DataError, match=r"row 0 (states|is|has) .* Correct its header, cut it, or leave it out"):
            read(variant(), 16_000, None, PLACE)


def test_channels_are_averaged_in_blocks_as_at_once(monkeypatch):
    import soundfile

    stream, rng = io.BytesIO(), np.random.default_rng(0)
    soundfile.write(stream, rng.uniform(-1, 1, (5000, 3)), 16_000, format="WAV", subtype="FLOAT")
    whole = decode(stream.getvalue(), 16_000, None, PLACE)
    monkeypatch.setattr("verify.engine.inputs.audio._SAMPLES_AT_ONCE", 1000)
    np.testing.assert_array_equal(decode(stream.getvalue(), 16_000, None, PLACE), whole)


def test_pictures_in_an_archive_are_read(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        archive.writestr("cat/1.png", encoded("PNG", (3, 4)))
    assert picture(f"zip://cat/1.png::{tmp_path}/test.zip", tmp_path, PLACE).size == (3, 4)
    with pytest.raises(DataError, match="there is no file"):
        picture(f"zip://cat/2.png::{tmp_path}/test.zip", tmp_path, PLACE)
