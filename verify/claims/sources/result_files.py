"""Claims in files beside the card: ``.eval_results/*.yaml`` of the Hub, and the Trainer's ``*_results.json``.

Format of the first: https://github.com/huggingface/hub-docs/blob/main/docs/hub/eval-results.md. It names no metric, no
unit and no split; the metric is the usual one of the benchmark, and an entry about an unknown benchmark is a candidate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import yaml

from verify.claims.form.frontmatter import Lines, children, compose, entries, scalar
from verify.claims.form.values import read_number
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.types import Evidence, Setting, Source

_EVAL_RESULTS = re.compile(r"(?:^|/)\.eval_results/[^/]+\.ya?ml$")
_JSON = re.compile(r"(?:^|/)(?P<kind>[\w-]*)_results\.json$")
_LARGEST = 2_000_000
_MOST = 5_000
_PAIR = re.compile(
    r"\"(?P<name>[^\"\n]{1,120})\"[ \t]*:[ \t]*(?P<value>[^\s,{}\[\]\"]{1,60})[ \t]*,?[ \t]*$", re.MULTILINE
)
_PREFIX = re.compile(r"^(eval|test|predict|validation|val|train)[_ -]")


def is_eval_results(file: str) -> bool:
    return bool(_EVAL_RESULTS.search(file))


def is_trainer_results(file: str) -> bool:
    found = _JSON.search(file)
    return bool(found) and found is not None and found["kind"] != "train"


def read_eval_results(text: str, file: str, vocabulary: Vocabulary) -> tuple[list[Reading], list[Reading]]:
    """The entries of one ``.eval_results`` file: claims, and candidates whose metric cannot be told."""
    lines = Lines(text)
    claims: list[Reading] = []
    candidates: list[Reading] = []
    root = compose(text) if len(text) <= _LARGEST else None
    for entry in entries(root):
        fields = children(entry)
        inner = children(fields.get("data"))
        if inner and "value" in inner:
            fields = inner
        reading, known = _entry(fields, lines, file, vocabulary)
        if reading and len(claims) + len(candidates) < _MOST:
            (claims if known else candidates).append(reading)
    return claims, candidates


def _entry(
    fields: dict[str, yaml.Node], lines: Lines, file: str, vocabulary: Vocabulary
) -> tuple[Reading | None, bool]:
    node = fields.get("value")
    text = scalar(node)
    data = children(fields.get("dataset"))
    name = scalar(data.get("id")) or scalar(fields.get("dataset"))
    number = read_number(text) if text else None
    if number is None or node is None or not name:
        return None, False
    line = lines.line(node.start_mark.index)
    content = lines.content(line)
    if number.literal not in content:
        return None, False
    task = scalar(data.get("task_id"))
    benchmark = vocabulary.benchmark(task or name) or vocabulary.benchmark(name)
    metric = vocabulary.usual_metric(benchmark) if benchmark else Metric("score", "unknown", True)
    settings: dict[str, Setting] = {"task_id": task} if task else {}
    if note := scalar(fields.get("notes")):
        settings["notes"] = note[:200]
    told = (
        f"the format names no metric; {metric.name} is the usual one of {benchmark.name}"
        if benchmark
        else "the format names no metric, and this benchmark's is not known"
    )
    reading = Reading(
        metric=metric,
        number=number,
        evidence=Evidence(Source.EVAL_RESULTS, file, line, line, quote(content, number.literal), number.literal),
        context=Context(dataset=name, settings=settings),
        block=f"{file}:{line}",
        verify_token=scalar(fields.get("verifyToken")),
        date=scalar(fields.get("date")),
        notes=(told,),
    )
    return reading, benchmark is not None


def read_trainer_results(text: str, file: str, context: Context, vocabulary: Vocabulary) -> Iterator[Reading]:
    """The scores in a results file of the Trainer: ``eval_accuracy``, ``test_f1``, ``predict_loss``.

    ``context`` is the data set of the card's metadata, which the same run wrote.
    """
    if len(text) > _LARGEST:
        return
    lines = Lines(text)
    kind = _JSON.search(file)
    for found in _PAIR.finditer(text):
        name, number = found["name"], read_number(found["value"])
        prefix = _PREFIX.match(name)
        if number is None or vocabulary.is_not_metric(name) or (prefix and prefix.group(1) == "train"):
            continue
        label = vocabulary.label(_PREFIX.sub("", name))
        if not label.known or key(name) in ("epoch", "step"):
            continue
        source = prefix.group(1) if prefix else (kind["kind"] if kind else "")
        split = {"test": "test", "predict": "test", "validation": "validation", "val": "validation"}.get(source)
        line = lines.line(found.start("value"))
        yield Reading(
            metric=label.metric,
            number=number,
            evidence=Evidence(
                Source.EVAL_LIST, file, line, line, quote(lines.content(line), number.literal), number.literal
            ),
            context=replace(context, split=split),
            block=file,
            notes=("the data set stands in the card's metadata",) if context.dataset else (),
        )
