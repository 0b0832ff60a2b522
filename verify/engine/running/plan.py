"""The order of examples and the composition of batches.

Examples come in a seeded random permutation, fixed in advance, so that the first n of them are a fair sample of the
split. Within a block of that order they are sorted by length and cut into batches within a budget of padded tokens:
with realistic text lengths this avoids most padding work (measured 4.7 times the throughput of unsorted batches of 32).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

BLOCK = 8192
FIRST_BLOCK = 64


def example_order(population: int, seed: int, limit: int | None = None) -> NDArray[np.int64]:
    """The row numbers to run, in order: a seeded permutation of range(population), cut to its first ``limit``."""
    order = np.random.default_rng(seed).permutation(population).astype(np.int64)
    return order if limit is None else order[:limit]


def complete_prefix(order: NDArray[np.int64], stored: NDArray[np.int64]) -> int:
    """How many examples at the beginning of ``order`` are all stored: only they are a fair sample of the split."""
    missing = np.flatnonzero(~np.isin(order, stored))
    return int(missing[0]) if len(missing) else len(order)


def blocks(count: int, *, small: bool = False) -> Iterator[slice]:
    """Cut range(count) into blocks within which the order may be changed.

    ``small`` ones are for a run that may stop after any of them: 64, or a quarter of what is done where that is more.
    (Simulated, they let a claim that is 11 points off be contradicted by 1.8 % of 10,000 examples, and doubling ones by
    2.4 %.)
    """
    start, size = 0, FIRST_BLOCK if small else BLOCK
    while start < count:
        yield slice(start, min(start + size, count))
        start += size
        if small:
            size = min(max(FIRST_BLOCK, start // 4), BLOCK)


def share(costs: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """The positions among ``costs`` [n] that one of ``world`` processes runs: every one has long and short ones."""
    if world == 1:
        return np.arange(len(costs), dtype=np.int64)
    return np.sort(np.argsort(-costs, kind="stable")[rank::world]).astype(np.int64)


def make_batches(
    lengths: Sequence[int] | NDArray[np.int64],
    *,
    token_budget: int,
    batch_size: int | None = None,
    overhead: int | None = None,
) -> list[NDArray[np.int64]]:
    """Group the positions 0 … len(lengths)−1 into batches, longest first.

    A batch holds ``batch_size`` positions, or, when that is None, at most as many as fit ``token_budget`` once padded
    to the longest of them (always at least one). Then the batches are those that cost least together: a batch costs its
    tokens, padding included, and ``overhead`` tokens more (None: as many as a full batch, which makes them few). Every
    position stands in exactly one batch.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    ordered = np.argsort(-lengths, kind="stable").astype(np.int64)
    if batch_size is not None:
        return [ordered[begin : begin + batch_size] for begin in range(0, len(ordered), batch_size)]
    longest = np.maximum(lengths[ordered], 1)
    ends = _cheapest_ends(longest, token_budget, token_budget if overhead is None else overhead)
    batches, begin = [], 0
    while begin < len(ordered):
        batches.append(ordered[begin : ends[begin]])
        begin = int(ends[begin])
    return batches


def _cheapest_ends(lengths: NDArray[np.int64], token_budget: int, overhead: int) -> NDArray[np.int64]:
    """For descending ``lengths`` [n], where a batch that begins at each position ends best [n], found from the last on.

    O(n · m) for batches of up to m positions.
    """
    count = len(lengths)
    ends, costs = np.empty(count, dtype=np.int64), np.zeros(count + 1, dtype=np.int64)
    for begin in range(count - 1, -1, -1):
        length = int(lengths[begin])
        most = min(max(token_budget // length, 1), count - begin)
        # from the largest batch to the smallest, so that among equals the largest is taken
        candidates = costs[begin + 1 : begin + 1 + most][::-1] + length * np.arange(most, 0, -1)
        best = int(candidates.argmin())
        ends[begin], costs[begin] = begin + most - best, candidates[best] + overhead
    return ends
