"""The YAML block at the top of a card, as nodes with positions, however broken the block is.

Nodes, not objects: the literal text of a value ("0.90", "1e-1", "72%") and its line are evidence, and both are lost
once YAML has turned them into Python values.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

_LOADERS: tuple[Any, ...] = (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)
_OPENING = re.compile(r"(?:[ \t]*\n)*[ \t\ufeff]*---[ \t]*\n(?:[ \t]*\n|---[ \t]*\n)*")
_CLOSING = re.compile(r"^(?:---|\.\.\.)[ \t]*$", re.MULTILINE)
_COMMENT = re.compile(r"^<!--", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6} \S", re.MULTILINE)
_KEY_LINE = re.compile(r"^[\"']?(?P<key>[A-Za-z_][\w-]*)[\"']?[ \t]*:", re.MULTILINE)
_INDEX_LINE = re.compile(r"[\"']?model[-_]index\b", re.IGNORECASE)
_INDENT = re.compile(r"^[ \-?:]*", re.MULTILINE)
_SMALL = 50_000
_LARGE = 500_000  # characters; the longest metadata known is a tenth of it
_REPAIRS = 24
_DEEP = 400


@dataclass(frozen=True)
class FrontMatter:
    """The front matter of ``text``: ``start`` and ``end`` bound the YAML, ``body`` is where the card's text begins.

    ``root`` is the mapping node of its top level (None if there is none); ``offset`` is where in the text the
    parsed part began. ``repaired`` lists the 1-based lines that had to be left out to make the rest readable.
    """

    start: int
    end: int
    body: int
    root: yaml.MappingNode | None
    offset: int
    repaired: tuple[int, ...] = ()
    problem: str | None = None


class Lines:
    """Character offsets of a text to 1-based line numbers, and back."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def line(self, offset: int) -> int:
        return bisect_right(self.starts, offset)

    def start(self, line: int) -> int:
        return self.starts[line - 1]

    def content(self, line: int) -> str:
        """The text of a line, without its line feed."""
        end = self.starts[line] - 1 if line < len(self.starts) else len(self.text)
        return self.text[self.starts[line - 1] : end]


def split_card(text: str) -> tuple[int, int, int]:
    """Offsets (start of the YAML, its end, start of the body); all zero if the card has no front matter.

    A card whose closing line is missing has its front matter end where Markdown begins.
    """
    opening = _OPENING.match(text)
    if not opening:
        return 0, 0, 0
    start = opening.end()
    closing = _CLOSING.search(text, start)
    comment = _COMMENT.search(text, start)
    if closing and not (comment and comment.start() < closing.start()):
        end, body = closing.span()
    else:
        found = comment or _HEADING.search(text, start)
        end = body = found.start() if found else len(text)
    if _KEY_LINE.search(text, start, end) is None:
        return 0, 0, 0
    return start, end, body


def read_front_matter(text: str) -> FrontMatter:
    """Compose the front matter of a card; on a syntax error, salvage what can be read of the evaluation results."""
    start, end, body = split_card(text)
    source = text[start:end]
    too_long = yaml.YAMLError(f"longer than {_LARGE:,} characters, so that only the first results were read")
    root, error = _compose(source) if len(source) <= _LARGE else (None, too_long)
    if root is not None or start == end:
        return FrontMatter(start, end, body, root, start)
    heading = _HEADING.search(source)
    if heading and (root := _compose(source[: heading.start()])[0]):
        end = start + heading.start()
        return FrontMatter(start, end, end, root, start)
    offset = 0
    repaired_root, repaired = _repair(source) if len(source) <= _SMALL else (None, [])
    if repaired_root is None:
        offset, block = _results_block(source)
        cut = block.rfind("\n", 0, _LARGE) if len(block) > _LARGE else len(block)
        repaired_root, repaired = _repair(block[:cut]) if block else (None, [])
    first = text.count("\n", 0, start + offset) + 1
    left_out = tuple(first + line for line in repaired)
    return FrontMatter(start, end, body, repaired_root, start + offset, left_out, _message(error))


def compose(source: str) -> yaml.Node | None:
    """The root node of any YAML text, or None."""
    return _compose_any(source)[0]


def _compose(source: str) -> tuple[yaml.MappingNode | None, yaml.YAMLError | None]:
    node, error = _compose_any(source)
    return (node, None) if isinstance(node, yaml.MappingNode) else (None, error)


def _compose_any(source: str) -> tuple[yaml.Node | None, yaml.YAMLError | None]:
    # The C parser composes recursively without a guard: text nested some thousand levels deep would end the process.
    if _is_deep(source):
        return None, yaml.YAMLError("nested too deeply")
    error: yaml.YAMLError | None = None
    for loader in _LOADERS:
        try:
            return yaml.compose(source, Loader=loader), None
        except (yaml.YAMLError, ValueError, RecursionError) as problem:
            error = error or (problem if isinstance(problem, yaml.YAMLError) else yaml.YAMLError(str(problem)))
            if len(source) > 100_000:
                break
    return None, error


def _is_deep(source: str) -> bool:
    if max((len(found.group()) for found in _INDENT.finditer(source)), default=0) > _DEEP:
        return True
    depth = 0
    for found in re.finditer(r"[\[\]{}]", source):
        depth = depth + 1 if found.group() in "[{" else max(0, depth - 1)
        if depth > _DEEP:
            return True
    return False


def _results_block(source: str) -> tuple[int, str]:
    """The part of the front matter under its model-index key, with its offset; empty if there is none."""
    keys = list(_KEY_LINE.finditer(source))
    for position, found in enumerate(keys):
        if found["key"].replace("_", "-").casefold() == "model-index":
            end = keys[position + 1].start() if position + 1 < len(keys) else len(source)
            return found.start(), source[found.start() : end]
    return 0, ""


def _repair(block: str) -> tuple[yaml.MappingNode | None, list[int]]:
    """Blank out the line where the parser stops, and parse again: the other entries stay readable."""
    lines = block.split("\n")
    removed: list[int] = []
    for _ in range(_REPAIRS):
        root, error = _compose("\n".join(lines))
        if root is not None:
            return root, sorted(removed)
        line = _culprit(error, lines)
        if line is None:
            return None, sorted(removed)
        removed.append(line)
        lines[line] = " " * len(lines[line])  # offsets into the card must stay what they are
    return None, sorted(removed)


def _culprit(error: yaml.YAMLError | None, lines: list[str]) -> int | None:
    marks: list[Any] = [getattr(error, "problem_mark", None), getattr(error, "context_mark", None)]
    context = str(getattr(error, "context", "") or "")
    if any(word in context for word in ("scalar", "simple key", "flow")):  # it began where it was never closed
        marks.reverse()
    for mark in marks:
        if mark is None:
            continue
        line = min(int(mark.line), len(lines) - 1)
        while line > 0 and not lines[line].strip():
            line -= 1
        if lines[line].strip() and not _INDEX_LINE.match(lines[line]):
            return line
    return None


def _message(error: yaml.YAMLError | None) -> str | None:
    if error is None:
        return None
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n")[0]
    return f"{problem} (line {mark.line + 1} of the front matter)" if mark else str(problem)


def entries(node: yaml.Node | None) -> Iterator[yaml.Node]:
    """The items of a sequence; a single mapping or scalar stands for a sequence of one."""
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif node is not None:
        yield node


def children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """The entries of a mapping node by their key's text; the last of two equal keys wins. Empty for other nodes."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {key.value: value for key, value in node.value if isinstance(key, yaml.ScalarNode)}


def scalar(node: yaml.Node | None) -> str | None:
    """The text of a scalar node, None for other nodes and for YAML's null."""
    if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
        return None
    return str(node.value)
