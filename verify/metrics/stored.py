"""Statistics of texts that are computed once: what a text was worth beside its references, it is worth again.

Comparing texts costs seconds, and every later question about a run asks for the same numbers: a verdict under another
policy, a flip budget, an interval, a search for what explains a difference. The statistics of one example depend on its
text, its references, what is computed of them and by which code, and on nothing else. They are kept under just that, so
that no change of any of it ever meets numbers that were made before, and rows that were added meet those that were not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from hashlib import blake2b
from importlib.metadata import version
from typing import Protocol, TypeVar, cast

import numpy as np

from verify.foundation.content import content_key
from verify.metrics import SCORER_VERSION
from verify.metrics.additive import Floats
from verify.store.predictions import Predictions, TextPredictions, subset
from verify.types import Setting

Statistics = Mapping[str, Floats]
"""By name, a row of statistics for each example, [N, K]."""

AnyPredictions = TypeVar("AnyPredictions", bound=Predictions)


class Shelf(Protocol):
    """Where statistics outlive the process: the folder of a run (:class:`verify.store.runs.RunFolder`)."""

    def statistics(self, key: str) -> Iterator[tuple[list[bytes], Floats]]:
        """All that was kept under a key, in parts: 16 bytes and a row for each example. Damaged parts are left out."""

    def add_statistics(self, key: str, texts: Sequence[bytes], statistics: Floats) -> None:
        """Keep another part."""


@dataclass(frozen=True)
class Scoring:
    """What statistics depend on beside the texts: their name, the settings that bear on them, and the libraries."""

    name: str
    settings: Mapping[str, Setting]
    libraries: tuple[str, ...]

    def key(self) -> str:
        """Sixteen hex digits that change with any of it, with the scorer, and with the tables of Unicode."""
        versions = {library: _version(library) for library in self.libraries}
        versions["unicode"] = unicodedata.unidata_version
        return content_key([SCORER_VERSION, self.name, dict(self.settings), versions])


class Memory:
    """The statistics that are known of texts, read from a shelf when they are first asked for."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._digests: dict[tuple[str, ...], bytes] = {}
        self._tables: dict[str, _Table] = {}

    def digests(self, predictions: TextPredictions) -> list[bytes]:
        """Sixteen bytes for each example, equal where text and references are."""
        pairs = [(text, *several) for text, several in zip(predictions.texts, predictions.references, strict=True)]
        for pair in pairs:
            if pair not in self._digests:
                self._digests[pair] = _digest(pair)
        return [self._digests[pair] for pair in pairs]

    def lacks(self, key: str, digests: Collection[bytes]) -> set[bytes]:
        """Those of the digests of which nothing is known under a key."""
        return set(digests) - self._table(key).places.keys()

    def rows(self, key: str, digests: Sequence[bytes]) -> Floats:
        """The statistics under a key [N, K]; all of the digests must be known there."""
        table = self._table(key)
        return table.rows[[table.places[digest] for digest in digests]]

    def add(self, key: str, digests: Sequence[bytes], rows: Floats) -> None:
        """Remember statistics [N, K] under a key, and keep them. Raises StoreError if that is impossible."""
        self._shelf.add_statistics(key, digests, rows)
        self._table(key).add(digests, rows)

    def _table(self, key: str) -> _Table:
        if key not in self._tables:
            self._tables[key] = _Table()
            for digests, rows in self._shelf.statistics(key):
                self._tables[key].add(digests, rows)
        return self._tables[key]


class _Table:
    """Rows of statistics [N, K], and the place of each digest among them."""

    def __init__(self) -> None:
        self.places: dict[bytes, int] = {}
        self.rows: Floats = np.empty((0, 0))

    def add(self, digests: Sequence[bytes], rows: Floats) -> None:
        start = len(self.rows)
        self.rows = np.concatenate([self.rows, rows]) if start else rows
        self.places.update(zip(digests, range(start, start + len(rows)), strict=True))


@dataclass(frozen=True)
class RememberedTexts(TextPredictions):
    """Texts with the memory of what was computed of them, which any copy with other rows may share."""

    memory: Memory | None = field(default=None, repr=False, compare=False)


def remembering(predictions: AnyPredictions, memory: Memory) -> AnyPredictions:
    """The same predictions; of texts, what is computed of them is looked up in ``memory`` first, and added to it."""
    if not isinstance(predictions, TextPredictions):
        return predictions
    same = {one.name: getattr(predictions, one.name) for one in fields(TextPredictions)}
    found: AnyPredictions = RememberedTexts(**same, memory=memory)  # type: ignore[assignment]
    return found


def remembered(
    predictions: TextPredictions,
    scorings: Mapping[str, Scoring],
    compute: Callable[[TextPredictions, Collection[str]], Statistics],
) -> Statistics:
    """The statistics [N, K] under each name of ``scorings``: as they are remembered, else as they are computed.

    ``compute`` gives those of some examples under some of the names, and the row of an example must not depend on the
    others. It is asked only for what is not known. Predictions without a memory are computed as they are.
    """
    memory = predictions.memory if isinstance(predictions, RememberedTexts) else None
    if memory is None or not scorings:
        return compute(predictions, list(scorings)) if scorings else {}
    digests = memory.digests(predictions)
    keys = {name: one.key() for name, one in scorings.items()}
    lacking = {name: memory.lacks(key, digests) for name, key in keys.items()}
    if missing := set[bytes]().union(*lacking.values()):
        place = {digest: row for row, digest in enumerate(digests) if digest in missing}
        chosen = np.zeros(len(predictions), np.bool_)
        chosen[list(place.values())] = True
        some = cast(TextPredictions, subset(predictions, chosen))
        computed = compute(some, [name for name in scorings if lacking[name]])
        for name, statistics in computed.items():
            memory.add(keys[name], [digests[row] for row in np.flatnonzero(chosen)], statistics)
    return {name: memory.rows(key, digests) for name, key in keys.items()}


def _digest(parts: Sequence[str]) -> bytes:
    """The lengths keep ("ab", "c") and ("a", "bc") apart."""
    contents = [part.encode(errors="surrogatepass") for part in parts]
    lengths = np.array([len(content) for content in contents], "<u8").tobytes()
    return blake2b(b"".join([lengths, *contents]), digest_size=16).digest()


@cache
def _version(library: str) -> str:
    return version(library)
