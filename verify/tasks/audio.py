"""Reading data sets with recordings: kept as bytes or paths, because `datasets` itself decodes only with torchcodec.

torchcodec needs a build that fits torch and FFmpeg's libraries. The engine decodes with soundfile instead
(:mod:`verify.engine.audio`), so all that is asked of `datasets` is to hand the files over as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from verify.types import TaskSpec


@contextmanager
def storable_audio() -> Iterator[None]:
    """Within it, `datasets` loads folders of recordings without torchcodec.

    It asks for torchcodec's encoder before it stores anything in an Audio column, although a path, or the bytes of a
    file, is stored as it is. What does need the encoder still raises ImportError.
    """
    from datasets import Audio

    original = Audio.encode_example

    def encode_example(self: Any, value: Any) -> Any:
        if isinstance(value, str):
            return {"bytes": None, "path": value}
        if isinstance(value, bytes):
            return {"bytes": value, "path": None}
        if isinstance(value, dict) and "array" not in value and (value.get("bytes") or value.get("path")):
            return {"bytes": value.get("bytes"), "path": value.get("path")}
        return original(self, value)

    Audio.encode_example = encode_example
    try:
        yield
    finally:
        Audio.encode_example = original


def undecoded(table: Any) -> Any:
    """The same `datasets.Dataset` or `IterableDataset`, with each recording as its bytes and path.

    Nothing is copied; a table without Audio columns comes back as it is.
    """
    from datasets import Audio

    for name, feature in (table.features or {}).items():
        if isinstance(feature, Audio):
            table = table.cast_column(name, Audio(decode=False))
    return table


def data_folder(task: TaskSpec, split: str) -> Path | None:
    """The folder from which the paths in a column are taken: that of the data file, or the data set's own.

    None for a data set on the Hub, whose recordings travel inside its files.
    """
    if task.dataset.data_files is not None:
        return Path(task.dataset.data_files[split]).parent if split in task.dataset.data_files else None
    folder = Path(task.dataset.path)
    return folder if folder.is_dir() else None
