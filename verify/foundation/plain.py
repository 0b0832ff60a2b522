"""Frozen dataclasses out of the plain values of a JSON file, strictly: what does not fit is named by its place."""

from __future__ import annotations

import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", type(None): "null"}


class UnreadableError(ValueError):
    """A value of another shape than asked for; the message begins with its place."""


def from_plain(shape: Any, value: Any, place: str = "it") -> Any:
    """``value``, as :func:`json.loads` gives it, as an instance of the type ``shape``.

    Shapes are dataclasses (of which :func:`dataclasses.asdict` makes such values), enumerations of texts, tuples of any
    length, mappings from texts, unions and the types of JSON itself. A key that the dataclass lacks is an error, and so
    is a missing one that has no default; nothing is converted but whole numbers to decimal ones.

    Raises:
        UnreadableError: if the value has another shape.
    """
    if shape is Any:
        return value
    origin, parts = get_origin(shape), get_args(shape)
    if origin in (Union, types.UnionType):
        return _one_of(parts, value, place)
    if origin is tuple:
        items = _expected(list, value, place, "a list")
        return tuple(from_plain(parts[0], item, f"{place}[{number}]") for number, item in enumerate(items))
    if origin is Mapping:
        entries = _expected(dict, value, place, "a mapping")
        return {name: from_plain(parts[1], item, f"{place}.{name}") for name, item in entries.items()}
    if is_dataclass(shape) and isinstance(shape, type):
        return _instance(shape, _expected(dict, value, place, "a mapping"), place)
    if isinstance(shape, type) and issubclass(shape, StrEnum):
        if value not in [str(member) for member in shape]:
            raise UnreadableError(f"{place} must be one of {', '.join(shape)}")
        return shape(value)
    if shape is float and type(value) is int:
        return float(value)
    return _expected(shape, value, place, _SAID[shape])


def _one_of(shapes: tuple[Any, ...], value: Any, place: str) -> Any:
    if type(value) in shapes:
        return value
    possible = [shape for shape in shapes if shape is not type(None)]
    if len(possible) == 1:
        return from_plain(possible[0], value, place)
    for shape in possible:
        try:
            return from_plain(shape, value, place)
        except UnreadableError:
            continue
    raise UnreadableError(f"{place} has none of the shapes that it may have")


def _instance(shape: Any, value: dict[str, Any], place: str) -> Any:
    known = {one.name: one for one in fields(shape)}
    if strange := sorted(value.keys() - known.keys()):
        raise UnreadableError(f"{place} has the unknown key {strange[0]}")
    for name, one in known.items():
        if name not in value and one.default is MISSING and one.default_factory is MISSING:
            raise UnreadableError(f"{place} lacks the key {name}")
    hints = _hints(shape)
    return shape(**{name: from_plain(hints[name], item, f"{place}.{name}") for name, item in value.items()})


@cache
def _hints(shape: Hashable) -> dict[str, Any]:
    return get_type_hints(shape)


def _expected(shape: Any, value: Any, place: str, said: str) -> Any:
    if type(value) is not shape:
        raise UnreadableError(f"{place} must be {said}")
    return value
