"""Settings as Python values, made the words that the command line takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from os import PathLike, fspath
from typing import Any, get_type_hints

import numpy as np

from verify.configuration.compose import quoted, schema_of
from verify.configuration.hydra_state import GROUPS
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError
from verify.foundation.spelling import suggestion

_SETTINGS = [one.name for one in fields(VerifyConfig) if one.name != "model"]
_CHOICES = [f"{group}.name" for group in GROUPS]


def words_of(settings: Mapping[str, Any]) -> list[str]:
    """The words ``key=value`` for settings such as ``{"limit": 100, "engine": {"device": "cpu"}}``.

    A key may be dotted (``"engine.device"``), and a mapping sets the parts of what has parts. A group (policy, engine,
    suite) is chosen by the name of its file, alone or as ``name`` among its parts. Raises UsageError for a name that
    cannot be one, and for a value that is no plain one.
    """
    return [word for key, value in settings.items() for word in _words(key, value)]


def _words(key: str, value: Any) -> list[str]:
    names = key.split(".")
    if not all(name.isidentifier() for name in names):
        raise UsageError(f"{key!r} cannot be the name of a setting. Names look like limit or engine.device.")
    if names[0] not in _SETTINGS:
        raise UsageError(f"there is no setting {names[0]!r}. {suggestion(names[0], _SETTINGS)}")
    if isinstance(value, Mapping) and _has_parts(key):
        return [word for name, part in value.items() for word in _words(f"{key}.{name}", part)]
    chosen = names[0] if key in _CHOICES else key
    return [f"{chosen}={_spelled(key, value)}"]


def _has_parts(key: str) -> bool:
    """Whether what a dotted key names is a part of the configuration that has named parts itself."""
    owner: Any = VerifyConfig
    for name in key.split("."):
        if name not in {one.name for one in fields(owner)}:
            return False
        owner = schema_of(get_type_hints(owner)[name])
        if owner is None:
            return False
    return True


def _spelled(key: str, value: Any) -> str:
    """A plain value in Hydra's grammar (https://hydra.cc/docs/advanced/override_grammar/basic)."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | PathLike) and isinstance(text := fspath(value), str):
        return quoted(text)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{quoted(str(name))}:{_spelled(key, part)}" for name, part in value.items()) + "}"
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | memoryview | PathLike):
        return "[" + ",".join(_spelled(key, one) for one in value) + "]"
    raise UsageError(f"{key}: {type(value).__name__} is no setting. Give text, a number, True, None, a list or a dict.")
