"""Reading data sets with recordings and pictures: kept as bytes or paths, and decoded one by one by the engine.

`datasets` itself decodes recordings only with torchcodec.

torchcodec needs a build that fits torch and FFmpeg's libraries. The engine decodes with soundfile instead
(:mod:`verify.engine.inputs.audio`), so all that is asked of `datasets` is to hand the files over as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any


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
    """The same `datasets.Dataset` or `IterableDataset`, with each recording and picture as its bytes and path.

    `datasets` would open whatever file or address a path names, and decode a batch of pictures before anybody knows
    their sizes. Nothing is copied, but for columns that nest them; a table without them comes back as it is.
    """
    for name, feature in (table.features or {}).items():
        plain = _undecoded(feature)
        if plain != feature:
            table = table.cast_column(name, plain)
    return table


def _undecoded(feature: Any) -> Any:
    if isinstance(feature, Mapping):
        return {name: _undecoded(part) for name, part in feature.items()}
    if isinstance(feature, list):
        return [_undecoded(part) for part in feature]
    if hasattr(feature, "decode"):
        return replace(feature, decode=False)
    return replace(feature, feature=_undecoded(feature.feature)) if hasattr(feature, "feature") else feature
