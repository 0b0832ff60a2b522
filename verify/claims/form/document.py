"""A card's body as blocks with line numbers: headings, text, code, Markdown tables, HTML tables.

markdown-it-py parses the block structure (CommonMark and GFM tables); inline markup is left to :func:`plain`, because
only its text matters here and inline parsing costs more than all the rest.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from verify.claims.form.frontmatter import Lines

_TAG = re.compile(r"<(?:/?[a-zA-Z][^<>]{0,2000}|!--[^<>]{0,4000})>")
_SUPERSCRIPT = re.compile(r"<sup>([^<>]{0,40})</sup>", re.IGNORECASE)
_IMAGE = re.compile(r"!\[[^\]\n]{0,500}\]\([^()\n]{0,1000}\)")
_LINK = re.compile(r"\[([^\[\]\n]{0,500})\]\([^()\n]{0,1000}(?:\([^()\n]{0,200}\)[^()\n]{0,200})?\)")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]{1,40}\]")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_EMPHASIS = re.compile(r"\*{1,3}|(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)|`+|~~")
_HTML_HEADING = re.compile(r"<h([1-6])\b[^<>]{0,300}>([^\n]{0,300}?)(?:</h[1-6]>|$)", re.IGNORECASE)
_PIPES = re.compile(r"^[^|\n]*\|[^|\n]*\|", re.MULTILINE)
_SEPARATOR = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
BULLET = re.compile(r"^[\s>]*(?:[-*+•·]|\d{1,2}[.)])\s+")
_TABLE_START = re.compile(r"<table\b", re.IGNORECASE)
_TABLE_END = re.compile(r"</table\s*>", re.IGNORECASE)


@dataclass(frozen=True)
class Block:
    """Lines ``line`` to ``end_line`` (1-based, inclusive). ``kind``: heading, text, code, table, html-table, rule."""

    kind: str
    line: int
    end_line: int
    text: str = ""
    level: int = 0
    info: str = ""


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.disable(["inline", "text_join"], True)
    return parser


def blocks(text: str, body: int, lines: Lines) -> list[Block]:
    """The blocks of ``text`` from offset ``body`` on; line numbers are those of the whole text."""
    before = lines.line(body) - 1 if body else 0
    source = text[lines.start(before + 1) :] if body else text
    if body:  # what is left of the closing line is no part of the body
        source = " " * min(body - lines.start(before + 1), 3) + text[body:]
    found: list[Block] = []
    until = 0
    for token in _parser().parse(source):
        if token.map is None or token.map[0] < until:
            continue
        first, last = token.map[0] + before + 1, max(token.map[1], token.map[0] + 1) + before
        for block in _of_token(token, first, last, lines):
            found.append(block)
            until = max(until, block.end_line - before)
    return found


def _of_token(token: Token, first: int, last: int, lines: Lines) -> Iterator[Block]:
    last = min(last, len(lines.starts))
    if token.type == "fence":
        yield Block("code", first, last, token.content, info=token.info.strip().casefold())
    elif token.type == "heading_open":
        yield Block("heading", first, last, _heading(_raw(lines, first, last)), int(token.tag[1:]))
    elif token.type == "table_open":
        yield Block("table", first, last)
    elif token.type == "hr":
        yield Block("rule", first, last)
    elif token.type == "html_block" or (token.type == "code_block" and token.content.lstrip().startswith("<")):
        yield from _html(first, last, lines)
    elif token.type == "code_block":
        yield Block("code", first, last, token.content)
    elif token.type == "inline":
        yield from _text(first, last, lines)


def _heading(raw: str) -> str:
    return plain(raw.split("\n")[0].strip().lstrip("#").rstrip("#"))


def _raw(lines: Lines, first: int, last: int) -> str:
    return "\n".join(lines.content(line) for line in range(first, last + 1))


def _text(first: int, last: int, lines: Lines) -> Iterator[Block]:
    raw = _raw(lines, first, last)
    if len(_PIPES.findall(raw)) >= 2 and any(is_separator(line) for line in raw.split("\n")):
        yield Block("table", first, last)
    else:
        yield Block("text", first, last, raw)


def _html(first: int, last: int, lines: Lines) -> Iterator[Block]:
    start = lines.start(first)
    end = lines.starts[last] if last < len(lines.starts) else len(lines.text)
    opening = _TABLE_START.search(lines.text, start, end)
    if opening:
        if lines.line(opening.start()) > first:
            yield from _html_text(first, lines.line(opening.start()) - 1, lines)
        closing = _TABLE_END.search(lines.text, opening.end())
        # An unclosed table ends where its HTML block ends.
        finish = lines.line(closing.start()) if closing else last
        yield Block("html-table", lines.line(opening.start()), finish)
        if finish < last:
            yield from _html(finish + 1, last, lines)
        return
    yield from _html_text(first, last, lines)


def _html_text(first: int, last: int, lines: Lines) -> Iterator[Block]:
    begin = first
    for line in range(first, last + 1):
        heading = _HTML_HEADING.search(lines.content(line))
        if heading:
            if line > begin:
                yield Block("text", begin, line - 1, _raw(lines, begin, line - 1))
            yield Block("heading", line, line, plain(heading.group(2)), int(heading.group(1)))
            begin = line + 1
    if begin <= last:
        yield Block("text", begin, last, _raw(lines, begin, last))


def is_separator(line: str) -> bool:
    """True for the line of dashes below a Markdown table's header."""
    return "-" in line and ("|" in line or ":" in line) and len(line) < 5000 and bool(_SEPARATOR.fullmatch(line))


def plain(text: str) -> str:
    """``text`` without its Markdown and HTML markup, on one line."""
    if "<" in text:
        text = _SUPERSCRIPT.sub(" ", text)
        text = _TAG.sub(" ", text)
    if "[" in text:
        text = _IMAGE.sub(" ", text)
        text = _LINK.sub(r"\1", text)
        text = _FOOTNOTE.sub("", text)
    if "&" in text:
        text = html.unescape(text)
    if "\\" in text:
        text = _ESCAPE.sub(r"\1", text)
    if "*" in text or "_" in text or "`" in text or "~" in text:
        text = _EMPHASIS.sub("", text)
    return " ".join(text.split())
