"""N-grams that texts share with their references, counted for all examples together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Ids = Sequence[int]
"""The words of one text, or of one reference, as numbers: equal ones for equal words."""

Counts = NDArray[np.int64]


def shared_ngrams(texts: Sequence[Ids], streams: Sequence[Sequence[Ids | None]], orders: int) -> Counts:
    """How many n-grams of each text its references have too, [N, orders], for n-grams of one word up to ``orders``.

    Each stream holds one reference of every text, None where there are fewer. An n-gram counts as often as it occurs in
    the text, but at most as often as in the one of the references that has it most often (the clipped counts of BLEU,
    Papineni et al., 2002).
    """
    n = len(texts)
    sides = [[ids if ids is not None else () for ids in side] for side in (texts, *streams)]
    lengths = np.array([[len(ids) for ids in side] for side in sides], np.int64).reshape(-1)
    place = np.repeat(np.arange(len(lengths)), lengths)  # which text or reference a word stands in
    words = np.fromiter(chain.from_iterable(chain.from_iterable(sides)), np.int64, len(place))
    found = np.zeros((n, orders), np.int64)
    for order, (starts, keys) in enumerate(_keys(words, place, place % n if n else place, orders)):
        kinds = int(keys.max()) + 1
        side = place[starts] // n
        counts = [np.bincount(keys[side == one], minlength=kinds) for one in range(len(sides))]
        row = np.zeros(kinds, np.int64)
        row[keys] = place[starts] % n
        clipped = np.minimum(counts[0], np.max(counts[1:], axis=0, initial=0))
        found[:, order] = np.bincount(row, weights=clipped, minlength=n).astype(np.int64)
    return found


def _keys(words: Counts, place: Counts, row: Counts, orders: int) -> Iterator[tuple[Counts, Counts]]:
    """For n-grams of each order, as far as there are any: where they start, and numbers that are equal for equal ones.

    N-grams of different rows are different. The numbers count from 0 without a gap, which keeps their products small.
    """
    size = int(words.max(initial=0)) + 1
    starts, keys = np.arange(len(words)), row
    for order in range(1, orders + 1):
        inside = np.flatnonzero(starts < len(words) - order + 1)
        inside = inside[place[starts[inside]] == place[starts[inside] + order - 1]]
        if not len(inside):
            return
        starts = starts[inside]
        keys = np.unique(keys[inside] * size + words[starts + order - 1], return_inverse=True)[1]
        yield starts, keys
