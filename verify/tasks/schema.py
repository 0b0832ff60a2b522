"""One task file: YAML text → :class:`verify.types.TaskSpec`, or an error that names file, line, key and allowed values.

A task file is data, not code: it is read with the safe YAML loader and nothing in it is ever instantiated.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from verify.errors import UsageError
from verify.spelling import suggestion
from verify.types import DatasetSource, TaskSpec

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Kind:
    """What a kind of task asks of its file: column roles, and the metrics measured when the file names none."""

    name: str
    summary: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    metrics: tuple[str, ...]


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "sequence-classification",
            "a text, or a pair of texts, to one class, or to a number",
            ("text", "label"),
            ("text_pair",),
            ("accuracy",),
        ),
        Kind("image-classification", "an image to one class", ("image", "label"), (), ("accuracy",)),
    )
}

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
    "split_aliases",
)
_DATASET_KEYS = ("path", "name", "split", "revision", "data_files")


class _Node:
    """A YAML node that knows its place, so that an error can name the line."""

    def __init__(self, node: yaml.Node, file: str, key: str) -> None:
        self.node, self.file, self.key = node, file, key

    def error(self, problem: str) -> UsageError:
        return UsageError(f"{self.file}:{self.node.start_mark.line + 1}: {self.key}: {problem}")

    def value(self) -> Any:
        loader = _LOADER("")
        try:
            return loader.construct_document(self.node)
        except yaml.YAMLError as error:
            raise self.error(f"cannot be read: {error}") from error
        finally:
            loader.dispose()

    def mapping(self) -> dict[str, _Node]:
        if not isinstance(self.node, yaml.MappingNode):
            raise self.error(f"must be a mapping of keys to values, not {self._kind()}.")
        found: dict[str, _Node] = {}
        for key, value in self.node.value:
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
        value = self.value()
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return str(value)
        raise self.error(f"must be a word or a sentence, not {self._kind()}.")

    def texts(self) -> tuple[str, ...]:
        if not isinstance(self.node, yaml.SequenceNode):
            raise self.error(f"must be a list such as [a, b], not {self._kind()}.")
        return tuple(_Node(item, self.file, self.key).text() for item in self.node.value)

    def count(self) -> int:
        value = self.value()
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise self.error("must be a whole number of at least 1.")
        return value

    def _kind(self) -> str:
        names = {"MappingNode": "a mapping", "SequenceNode": "a list", "ScalarNode": "a single value"}
        return names.get(type(self.node).__name__, "this")


def parse_task(text: str, *, name: str, file: str) -> TaskSpec:
    """Read one task file.

    ``name`` is the task's name (the file's stem); ``file`` is named in errors, and relative ``data_files`` and dataset
    folders are taken from its folder. Raises UsageError on anything that is not exactly right.
    """
    try:
        document = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UsageError(f"{file}{line}: not readable as YAML: {getattr(error, 'problem', error)}.") from error
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
        metrics=keys["metrics"].texts() if "metrics" in keys else kind.metrics,
        file=file,
        aliases=keys["aliases"].texts() if "aliases" in keys else (),
        description=keys["description"].text() if "description" in keys else "",
        labels=keys["labels"].texts() if "labels" in keys else None,
        label_aliases=_label_aliases(keys),
        rows={split: node.count() for split, node in keys["rows"].mapping().items()} if "rows" in keys else {},
        unlabelled=keys["unlabelled"].texts() if "unlabelled" in keys else (),
        split_aliases=_texts_by_key(keys, "split_aliases"),
    )


def _label_aliases(keys: Mapping[str, _Node]) -> dict[str, tuple[str, ...]]:
    if "label_aliases" not in keys:
        return {}
    return {label: node.texts() for label, node in keys["label_aliases"].mapping().items()}


def _texts_by_key(keys: Mapping[str, _Node], key: str) -> dict[str, str]:
    return {name: node.text() for name, node in keys[key].mapping().items()} if key in keys else {}


def _dataset(node: _Node, folder: Path) -> DatasetSource:
    keys = node.known(_DATASET_KEYS, ("path", "split"))
    path = keys["path"].text()
    files: dict[str, str] | None = None
    if "data_files" in keys:
        files = {split: str(folder / value.text()) for split, value in keys["data_files"].mapping().items()}
    elif path.startswith((".", "/", "~")):
        path = str((folder / Path(path).expanduser()).resolve())
    return DatasetSource(
        path=path,
        name=keys["name"].text() if "name" in keys else None,
        split=keys["split"].text(),
        revision=keys["revision"].text() if "revision" in keys else None,
        data_files=files,
    )
