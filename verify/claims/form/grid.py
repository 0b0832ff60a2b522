"""Markdown and HTML tables as rectangular grids of cells, each with the place where it stands."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from verify.claims.form.document import Block, is_separator, plain
from verify.claims.form.frontmatter import Lines

_MOST_CELLS = 400_000
_WIDEST = 1_000
_SPAN = 200
_CELL_TAG = re.compile(r"<(t[dh])(?=[\s/>])", re.IGNORECASE)
_TARGET = re.compile(r"\]\(\s*<?([^()\s<>]{1,500})|href\s*=\s*[\"']([^\"']{1,500})")
_REPORT_HEAD = re.compile(r"\s*precision\s+recall\s+f1-score(?:\s+support)?\s*$")
_REPORT_ROW = re.compile(r"\s*(?P<label>\S(?:[^\n]{0,80}?\S)??)\s{2,}(?P<values>\d[\d.]*(?:\s+\d[\d.]*){0,5})\s*$")
_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)


@dataclass(frozen=True)
class Cell:
    """One cell: its text without markup, its raw text, and where the raw text stands."""

    text: str = ""
    raw: str = ""
    line: int = 0
    end_line: int = 0
    header: bool = False

    @property
    def target(self) -> str | None:
        """The address of the cell's first link."""
        found = _TARGET.search(self.raw) if "(" in self.raw or "href" in self.raw else None
        return (found.group(1) or found.group(2)) if found else None


EMPTY = Cell()


@dataclass(frozen=True)
class Grid:
    """A table: ``header`` rows above ``rows``, all of one width. A cell that spans several places stands in each."""

    header: list[list[Cell]]
    rows: list[list[Cell]]
    line: int
    end_line: int
    caption: str = ""
    width: int = field(default=0)


def read_table(block: Block, lines: Lines) -> Grid | None:
    """The grid of a table block; None if it has no row below its header."""
    grid = _read_html(block, lines) if block.kind == "html-table" else _read_markdown(block, lines)
    return grid if grid and grid.rows and grid.width > 0 else None


def _read_markdown(block: Block, lines: Lines) -> Grid | None:
    header: list[list[Cell]] = []
    rows: list[list[Cell]] = []
    seen = False
    for line in range(block.line, block.end_line + 1):
        content = lines.content(line)
        if not content.strip():
            continue
        if is_separator(content):
            if not seen:
                header, rows, seen = rows[-1:], [], True
            continue
        if "|" not in content and not seen:
            continue
        cells = [Cell(plain(_BREAK.sub(" ", part)), part, line, line) for part in split_row(content)]
        rows.append(cells[:_WIDEST])
    return _rectangular(header, rows, block)


def _rectangular(header: list[list[Cell]], rows: list[list[Cell]], block: Block, caption: str = "") -> Grid | None:
    width = max((len(row) for row in (header or rows)), default=0)
    if not header and rows:
        width = max(len(row) for row in rows)
    if width * (len(rows) + 1) > _MOST_CELLS:
        rows = rows[: _MOST_CELLS // max(width, 1)]
    fitted = [(row + [EMPTY] * (width - len(row)))[:width] for row in rows]
    above = [(row + [EMPTY] * (width - len(row)))[:width] for row in header]
    return Grid(above, fitted, block.line, block.end_line, caption, width)


def split_row(line: str) -> list[str]:
    """The cells of one Markdown table row: split at pipes that are neither escaped nor inside a code span."""
    line = line.strip()
    if line.startswith("|"):
        line = line[1:]
    if line.endswith("|") and not line.endswith("\\|"):
        line = line[:-1]
    if "\\" not in line and "`" not in line:
        return line.split("|")
    cells: list[str] = []
    start = 0
    in_code = False
    escaped = False
    closed = line.count("`") % 2 == 0
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "`" and closed:
            in_code = not in_code
        elif character == "|" and not in_code:
            cells.append(line[start:position])
            start = position + 1
    cells.append(line[start:])
    return cells


def _read_html(block: Block, lines: Lines) -> Grid | None:
    start = lines.start(block.line)
    end = lines.starts[block.end_line] if block.end_line < len(lines.starts) else len(lines.text)
    source = lines.text[start:end]
    # The parser keeps no positions, so every cell's tag is given its own offset before parsing.
    offsets: list[int] = []

    def mark(found: re.Match[str]) -> str:
        offsets.append(start + found.start())
        return f'<{found.group(1)} data-cell="{len(offsets) - 1}"'

    tree = LexborHTMLParser(_CELL_TAG.sub(mark, source))
    table = tree.css_first("table")
    if table is None:
        return None
    caption = table.css_first("caption")
    placed = _place(table, offsets, lines, end)
    header, rows = _split_header(placed)
    return _rectangular(header, rows, block, plain(caption.text()) if caption else "")


def _place(table: LexborNode, offsets: list[int], lines: Lines, end: int) -> list[list[Cell]]:
    """The table's cells in a rectangle, spanning cells repeated over every place that they cover."""
    grid: list[list[Cell]] = []
    pending: dict[int, tuple[int, Cell]] = {}
    total = 0
    for row in table.css("tr"):
        cells: list[Cell] = []
        column = 0

        def fill(until: int | None, cells: list[Cell] = cells) -> None:
            while len(cells) in pending and (until is None or len(cells) < until):
                left, cell = pending[len(cells)]
                if left > 1:
                    pending[len(cells)] = (left - 1, cell)
                else:
                    del pending[len(cells)]
                cells.append(cell)

        for node in row.iter(include_text=False):
            if node.tag not in ("td", "th") or column > _WIDEST:
                continue
            fill(None)
            cell = _html_cell(node, offsets, lines, end)
            for _ in range(_spans(node, "colspan")):
                if (height := _spans(node, "rowspan")) > 1:
                    pending[len(cells)] = (height - 1, cell)
                cells.append(cell)
            column = len(cells)
        fill(None)
        total += len(cells)
        if total > _MOST_CELLS:
            break
        if cells:
            grid.append(cells)
    return grid


def _spans(node: LexborNode, name: str) -> int:
    value = node.attributes.get(name) or "1"
    return max(1, min(int(value), _SPAN)) if value.isascii() and value.strip().isdigit() else 1


def _html_cell(node: LexborNode, offsets: list[int], lines: Lines, end: int) -> Cell:
    marked = node.attributes.get("data-cell") or ""
    number = int(marked) if marked.isdigit() and int(marked) < len(offsets) else -1
    text = node.text(separator=" ", strip=False) or ""
    if number < 0:
        return Cell(plain(text), text, 0, 0, node.tag == "th")
    start = offsets[number]
    finish = offsets[number + 1] if number + 1 < len(offsets) else end
    raw = lines.text[start : min(finish, start + 4000)]
    content = raw.rstrip()
    return Cell(plain(text), content, lines.line(start), lines.line(start + max(len(content) - 1, 0)), node.tag == "th")


def _split_header(rows: list[list[Cell]]) -> tuple[list[list[Cell]], list[list[Cell]]]:
    """Header rows are leading rows of <th>, or else the first row; a row of one merged cell is none."""
    count = 0
    for row in rows[:4]:
        if not all(cell.header for cell in row):
            break
        count += 1
    count = count or 1
    return rows[:count], rows[count:]


def read_report(block: Block, lines: Lines) -> Grid | None:
    """The grid of a scikit-learn or seqeval classification report: columns of a code block, set apart by spaces."""
    start = next((line for line in range(block.line, block.end_line + 1) if _REPORT_HEAD.match(lines.content(line))), 0)
    if not start:
        return None
    heads = re.split(r"\s{2,}", lines.content(start).strip())
    names = ["", *heads]
    rows: list[list[Cell]] = []
    for line in range(start + 1, block.end_line + 1):
        content = lines.content(line)
        row = _REPORT_ROW.match(content)
        if not row:
            if content.strip() and not content.strip().startswith("```"):
                break
            continue
        values = row["values"].split()
        if len(values) > len(heads):
            break
        parts = [row["label"].strip(), *[""] * (len(heads) - len(values)), *values]
        rows.append([Cell(part, part, line, line) for part in parts])
    header = [Cell(name, name, start, start) for name in names]
    return Grid([header], rows, block.line, block.end_line, width=len(names)) if rows else None
