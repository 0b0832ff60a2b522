"""Pictures in every form in which a data set may keep them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verify.engine.inputs.pictures import picture
from verify.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
PLACE = "'photo' in row 3"


def png() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, format="PNG")
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/a.png").write_bytes(png())
    return tmp_path


@pytest.mark.parametrize(
    "value",
    [
        Image.fromarray(PIXELS),
        png(),
        "pictures/a.png",
        {"bytes": png(), "path": None},
        {"bytes": png(), "path": "gone.png"},
        {"bytes": None, "path": "pictures/a.png"},
    ],
)
def test_every_form_gives_the_same_pixels(folder, value):
    np.testing.assert_array_equal(np.asarray(picture(value, folder, PLACE)), PIXELS)


def test_a_whole_path_needs_no_folder(folder):
    found = picture(str(folder / "pictures/a.png"), None, PLACE)
    np.testing.assert_array_equal(np.asarray(found), PIXELS)


def test_a_picture_taken_sideways_is_turned_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera's right-hand side is up
    Image.fromarray(PIXELS).save(folder / "sideways.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(picture("sideways.png", folder, PLACE)), np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (3, "holds int, where an image is expected. Correct columns.image"),
        (None, "holds NoneType"),
        ({"bytes": None, "path": None}, "holds dict"),
        ("pictures/b.png", "there is no file .*b.png. Correct the path"),
        (b"no picture", "could not be decoded"),
        ({"bytes": b"", "path": None}, "could not be decoded"),
    ],
)
def test_what_is_no_picture_is_named(folder, value, says):
    with pytest.raises(DataError, match=f"'photo' in row 3.*{says}"):
        picture(value, folder, PLACE)
