"""The Markdown part of a card, from top to bottom: headings give the context, tables and sentences the numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from verify.claims.form.document import Block, blocks, plain
from verify.claims.form.frontmatter import FrontMatter, Lines
from verify.claims.form.grid import read_report, read_table
from verify.claims.meaning.identity import identify, looks_like_model
from verify.claims.meaning.reading import Context, Reading
from verify.claims.meaning.surroundings import Surroundings, around_place
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.claims.sources.lists import GeneratedCard
from verify.claims.sources.metadata import base_models_of, metrics_of, names_of
from verify.claims.sources.prose import read_assignments, read_text
from verify.claims.sources.tables import TableReadings, read_results

_LONGEST_BODY = 300_000  # characters; several times the longest card known
_FINE_TUNED = re.compile(
    r"\b(?:fine-?\s?tun(?:ed|ing)|trained(?: and evaluated)?|evaluated)\b[^.\n]{0,200}?\b(?:on"
    r"|using|with|for) (?:the |our |an? )?[\"'“]?"
    r"(?P<name>[A-Z0-9][\w./+-]*(?: [A-Z0-9][\w./+-]*){0,4}|[a-z][\w.-]*)[\"'”]?\s+(?:[\w-]+ ){0,2}?(?:data"
    r" ?set|corpus|data)\b",
)

_USED = re.compile(
    r"\b(?:used|using|uses) (?:the )?(?P<name>[A-Z0-9][\w./+-]*(?: [A-Z0-9][\w./+-]*){0,3})\s+(?:data ?set|corpus)\b"
)
_TUNED_ON = re.compile(
    r"\bfine-?\s?tuned (?:[\w-]+ ){0,4}?on (?:the )?(?P<name>[\w][\w./+-]*(?: v?\d[\w.]*)?)", re.IGNORECASE
)


@dataclass
class BodyReadings:
    claims: list[Reading] = field(default_factory=list)
    candidates: list[Reading] = field(default_factory=list)
    curve: list[Reading] = field(default_factory=list)
    epochs: list[list[Reading]] = field(default_factory=list)
    default: Context = field(default_factory=Context)
    cut_at: int | None = None


def read_body(
    text: str,
    front: FrontMatter,
    lines: Lines,
    vocabulary: Vocabulary,
    *,
    file: str,
    model: str,
    card: GeneratedCard,
    index: Context,
    datasets: list[str],
    listed: list[Reading],
) -> BodyReadings:
    """Every number of the body but those of the training tools' lists (``listed``), whose lines are left alone."""
    result = BodyReadings()
    taken = {reading.evidence.line for reading in listed}
    limit = min(len(text), front.body + _LONGEST_BODY)
    result.cut_at = lines.line(limit) if limit < len(text) else None
    found = blocks(text[:limit], front.body, lines)
    headings: list[tuple[int, str]] = []
    title = next((block.text for block in found if block.kind == "heading" and block.level == 1), "")
    identity = identify(model, names_of(front), title, text[front.body : limit], base_models_of(front))
    default = _default_context(found, card, index, datasets, vocabulary)
    result.default = default
    usual = _usual_metric(front, vocabulary)
    caption = ""
    group: str | None = None
    place = 0
    around: Surroundings | None = None
    last_place = (-1, "")
    for block in found:
        if block.kind == "heading":
            while headings and headings[-1][0] >= block.level:
                headings.pop()
            headings.append((block.level, block.text))
            caption, group, place = "", None, block.line
            continue
        told = caption if block.kind != "text" or caption.endswith((":", "：")) else ""
        if (place, told) != last_place or around is None:
            above = [text for _, text in headings]
            around = around_place(above, told, default, identity, vocabulary, place, usual)
            last_place = (place, told)
        if block.kind in ("table", "html-table"):
            if grid := read_table(block, lines):
                _add(result, read_results(grid, around, file))
            continue
        if block.kind == "code":
            if grid := read_report(block, lines):
                _add(result, read_results(grid, around, file))
            else:
                result.claims += read_assignments(block, lines, around, file)
        elif block.kind == "text":
            read = read_text(block, lines, around, file, taken, group)
            group = read.group
            result.claims += read.claims
            result.candidates += read.candidates
        caption = _caption(block, caption)
    return result


def _usual_metric(front: FrontMatter, vocabulary: Vocabulary) -> Metric | None:
    """The one metric under the card's ``metrics:``, for results whose label says no more than "Test Result"."""
    named = [metric for name in metrics_of(front) if (metric := vocabulary.metric(name))]
    return named[0] if len(named) == 1 else None


def _add(result: BodyReadings, table: TableReadings) -> None:
    result.claims += table.claims
    result.candidates += table.candidates
    result.curve = table.curve or result.curve
    result.epochs += table.epochs


def _caption(block: Block, before: str) -> str:
    """The text directly above a table or a code block."""
    if block.kind != "text":
        return "" if block.kind != "rule" else before
    return plain(block.text[-800:]) or before


def _default_context(
    found: list[Block], card: GeneratedCard, index: Context, datasets: list[str], vocabulary: Vocabulary
) -> Context:
    """The data that the card's numbers are about where nothing nearer says so.

    The metadata's one data set; or the one that a sentence says the model was tuned on; or the only one under
    ``datasets:``. Corpora for pre-training are left out: models are not scored on them.
    """
    if index.dataset:
        return Context(task=index.task, dataset=index.dataset, dataset_name=index.dataset_name)
    if card.dataset:
        return Context(dataset=card.dataset)
    usable = [name for name in datasets if key(name.rsplit("/", 1)[-1]) not in vocabulary.corpora]
    if len(usable) == 1:
        return Context(dataset=usable[0])
    for block in found:
        if block.kind != "text":
            continue
        text = plain(block.text[:4000])
        for pattern in (_FINE_TUNED, _USED):
            for sentence in pattern.finditer(text):
                name = sentence["name"].strip(" .")
                if not vocabulary.dataset(name) or key(name) in vocabulary.corpora:
                    continue
                if re.search(r"[A-Z\d_].*[A-Z\d_]", name) and not looks_like_model(name):
                    return Context(dataset=name)
        for sentence in _TUNED_ON.finditer(text):
            name = sentence["name"].strip(" .")
            if vocabulary.benchmark(name) and key(name) not in vocabulary.corpora:
                return Context(dataset=name)
    return Context()
