"""Whether a configuration can belong to a checkpoint: its sizes against the shapes in the headers of the weights.

A configuration is a few bytes that may ask for any amount of memory and time, while the weights are what they are. So
before anything is built, each size that is stated is held against what there is, with room for what honest small
models state: positions without a table, labels without a head, layers that share their weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from verify.errors import BlockedError

HEADER_LIMIT = 32 * 2**20  # bytes of one header; that of a shard with 100,000 tensors has 12 MB

_LAYERS = re.compile(
    r"(^|_)n?(layers?|depths?|blocks?|stages?|experts?|heads?|groups|codebooks|quantizers|repeats?)(_|$)"
)
_LABELS = re.compile(r"(^|_)(labels?|classes)(_|$)")
_POSITIONS = re.compile(r"position|ctx|context|length|window|seq|chunk|stride|max_(source|target)")
_SIZES = re.compile(
    r"size|(^|_)(dim|dims|width|hidden|inner|embd?|embedding|embeddings|features?|channels?|rank|buckets?|vocab|ffn|"
    r"filters?|kernels?|model|ff|kv|state|bins?|queries|tokens)(_|$)"
)
_OTHER = re.compile(
    r"train|data|example|batch|step|epoch|param|total|eval|seed|_ids?$|version|params$|theta|scale|sample"
)
_LAYERS_FLOOR, _LABELS_FLOOR, _SIZES_FLOOR, _POSITIONS_FLOOR = 512, 100_000, 2**21, 2**24


@dataclass(frozen=True)
class Checkpoint:
    """What the headers state: the number of tensors, their elements in all, and the greatest dimension of any.

    Of weights that are packed into bytes or larger integers, ``elements`` is the most that they may stand for.
    """

    tensors: int
    elements: int
    greatest: int


def checkpoint_of(files: Iterable[Path]) -> Checkpoint:
    """Read the headers of safetensors files. Raises BlockedError if one is no header, or is longer than 32 MiB."""
    tensors = elements = greatest = 0
    for path in files:
        for shape, dtype in _header(path):
            count = 1
            for size in shape:
                count *= size
            tensors, greatest = tensors + 1, max([greatest, *shape])
            elements += count * (8 if dtype in ("I32", "U32", "I64") else 2 if dtype in ("U8", "I8") else 1)
    return Checkpoint(tensors, elements, greatest)


def check_plausible(config: Any, checkpoint: Checkpoint, where: str) -> None:
    """Raise BlockedError if a configuration states a size that its checkpoint cannot have; ``where`` names the file."""
    if not checkpoint.tensors:
        return  # a load says that there are no weights
    for path, key, value in _sizes(config):
        most = _most(key, checkpoint)
        if most is not None and abs(value) > most:
            raise BlockedError(
                f"{where} states {path} = {_shown(value)}, and the weights hold {checkpoint.elements:,} numbers in "
                f"{checkpoint.tensors:,} tensors, none longer than {checkpoint.greatest:,} in any direction. Such a "
                f"model cannot be theirs (up to {most:,} would be tried), so nothing is built. Correct the file in a "
                "copy, or ask the model's author."
            )


def check_count(parameters: int, buffers: int, checkpoint: Checkpoint, name: str) -> None:
    """Raise BlockedError if a model would have far more numbers than its checkpoint can fill."""
    if not checkpoint.tensors:
        return
    if parameters > 4 * checkpoint.elements + 2**26 or buffers > 4 * checkpoint.elements + 2**28:
        raise BlockedError(
            f"By its config.json, {name} has {parameters:,} parameters and {buffers:,} numbers in tables, and the "
            f"weights hold {checkpoint.elements:,} numbers. Nothing is built. Correct config.json in a copy, or ask "
            "the model's author."
        )


def _most(key: str, checkpoint: Checkpoint) -> int | None:
    name = key.lower()
    if _LABELS.search(name):
        return max(_LABELS_FLOOR, checkpoint.greatest)
    if _OTHER.search(name):
        return None
    if _LAYERS.search(name) and not name.endswith("_size"):
        return max(_LAYERS_FLOOR, checkpoint.tensors)
    if _POSITIONS.search(name):
        return max(_POSITIONS_FLOOR, checkpoint.elements)
    return max(_SIZES_FLOOR, checkpoint.greatest) if _SIZES.search(name) else None


def _sizes(value: Any, path: str = "", key: str = "") -> Iterator[tuple[str, str, int]]:
    """Every number of a configuration, with the names that lead to it; of a table of labels, how many there are."""
    if isinstance(value, dict):
        for name, item in value.items():
            if name in ("id2label", "label2id"):
                yield f"{path}{name} of length", "labels", len(item) if isinstance(item, dict | list) else 0
            else:
                yield from _sizes(item, f"{path}{name}.", str(name))
    elif isinstance(value, list):
        if _LAYERS.search(key.lower()):
            yield f"{path}length", key, len(value)
        for item in value:
            yield from _sizes(item, path, key)
    elif isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf"):
        yield path.rstrip("."), key, int(value)


def _header(path: Path) -> Iterator[tuple[list[int], str]]:
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > HEADER_LIMIT:
                raise BlockedError(f"The header of {path.name} has {length:,} bytes; up to {HEADER_LIMIT:,} are read.")
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name != "__metadata__":
                yield [int(size) for size in tensor["shape"]], str(tensor["dtype"])
    except (OSError, ValueError, RecursionError, AttributeError, TypeError, KeyError) as error:
        raise BlockedError(f"{path.name} is not a sound safetensors file ({type(error).__name__}).") from error


def _shown(number: float) -> str:
    """A number in full, or its size where it has very many digits."""
    return f"{number:,}" if abs(number) < 10**15 else f"some 10^{len(str(int(abs(number)))) - 1}"
