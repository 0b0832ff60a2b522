"""The checkpoint's image processor under its old and its present names, and what is recorded of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import (
    CLIPImageProcessor,
    ConvNextImageProcessor,
    LevitImageProcessor,
    ViTConfig,
    ViTImageProcessor,
)

from verify.engine.inputs.image_processor import adjusted_image_processor, load_image_processor, processor_settings
from verify.errors import EngineError, UsageError

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))


def write(folder: Path, **configuration) -> str:
    (folder / "preprocessor_config.json").write_text(json.dumps(configuration))
    return str(folder)


def pixels(processor) -> np.ndarray:
    return np.asarray(processor(images=PICTURE, return_tensors="np")["pixel_values"])


@pytest.mark.parametrize("key", ["image_processor_type", "feature_extractor_type"])
@pytest.mark.parametrize("name", ["ViT", "DeiT", "ConvNext", "Beit", "CLIP"])
def test_a_feature_extractor_of_old_is_the_image_processor_of_the_same_name(tmp_path: Path, key, name):
    processor = load_image_processor(write(tmp_path, **{key: f"{name}FeatureExtractor", "do_resize": True}))
    assert type(processor).__name__.removesuffix("Pil") == f"{name}ImageProcessor"


def test_both_names_side_by_side_are_read_too(tmp_path: Path):
    old = {"image_processor_type": "ViTFeatureExtractor", "feature_extractor_type": "ViTFeatureExtractor"}
    assert "ViTImageProcessor" in type(load_image_processor(write(tmp_path, **old))).__name__


def test_the_old_name_changes_nothing_of_the_pixels(tmp_path: Path):
    settings = {"size": {"height": 24, "width": 24}, "resample": 3, "image_mean": [0.4, 0.5, 0.6], "do_resize": True}
    old = load_image_processor(write(tmp_path, image_processor_type="ViTFeatureExtractor", **settings))
    new = ViTImageProcessor(**settings)
    np.testing.assert_array_equal(pixels(old), pixels(new))
    other = ViTImageProcessor(**{**settings, "resample": 2})
    assert np.abs(pixels(old) - pixels(other)).max() > 0.01
    assert json.loads((tmp_path / "preprocessor_config.json").read_text())["image_processor_type"] == (
        "ViTFeatureExtractor"
    )


def test_a_processor_as_it_is_saved_today_is_loaded(tmp_path: Path):
    ViTImageProcessor(size={"height": 20, "width": 30}).save_pretrained(tmp_path)
    assert pixels(load_image_processor(str(tmp_path))).shape == (1, 3, 20, 30)


def test_without_a_name_the_models_configuration_decides(tmp_path: Path):
    ViTConfig().save_pretrained(tmp_path)
    processor = load_image_processor(write(tmp_path, size=24, do_resize=True))
    assert pixels(processor).shape == (1, 3, 24, 24)


@pytest.mark.parametrize(
    "configuration",
    [
        None,
        {},
        {"image_processor_type": "NoSuchImageProcessor"},
        {"image_processor_type": "NoSuchFeatureExtractor"},
        [],
    ],
)
def test_a_processor_that_nobody_knows_is_an_error_that_says_what_is_needed(tmp_path: Path, configuration):
    if configuration is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(configuration))
    with pytest.raises(EngineError, match=r"must hold a preprocessor_config\.json"):
        load_image_processor(str(tmp_path))


def test_a_file_that_is_no_json_is_an_error(tmp_path: Path):
    (tmp_path / "preprocessor_config.json").write_text("{size: 24")
    with pytest.raises(EngineError, match="image processor could not be loaded"):
        load_image_processor(str(tmp_path))


def test_crop_interpolation_and_back_end_are_recorded():
    processor = CLIPImageProcessor(size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, resample=3)
    settings = processor_settings(processor)
    assert settings["processor"].removesuffix("Pil") == "CLIPImageProcessor"
    assert settings["backend"] == {True: "PIL", False: "torchvision"}[settings["processor"].endswith("Pil")]
    assert settings["interpolation"] == "BICUBIC"
    assert settings["size"] == "{'shortest_edge': 40}"
    assert settings["crop_size"] == "{'height': 32, 'width': 32}"
    assert settings["do_center_crop"] == "True"
    assert all(isinstance(value, str) for value in settings.values())


@pytest.mark.parametrize(("resample", "name"), [(0, "NEAREST"), (1, "LANCZOS"), (2, "BILINEAR"), (3, "BICUBIC")])
def test_interpolation_is_named_as_it_is_applied(tmp_path: Path, resample, name):
    folder = write(tmp_path, image_processor_type="ViTFeatureExtractor", do_resize=True, resample=resample)
    assert processor_settings(load_image_processor(folder))["interpolation"] == name


def test_what_is_switched_off_is_not_recorded():
    settings = processor_settings(ViTImageProcessor(do_resize=False, do_normalize=False, do_rescale=False))
    assert not {"size", "interpolation", "crop_size", "image_mean", "rescale_factor"} & set(settings)


def test_the_share_that_a_crop_keeps_is_recorded():
    settings = processor_settings(ConvNextImageProcessor(size={"shortest_edge": 224}, crop_pct=0.875))
    assert settings["crop_pct"] == "0.875"


VIT = {"size": {"height": 24, "width": 24}, "resample": 2}
CLIP = {"size": {"shortest_edge": 32}, "crop_size": {"height": 24, "width": 24}, "resample": 3}
CROPPED = {"do_center_crop": True, "crop_size": {"height": 24, "width": 24}}


def adjusted(folder: Path, processor, **settings):
    processor.save_pretrained(folder)
    silent = dict.fromkeys(("interpolation", "resize", "crop_pct"))
    return adjusted_image_processor(str(folder), {**silent, **settings}, "RGB", "mine.yaml")


def test_without_settings_it_is_the_checkpoints_own(tmp_path: Path):
    np.testing.assert_array_equal(
        pixels(adjusted(tmp_path, ViTImageProcessor(**VIT))), pixels(ViTImageProcessor(**VIT))
    )


@pytest.mark.parametrize(("name", "number"), [("nearest", 0), ("bilinear", 2), ("bicubic", 3)])
def test_the_interpolation_is_the_one_asked_for(tmp_path: Path, name, number):
    found = adjusted(tmp_path, ViTImageProcessor(**VIT), interpolation=name)
    np.testing.assert_array_equal(pixels(found), pixels(ViTImageProcessor(**{**VIT, "resample": number})))
    assert processor_settings(found)["interpolation"] == name.upper()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"resize": "shortest_edge"}, {"size": {"shortest_edge": 24}, **CROPPED}),
        ({"crop_pct": 0.75}, {"size": {"shortest_edge": 32}, **CROPPED}),
        ({"resize": "shortest_edge", "crop_pct": 0.5}, {"size": {"shortest_edge": 48}, **CROPPED}),
        ({"resize": "exact"}, {"size": {"height": 24, "width": 24}}),
        ({"resize": "exact", "crop_pct": 0.75}, {"size": {"height": 32, "width": 32}, **CROPPED}),
    ],
)
@pytest.mark.parametrize(("processor", "own"), [(ViTImageProcessor, VIT), (CLIPImageProcessor, CLIP)])
def test_edges_and_crop_are_those_asked_for_and_the_model_is_given_its_size(
    tmp_path: Path, settings, expected, processor, own
):
    found = pixels(adjusted(tmp_path, processor(**own), **settings))
    assert found.shape == (1, 3, 24, 24)
    if "do_center_crop" not in expected:
        expected = {**expected, "do_center_crop": False}
    np.testing.assert_array_equal(found, pixels(processor(**{**own, **expected})))


def test_the_picture_of_a_real_clip_checkpoint_is_cut_as_pillow_cuts_it(tmp_path: Path):
    processor = CLIPImageProcessor(**CLIP, do_normalize=False, do_rescale=False)
    found = pixels(adjusted(tmp_path, processor, resize="exact", interpolation="bilinear"))
    plain = np.asarray(PICTURE.resize((24, 24), Image.Resampling.BILINEAR), dtype=np.float32)
    assert np.abs(found[0].transpose(1, 2, 0) - plain).max() <= 1.5, "torchvision rounds once more than Pillow does"


def test_convnext_keeps_its_own_way_of_cropping(tmp_path: Path):
    small = ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=0.875)
    found = adjusted(tmp_path, small, resize="shortest_edge", crop_pct=0.5)
    np.testing.assert_array_equal(
        pixels(found), pixels(ConvNextImageProcessor(size={"shortest_edge": 24}, crop_pct=0.5))
    )
    large = ConvNextImageProcessor(size={"shortest_edge": 384})
    np.testing.assert_array_equal(pixels(adjusted(tmp_path, large, resize="exact")), pixels(large))


@pytest.mark.parametrize(
    ("processor", "settings", "said"),
    [
        (ConvNextImageProcessor(size={"shortest_edge": 24}), {"resize": "exact"}, "a way of its own"),
        (ConvNextImageProcessor(size={"shortest_edge": 384}), {"crop_pct": 0.9}, "a way of its own"),
        (LevitImageProcessor(), {"crop_pct": 0.9}, "LevitImageProcessor.* a way of its own"),
        (ViTImageProcessor(do_resize=False), {"crop_pct": 0.9}, "does not resize"),
        (ViTImageProcessor(do_resize=False), {"interpolation": "nearest"}, "does not resize"),
        (ViTImageProcessor(), {"crop_pct": 0.0}, "crop_pct: must be a fraction"),
        (ViTImageProcessor(), {"crop_pct": 87.5}, "crop_pct: must be a fraction above 0 and up to 1, and is 87.5"),
    ],
)
def test_what_a_processor_cannot_do_is_said(tmp_path: Path, processor, settings, said):
    with pytest.raises(UsageError, match=rf"mine\.yaml: settings\.(.|\n)*{said}"):
        adjusted(tmp_path, processor, **settings)
