"""Pictures as Pillow images, whatever form a data set keeps them in."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.errors import DataError
from verify.tasks.limits import PICTURE_PIXELS
from verify.tasks.places import stored_file

FORMATS = ("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "TGA", "TIFF", "WEBP")
"""Pillow's formats of pixels. The others draw with a program of their own (EPS runs Ghostscript) or are no pictures."""

_ORIENTATION = 0x0112  # the tag in EXIF data


def picture(value: Any, folder: Path | None, place: str) -> Any:
    """The Pillow image in one cell, turned upright as its EXIF data say: what `datasets` makes of an Image column.

    ``value`` is an image already, a file's bytes, its path (relative to ``folder``), or a struct of ``bytes`` and
    ``path``. Of several frames it is the first. Raises DataError, which names ``place`` (column and row), if it is none
    of these, or larger than any honest picture.
    """
    if hasattr(value, "convert"):
        return value
    stored = value if isinstance(value, Mapping) else {"bytes" if isinstance(value, bytes) else "path": value}
    content, path = stored.get("bytes"), stored.get("path")
    if not isinstance(content, bytes):
        if not isinstance(path, str):
            raise DataError(
                f"The column {place} holds {type(value).__name__}, where an image is expected. Correct columns.image "
                "in the task file."
            )
        content = stored_file(path, folder)
        if content is None:
            raise DataError(
                f"The image {place}: there is no file {path if folder is None else folder / path}. Correct the path, "
                "or columns.image."
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning of large pictures
            return _decoded(content, place)
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"The image {place} could not be decoded: {' '.join(str(error).split())[:200]} Convert it, or leave it out "
            "of the data."
        ) from error


def _decoded(content: bytes | Path, place: str) -> Any:
    from PIL import Image, ImageOps

    Image.init()
    known = [form for form in FORMATS if form in Image.OPEN]  # AVIF needs a library that not every Pillow has
    image = Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=known)
    _check_size(image, place)
    image.load()  # which also closes the file
    _check_size(image, place)
    has_orientation = image.getexif().get(_ORIENTATION) is not None
    return ImageOps.exif_transpose(image) if has_orientation else image


def _check_size(image: Any, place: str) -> None:
    width, height = image.size
    if width * height > PICTURE_PIXELS:
        raise DataError(
            f"The image {place} has {width:,} × {height:,} pixels, and at most {PICTURE_PIXELS / 1e6:g} million are "
            "decoded. Scale it down, cut it into tiles, or leave it out of the data."
        )
