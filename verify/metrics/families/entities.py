"""Entities read off tags as seqeval 1.2.2 reads them, for all rows at once.

Whether an entity begins, goes on or ends between two tags depends on those two alone. seqeval itself is asked, once for
each pair of tags that occurs, and not for each word: a test set has few pairs and many words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"

Rows = Sequence[Sequence[str]]
Entity = tuple[int, str, int, int]
"""The example, the type, and where it begins and ends."""

Places = NDArray[np.int64]
Flags = NDArray[np.bool_]


class _Joined:
    """All rows in one sequence, with "O" after each: ``tags`` are numbers of ``names``, and 0 is "O"."""

    def __init__(self, rows: Rows) -> None:
        lengths = np.array([len(row) for row in rows], np.int64)
        self.names = [OUTSIDE, *sorted(set().union(*rows) - {OUTSIDE})]
        known = {name: number for number, name in enumerate(self.names)}
        words = np.fromiter(map(known.__getitem__, chain.from_iterable(rows)), np.int64, int(lengths.sum()))
        self.starts = np.concatenate([[0], np.cumsum(lengths + 1)])
        self.tags = np.zeros(self.starts[-1], np.int64)
        self.tags[np.arange(len(words)) + np.repeat(np.arange(len(lengths)), lengths)] = words
        self._pairs = np.concatenate([[0], self.tags[:-1]]) * len(known) + self.tags if len(rows) else self.tags
        self._present = np.unique(self._pairs)

    def where(self, holds: Callable[[int, int], bool]) -> Flags:
        """Whether something holds of each tag and the one before it, [T]; before the first is "O"."""
        table = np.zeros(len(self.names) ** 2, np.bool_)
        for pair in self._present.tolist():
            table[pair] = holds(*divmod(pair, len(self.names)))
        found: Flags = table[self._pairs]
        return found


def lenient_entities(rows: Rows) -> set[Entity]:
    """Return the entities that seqeval sees by default: first and last place, counted from the start of all rows.

    The rows are one sequence with an "O" after each, as seqeval's scores have it: an odd tag may carry a place over
    from the row before. An entity belongs to the row that it ends in.
    """
    from seqeval.metrics.sequence_labeling import end_of_chunk, start_of_chunk

    joined = _Joined(rows)
    marks, types = [name[0] for name in joined.names], [_type(name) for name in joined.names]

    def pairs_where(rule: Callable[[str, str, str, str], bool]) -> Flags:
        return joined.where(lambda before, tag: rule(marks[before], marks[tag], types[before], types[tag]))

    begins, ends = pairs_where(start_of_chunk), pairs_where(end_of_chunk)
    last = np.flatnonzero(ends) - 1
    first = np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))[last]
    examples = np.searchsorted(joined.starts, last, side="right") - 1
    named = [types[tag] for tag in joined.tags[last].tolist()]
    return set(zip(examples.tolist(), named, first.tolist(), last.tolist(), strict=True))


def _type(tag: str) -> str:
    rest = tag[1:]
    return (rest.partition("-")[2] if "-" in rest else rest) or "_"


def strict_entities(rows: Rows, scheme: Any) -> set[Entity]:
    """Return the entities that follow a scheme of ``seqeval.scheme``: first place and the one after, in their row.

    Raises KeyError or ValueError, as seqeval does, for a tag that the scheme has no place for.
    """
    joined = _Joined(rows)
    tokens = [scheme(name) for name in joined.names]
    for token in tokens:
        token.is_valid()
    begins = joined.where(lambda before, tag: bool(tokens[tag].is_start(tokens[before])))
    goes_on = joined.where(lambda before, tag: bool(tokens[tag].is_inside(tokens[before])))
    ends = joined.where(lambda before, tag: bool(tokens[tag].is_end(tokens[before])))
    # A stretch is a tag and all that go on from it; what begins in it later belongs to what began first.
    stretch = np.cumsum(~goes_on) - 1
    borders = np.flatnonzero(~goes_on)
    found = np.flatnonzero(begins)
    found = found[np.unique(stretch[found], return_index=True)[1]]
    after = borders[stretch[found] + 1]
    found, after = found[ends[after]], after[ends[after]]
    examples = np.searchsorted(joined.starts, found, side="right") - 1
    start = joined.starts[examples]
    named = [tokens[tag].tag for tag in joined.tags[found].tolist()]
    return set(zip(examples.tolist(), named, (found - start).tolist(), (after - start).tolist(), strict=True))
