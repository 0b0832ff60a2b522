"""A row of a benchmark that sets our rate beside a peer's, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(row: Mapping[str, Any], unequal: str) -> str:
    """One line: our figure, the peer's and their ratio; ``unequal`` is said where the two gave different answers."""
    if row["peer"] is None:
        return f"{row['name']}: {row['ours']:.4g} {row['unit']}"
    verdict = "" if row["equal"] else f" {unequal}"
    rates = f"{row['ours']:.1f} to {row['theirs']:.1f} {row['unit']}, {row['ratio']:.2f} times{verdict}"
    return f"{row['name']} against {row['peer']}: {rates}"
