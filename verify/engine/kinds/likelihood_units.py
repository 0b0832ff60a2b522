"""Units of work of a language model: windows of texts, as padded batches and the places in them that are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from verify.engine.inputs.windows import Ints, Tokenised

_COPIES_BUDGET = 2048  # tokens of the masked copies that one unit makes at most, unless one copy alone is longer


@dataclass(frozen=True)
class Units:
    """Windows over ``Tokenised.ids``, ascending by ``owner`` [U], the position of the example that they belong to.

    The model sees the tokens ``begin`` [U] to ``end`` − 1, and those from ``first`` to ``last`` − 1 are scored.
    """

    owner: Ints
    begin: Ints
    end: Ints
    first: Ints
    last: Ints

    @property
    def scored(self) -> Ints:
        """How many tokens each unit scores [U]."""
        return self.last - self.first


@dataclass(frozen=True)
class CausalUnits:
    """Windows for a model that predicts each token from those before it."""

    units: Units
    ids: Ints
    padding: int

    @property
    def lengths(self) -> Ints:
        """Tokens read: the last one of a window is only predicted."""
        return self.units.last - 1 - self.units.begin

    def collate(self, numbers: Sequence[int]) -> Mapping[str, Any]:
        """``input_ids`` [n, longest], and the place of each scored token: the one before it.

        Padding stands on the right, where a causal model does not look, so there is no attention mask: without one,
        attention takes its fastest path.
        """
        import torch

        chosen = np.asarray(numbers, dtype=np.int64)
        begin, scored = self.units.begin[chosen], self.units.scored[chosen]
        lengths = self.lengths[chosen]
        row = np.repeat(np.arange(len(chosen)), scored)
        targets = _ranges(self.units.first[chosen], scored)
        return {
            "input_ids": torch.from_numpy(_padded(self.ids, begin, lengths, self.padding)),
            "rows": torch.from_numpy(row),
            "columns": torch.from_numpy(targets - 1 - begin[row]),
            "targets": torch.from_numpy(self.ids[targets]),
            "scored": scored,
        }


@dataclass(frozen=True)
class MaskedUnits:
    """Windows for a model that looks both ways: a copy for each scored token, in which that token is masked."""

    units: Units
    tokens: Tokenised
    padding: int
    mask: int

    @property
    def _widths(self) -> Ints:
        return self.units.end - self.units.begin + len(self.tokens.prefix) + len(self.tokens.suffix)

    @property
    def lengths(self) -> Ints:
        """Tokens read, in all copies."""
        return self._widths * self.units.scored

    def collate(self, numbers: Sequence[int]) -> Mapping[str, Any]:
        """``input_ids`` and ``attention_mask`` [copies, longest], and the place of each masked token."""
        import torch

        chosen = np.asarray(numbers, dtype=np.int64)
        begin, scored = self.units.begin[chosen], self.units.scored[chosen]
        before, after, inside = (
            len(self.tokens.prefix),
            len(self.tokens.suffix),
            (self.units.end - self.units.begin)[chosen],
        )
        widths = self._widths[chosen]
        array = np.full((len(chosen), int(widths.max(initial=0))), self.padding, dtype=np.int64)
        array[:, : array.shape[1] - after] = np.concatenate(
            [
                np.tile(self.tokens.prefix, (len(chosen), 1)),
                _padded(self.tokens.ids, begin, inside, self.padding),
            ],
            axis=1,
        )
        for place, token in enumerate(self.tokens.suffix.tolist()):
            array[np.arange(len(chosen)), before + inside + place] = token
        unit = np.repeat(np.arange(len(chosen)), scored)
        targets = _ranges(self.units.first[chosen], scored)
        columns, copies = targets - begin[unit] + before, array[unit]
        copies[np.arange(len(copies)), columns] = self.mask
        return {
            "input_ids": torch.from_numpy(copies),
            "attention_mask": torch.from_numpy((np.arange(array.shape[1]) < widths[unit][:, None]).astype(np.int64)),
            "rows": torch.arange(len(copies)),
            "columns": torch.from_numpy(columns),
            "targets": torch.from_numpy(self.tokens.ids[targets]),
            "scored": scored,
        }


def in_chunks(windows: Units, special: int) -> Units:
    """Windows cut by the tokens that they score, so that the copies of each fit a small batch.

    ``special`` is how many special tokens each copy has. A chunk sees its whole window.
    """
    copies = np.maximum(_COPIES_BUDGET // (windows.end - windows.begin + special), 1)
    count = -(-windows.scored // copies)
    window = np.repeat(np.arange(len(count)), count)
    first = windows.first[window] + _ranges(np.zeros_like(count), count) * copies[window]
    return Units(
        owner=windows.owner[window],
        begin=windows.begin[window],
        end=windows.end[window],
        first=first,
        last=np.minimum(first + copies[window], windows.last[window]),
    )


def _ranges(begins: Ints, counts: Ints) -> Ints:
    """begin, begin + 1, … begin + count − 1 of every pair, end to end."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    values: Ints = np.arange(total, dtype=np.int64) + np.repeat(begins - (ends - counts), counts)
    return values


def _padded(ids: Ints, begins: Ints, lengths: Ints, padding: int) -> Ints:
    """The slices of ``ids`` that begin and are as long as said, as a matrix filled up on the right."""
    places = np.arange(int(lengths.max(initial=0)))
    filled = places < lengths[:, None]
    array = np.full(filled.shape, padding, dtype=np.int64)
    array[filled] = ids[(begins[:, None] + places)[filled]]
    return array
