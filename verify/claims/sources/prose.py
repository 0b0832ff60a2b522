"""Scores in lines of the form "Metric: value", in text and in code blocks that report results."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from verify.claims.form.document import BULLET, Block, plain
from verify.claims.form.frontmatter import Lines
from verify.claims.form.values import NUMBER, from_match
from verify.claims.meaning.labels import Said, read_label
from verify.claims.meaning.mentions import mentions, sensible
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.surroundings import Surroundings, same_name
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.claims.meaning.words import words as word_list
from verify.claims.sources.sentences import DIGIT, LONGEST_LINE, read_sentences
from verify.types import Evidence, Source

_ASSIGNED = re.compile(
    r"(?P<label>[^:=：,;|{}\n]{1,90}?)[ \t]*(?:[:：=]|->|→)[ \t]*[\"'`*~≈ ]{0,4}"
    + NUMBER.pattern
    + r"(?P<percent>[ \t]*[%％])?"
)
_AFTER = re.compile(
    r"\s*(?:(?:±|\+/-|\+-)\s*[\d.,]+\s*%?)?\s*(?:[A-Za-z][\w ()-]{0,30}[:=]|$|[,;|)}\]\"'`*.]|\("
    r"|/\s*\D|(?:and|on|for|in|with)\b|[-–—] |<)"
)
_SIGN = re.compile(r"[:：=→]|->")
_GROUP = re.compile(r"^(?P<label>[^:：.|]{2,80})[:：]\s*$")
_CODE = word_list("programs")
_OVERALL = re.compile(r"^(?:overall|total|average|macro|micro|weighted|all)\b", re.IGNORECASE)
_AVERAGES = frozenset(("macro", "micro", "weighted"))


@dataclass
class TextReadings:
    """What one block of text states; ``group`` is the label of the lines that follow, as "Primary outcomes:"."""

    claims: list[Reading] = field(default_factory=list)
    candidates: list[Reading] = field(default_factory=list)
    group: str | None = None


def read_text(
    block: Block, lines: Lines, around: Surroundings, file: str, taken: set[int], group: str | None
) -> TextReadings:
    """Read a paragraph or a list: first its lines as assignments, then what is left as sentences."""
    result = TextReadings(group=group)
    assigned: set[int] = set()
    for line in range(block.line, block.end_line + 1):
        content = lines.content(line)
        if line in taken:
            assigned.add(line)
            continue
        if len(content) > LONGEST_LINE:
            continue
        text = plain(BULLET.sub("", content))
        if label := _GROUP.match(text):
            result.group = label["label"].strip()
            continue
        found = list(_assignments(text, content, line, around, file, result.group))
        result.claims += found
        if found and len(found) == sum(1 for _ in NUMBER.finditer(text)):
            assigned.add(line)
    if not _is_reference(around):
        read = {(reading.evidence.line, reading.number.literal) for reading in result.claims}
        for reading in read_sentences(block, lines, around, file, assigned):
            if (reading.evidence.line, reading.number.literal) not in read:
                result.claims.append(reading)
    return result


def read_assignments(block: Block, lines: Lines, around: Surroundings, file: str) -> list[Reading]:
    """Reported results in a code block, as ``eval_accuracy = 0.9894``: not program text, and mostly assignments."""
    if block.end_line - block.line > 400:
        return []
    program = block.info.split(" ")[0].strip("{}.") in _CODE
    readings: list[Reading] = []
    filled = 0
    matched = 0
    group: str | None = None
    for line in range(block.line, block.end_line + 1):
        content = lines.content(line)
        text = " ".join(content.split())
        if not text or text.startswith(("```", "~~~")) or len(text) > LONGEST_LINE:
            continue
        filled += 1
        if opened := re.match(r"[\"']?([\w .-]{2,40})[\"']?\s*[:=]?\s*[\[{(]?\s*$", text):
            group = opened.group(1).strip()
            matched += 1
            continue
        found = list(_assignments(text, content, line, around, file, group))
        if program:
            matched += bool(found) or bool(group and read_label(group, around.vocabulary).split == "train")
            readings += found
            continue
        if found or _ASSIGNED.search(text) or text in "{}[]()," or re.match(r"[\"']?[\w .-]{1,60}[\"']?\s*[:=]", text):
            matched += 1
        readings += found
    # Marked as program text, it must hold hardly anything but scores.
    return readings if matched * (1.25 if program else 2) > filled else []


def _is_reference(around: Surroundings) -> bool:
    return any(
        re.search(r"\b(?:citation|references?|bibtex|licen[cs]e|acknowledg\w*)\b", heading, re.I)
        for heading in around.headings[-1:]
    )


def _assignments(
    text: str, content: str, line: int, around: Surroundings, file: str, group: str | None
) -> Iterator[Reading]:
    """The ``label: number`` pairs of one line."""
    if around.hyperparameters or not DIGIT.search(text) or not _SIGN.search(text):
        return
    used = 0
    grouped_split = read_label(group, around.vocabulary).split if group else None
    for found in _ASSIGNED.finditer(text):
        after = text[found.end() :]
        if not _AFTER.match(after):
            continue
        number = from_match(found, bool(found["percent"]))
        if number is None or number.literal not in content or found.group("sign") == "+":
            continue
        label = found["label"].strip(" \t\"'`*({[-•>")
        label = re.split(r"[.!?]\s+|\s\band\b\s", label)[-1].strip()
        said = read_label(label, around.vocabulary)
        if grouped_split == "train":
            continue
        metric, notes = _metric_of(said, label, around)
        if metric is None and key(label) in _AVERAGES:
            metric = _averaged_before(text[: found.start()], key(label), around.vocabulary)
        if metric is None or not sensible(number, metric, found["percent"] is not None):
            continue
        if said.split == "train" or re.match(r"train", label, re.I):
            continue
        trailing = _trailing(after, around.vocabulary)
        context = _context(said, trailing, around, None if _OVERALL.match(label) else group)
        position = content.find(number.literal, used)
        used = max(position, 0)
        evidence = Evidence(_source(label), file, line, line, quote(content, number.literal), number.literal)
        yield Reading(
            metric=metric,
            number=number,
            evidence=evidence,
            context=context,
            block=f"{file}:lines:{around.place}",
            header=label if said.percent else "",
            notes=notes,
        )


def _averaged_before(text: str, average: str, vocabulary: Vocabulary) -> Metric | None:
    """The average of the metric named before, as in "The AUC score is: micro = 0.97 and macro: 0.96"."""
    named = [mention.metric for mention in mentions(text, vocabulary)]
    return vocabulary.canonical.get(f"{named[0].name}_{average}") if named else None


def _source(label: str) -> Source:
    return Source.EVAL_LIST if re.match(r"(?:eval|test|predict)_", label) else Source.PROSE


def _metric_of(said: Said, label: str, around: Surroundings) -> tuple[Metric | None, tuple[str, ...]]:
    if said.not_score or said.average or around.vocabulary.is_not_metric(label):
        return None, ()
    if said.metrics:
        if len(key(label)) == 1:
            return (said.metrics[0], ()) if around.has_results else (None, ())
        return said.metrics[0], ()
    if said.benchmark and (around.has_results or "score" in label.casefold()):
        if around.metrics:
            return around.metrics[0], ("the metric stands in the heading",)
        usual = around.vocabulary.usual_metric(said.benchmark)
        return usual, (f"the card names no metric; {usual.name} is the usual one of {said.benchmark.name}",)
    if around.heading_metrics and not said.rest:
        return around.heading_metrics[0], ("the metric stands in the heading",)
    if (
        around.usual_metric
        and not said.rest
        and key(label)
        and re.search(r"\b(?:results?|scores?)\b", label, re.IGNORECASE)
    ):
        return around.usual_metric, ("the metric stands in the card's metadata",)
    return None, ()


def _trailing(after: str, vocabulary: Vocabulary) -> Said | None:
    """What stands in parentheses after the number, or "on the test set"."""
    found = re.match(r"\s*%?\s*[(\[]([^()\[\]]{1,60})[)\]]", after) or re.match(
        r"\s*%?\s*(?:on|for|in) (?:the )?([^,;.()]{2,60})", after
    )
    return read_label(found.group(1), vocabulary) if found else None


def _context(said: Said, trailing: Said | None, around: Surroundings, group: str | None) -> Context:
    base = around.context
    grouped = read_label(group, around.vocabulary) if group else None
    parts = [part for part in (said, trailing, grouped) if part]
    dataset = next((part.dataset for part in parts if part.dataset), None)
    split = next((part.split for part in parts if part.split), None) or base.split
    config = None
    if grouped and grouped.rest and not grouped.metrics and not grouped.benchmark and len(grouped.rest.split()) <= 6:
        config = grouped.rest
    settings = dict(around.settings)
    for part in reversed(parts):
        settings |= part.settings
    if dataset is None or same_name(dataset, base):
        return Context(base.task, base.dataset, base.dataset_name, config, split, settings)
    return Context(dataset=dataset, config=config, split=split, settings=settings)
