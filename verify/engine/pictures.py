"""Pictures as Pillow images, whatever form a data set keeps them in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from verify.errors import DataError


def picture(value: Any, folder: Path | None, place: str) -> Any:
    """The Pillow image in one cell, turned upright as its EXIF data say: what `datasets` makes of an Image column.

    ``value`` is an image already, a file's bytes, its path (relative to ``folder``), or a struct of ``bytes`` and
    ``path``. Raises DataError, which names ``place`` (column and row), if it is none of these.
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
        path = str(folder / path) if folder is not None else path
        if not Path(path).is_file():
            raise DataError(f"The image {place}: there is no file {path}. Correct the path, or columns.image.")
    from datasets import Image

    try:
        return Image().decode_example({"bytes": content, "path": path})
    except Exception as error:
        raise DataError(
            f"The image {place} could not be decoded: {' '.join(str(error).split())[:200]} Convert it, or leave it out "
            "of the data."
        ) from error
