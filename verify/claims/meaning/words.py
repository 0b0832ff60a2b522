"""The word lists of ``words.yaml``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).with_name("words.yaml")


@cache
def _lists() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    lists: dict[str, Any] = yaml.load(_FILE.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - one of the two safe ones
    return lists


def words(name: str) -> frozenset[str]:
    """One list as a set."""
    return frozenset(_lists()[name])


@cache
def heads() -> dict[str, str]:
    """The squashed headers of label columns, each with the role that it gives to the labels below it."""
    return {name: role for role, names in _lists()["heads"].items() for name in names}
