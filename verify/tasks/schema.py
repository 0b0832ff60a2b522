"""One task file: YAML text → :class:`verify.types.TaskSpec`, or an error that names file, line, key and allowed values.

A task file is data, not code: only the tree of YAML nodes is read, and nothing in it is ever instantiated.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.tasks.kinds import KINDS, SettingSpec
from verify.types import FOREIGN, DatasetSource, Setting, TaskSpec

_NULL = "tag:yaml.org,2002:null"
_INTEGER = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_TEXT_TAGS = tuple(f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "timestamp"))


_TASK_KEYS = (
    "kind",
    "dataset",
    "columns",
    "metrics",
    "aliases",
    "description",
    "labels",
    "label_aliases",
    "rows",
    "unlabelled",
    "drop_unlabelled",
    "split_aliases",
    "settings",
)
"""What the name of a metric begins with that is an `evaluate` module."""
_DATASET_KEYS = ("path", "name", "split", "revision", "data_files")


class _Node:
    """A YAML node that knows its place, so that an error can name the line."""

    def __init__(self, node: yaml.Node, file: str, key: str) -> None:
        self.node, self.file, self.key = node, file, key

    def error(self, problem: str) -> UsageError:
        return UsageError(f"{self.file}:{self.node.start_mark.line + 1}: {self.key}: {problem}")

    def mapping(self) -> dict[str, _Node]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"must be a mapping of keys to values, not {self._kind()}.")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Node(key, self.file, self.key).error("a key must be a single word.")
            name = str(key.value)
            child = _Node(value, self.file, f"{self.key}.{name}" if self.key != "task" else name)
            if name in found:
                raise child.error("stands twice; remove one of them.")
            found[name] = child
        return found

    def known(self, allowed: tuple[str, ...], required: tuple[str, ...]) -> dict[str, _Node]:
        found = self.mapping()
        for name, child in found.items():
            if name not in allowed:
                raise child.error(f"unknown key. {suggestion(name, allowed)}")
        for name in required:
            if name not in found:
                raise self.error(f'the key "{name}" is missing. Required: {", ".join(required)}.')
        return found

    def text(self) -> str:
        """The characters as written, so that a revision such as 0123456 or a label such as no stays what it is."""
        if not isinstance(self.node, yaml.ScalarNode) or self.node.tag not in _TEXT_TAGS or not self.node.value.strip():
            raise self.error(f"must be a word or a sentence, not {self._kind()}.")
        text = str(self.node.value)
        if re.search("[\0\ud800-\udfff]", text):
            raise self.error("holds a character that no text has (#x0000, or half of a surrogate pair).")
        return text

    def texts(self) -> tuple[str, ...]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"must be a list such as [a, b], not {self._kind()}.")
        return tuple(_Node(item, self.file, self.key).text() for item in self.node.value)

    def count(self) -> int:
        if self.node.tag != _INTEGER or not re.fullmatch(r"[1-9][0-9_]{0,17}", str(self.node.value)):
            raise self.error("must be a whole number of at least 1.")
        return int(self.node.value)

    def setting(self, spec: SettingSpec) -> Setting:
        """The value of one of the kind's settings, of the type that it must have."""
        value = str(getattr(self.node, "value", ""))
        if spec.type is bool and self.node.tag == "tag:yaml.org,2002:bool":
            return value.lower() in ("true", "yes", "on")
        if spec.type is int and self.node.tag == _INTEGER and re.fullmatch(r"[0-9][0-9_]{0,17}", value):
            return int(value)
        if spec.type is float and self.node.tag in (_INTEGER, _FLOAT):
            try:
                return float(value)
            except ValueError:
                pass
        if spec.type is str:
            text = str(self.node.value) if isinstance(self.node, yaml.ScalarNode) and self.node.tag != _NULL else ""
            if spec.allowed and text not in spec.allowed:
                raise self.error(suggestion(text, spec.allowed))
            return text if text or (spec.may_be_empty and self.node.tag in _TEXT_TAGS) else self.text()
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}.get(spec.type, "a word")
        raise self.error(f"must be {wanted}, not {self._kind()}.")

    def local_path(self, folder: Path) -> str:
        return self.path_of(self.text(), folder)

    def path_of(self, text: str, folder: Path) -> str:
        try:
            return str(folder / Path(text).expanduser())
        except RuntimeError as error:
            raise self.error(f"{text}: there is no such home folder.") from error

    def _kind(self) -> str:
        if isinstance(self.node, yaml.ScalarNode):
            if self.node.tag in (*_TEXT_TAGS, _NULL):
                return f'"{self.node.value}"' if self.node.value.strip() else "nothing"
            return f"a value tagged {self.node.tag}"
        return "a mapping" if isinstance(self.node, yaml.MappingNode) else "a list"


def parse_task(text: str, *, name: str, file: str) -> TaskSpec:
    """Read one task file.

    ``name`` is the task's name (the file's stem); ``file`` is named in errors, and relative ``data_files``, dataset
    folders and the paths of metrics are taken from its folder. Raises UsageError on anything that is not exactly right.
    """
    try:
        document = _compose(text)
    except RecursionError as error:
        raise UsageError(f"{file}: not readable as YAML: brackets are nested too deeply.") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{file}{_place(text, error)}") from error
    if document is None:
        raise UsageError(f"{file}: the file is empty. A task needs the keys kind, dataset and columns.")
    root = _Node(document, file, "task")
    keys = root.known(_TASK_KEYS, ("kind", "dataset", "columns"))
    kind_name = keys["kind"].text()
    if kind_name not in KINDS:
        raise keys["kind"].error(f'no kind is called "{kind_name}". {suggestion(kind_name, KINDS)}')
    kind = KINDS[kind_name]
    columns = keys["columns"].known((*kind.required, *kind.optional), kind.required)
    return TaskSpec(
        name=name,
        kind=kind_name,
        dataset=_dataset(keys["dataset"], Path(file).parent),
        columns={role: column.text() for role, column in columns.items()},
        metrics=_metrics(keys["metrics"], Path(file).parent) if "metrics" in keys else kind.metrics,
        file=file,
        aliases=keys["aliases"].texts() if "aliases" in keys else (),
        description=keys["description"].text() if "description" in keys else "",
        labels=_labels(keys),
        label_aliases=_label_aliases(keys),
        rows={split: node.count() for split, node in keys["rows"].mapping().items()} if "rows" in keys else {},
        unlabelled=keys["unlabelled"].texts() if "unlabelled" in keys else (),
        drop_unlabelled="drop_unlabelled" in keys and bool(keys["drop_unlabelled"].setting(SettingSpec(bool, ""))),
        split_aliases=_texts_by_key(keys, "split_aliases"),
        settings=_settings(keys, kind.settings),
    )


def _compose(text: str) -> yaml.Node | None:
    """The root node: libyaml reads what is right in an eighth of the time, and PyYAML says what is wrong with the rest.

    The nodes are put together in Python either way, because libyaml's own composer recurses without a guard: text
    nested some thousand levels deep would end the process.
    """
    if yaml.__with_libyaml__:
        with contextlib.suppress(yaml.YAMLError, UnicodeError):
            return yaml.compose(text, Loader=_fast_loader())
    return yaml.compose(text, Loader=yaml.SafeLoader)


@cache
def _fast_loader() -> Any:
    from yaml.composer import Composer
    from yaml.cyaml import CParser  # type: ignore[attr-defined]
    from yaml.resolver import Resolver

    class Loader(Composer, CParser, Resolver):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            Resolver.__init__(self)

    return Loader


def _place(text: str, error: yaml.YAMLError) -> str:
    """The line of a YAML error and what is wrong there."""
    if isinstance(error, yaml.reader.ReaderError):
        number = text[: error.position].count("\n") + 1
        return f":{number}: not readable as YAML: the character #x{error.character:04x} is not allowed."
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark else ""
    return f"{line}: not readable as YAML: {getattr(error, 'problem', None) or error}."


def _metrics(node: _Node, folder: Path) -> tuple[str, ...]:
    """The names of metrics; the path of an `evaluate` module is taken from the task file's folder, as those of data."""
    names = node.texts()
    return tuple(
        FOREIGN + str(Path(node.path_of(name.removeprefix(FOREIGN), folder)).resolve())
        if name.startswith(tuple(FOREIGN + mark for mark in (".", "/", "~")))
        else name
        for name in names
    )


def _labels(keys: Mapping[str, _Node]) -> tuple[str, ...] | None:
    if "labels" not in keys:
        return None
    labels = keys["labels"].texts()
    if not labels or len(set(labels)) < len(labels):
        raise keys["labels"].error("must name each class once, in the order of the label ids.")
    return labels


def _label_aliases(keys: Mapping[str, _Node]) -> dict[str, tuple[str, ...]]:
    if "label_aliases" not in keys:
        return {}
    return {label: node.texts() for label, node in keys["label_aliases"].mapping().items()}


def _settings(keys: Mapping[str, _Node], known: Mapping[str, SettingSpec]) -> dict[str, Setting]:
    if "settings" not in keys:
        return {}
    return {name: node.setting(known[name]) for name, node in keys["settings"].known(tuple(known), ()).items()}


def _texts_by_key(keys: Mapping[str, _Node], key: str) -> dict[str, str]:
    return {name: node.text() for name, node in keys[key].mapping().items()} if key in keys else {}


def _dataset(node: _Node, folder: Path) -> DatasetSource:
    keys = node.known(_DATASET_KEYS, ("path", "split"))
    path = keys["path"].text()
    files: dict[str, str] | None = None
    if "data_files" in keys:
        files = {split: value.local_path(folder) for split, value in keys["data_files"].mapping().items()}
    elif path.startswith((".", "/", "~")):
        path = str(Path(keys["path"].local_path(folder)).resolve())
    return DatasetSource(
        path=path,
        name=keys["name"].text() if "name" in keys else None,
        split=keys["split"].text(),
        revision=keys["revision"].text() if "revision" in keys else None,
        data_files=files,
    )
