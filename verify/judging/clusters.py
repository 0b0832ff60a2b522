"""Which examples of a split came together, and so would not vary one by one in other data of the same kind."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from verify.tasks.data import Examples

SHARED_ROLES: Mapping[str, str] = {"question-answering": "context"}
"""For a kind of task: the column role whose equal values mark examples that came together."""


def clusters_of(kind: str, examples: Examples, rows: Sequence[int] | None = None) -> NDArray[np.int64] | None:
    """The cluster of each example, of all or of the ``rows`` given: an int64 [N] for :func:`bootstrap.interval`.

    Questions about one context are one cluster. None for kinds whose columns do not say what came together: documents
    of sentences and speakers of recordings are columns that no task names.
    """
    role = SHARED_ROLES.get(kind)
    return None if role is None else numbered(examples.column(role, rows))


def numbered(values: Iterable[Hashable]) -> NDArray[np.int64]:
    """Equal numbers, from 0 on in order of appearance, for equal values [N]."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], dtype=np.int64)
