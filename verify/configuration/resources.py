"""Where the built-in conf/ and tasks/ lie: inside the wheel, or beside the package in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def built_in(name: str) -> Path:
    """The folder of built-in files called ``name`` ("conf" or "tasks")."""
    packaged = _PACKAGE / "_data" / name
    return packaged if packaged.is_dir() else _PACKAGE.parent / name
