"""From the files of a model repository to its claims: the one way in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from verify.claims.form.frontmatter import FrontMatter, Lines, read_front_matter
from verify.claims.meaning.group import Finding, best_of_epochs, contradictions, group, scores_of_epochs
from verify.claims.meaning.reading import Context, Reading, settle_units
from verify.claims.meaning.vocabulary import Vocabulary, key, load
from verify.claims.sources.body import read_body
from verify.claims.sources.lists import generated_by, read_lists
from verify.claims.sources.metadata import datasets_of, read_model_index, tags_of
from verify.claims.sources.result_files import (
    is_eval_results,
    is_trainer_results,
    read_eval_results,
    read_trainer_results,
)
from verify.types import Claim, Source

CARD = "README.md"


@dataclass(frozen=True)
class Extraction:
    """What a repository claims. ``candidates`` are numbers that may be claims, shown and never judged.

    ``epochs`` is the card's own table of training epochs: for each metric its values in order, on the scale of
    :class:`verify.types.Score`.
    """

    claims: tuple[Claim, ...]
    candidates: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    epochs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


def read_claims(
    files: Mapping[str, str], model: str, revision: str | None = None, *, vocabulary: Vocabulary | None = None
) -> Extraction:
    """Read every claim out of ``files`` (repository-relative path to text). Pure, and raises on no text."""
    words = vocabulary or load()
    readings: list[Reading] = []
    candidates: list[Reading] = []
    findings: list[Finding] = []
    epochs: dict[str, tuple[float, ...]] = {}
    index = Context()
    for file in sorted(files):
        text = files[file].replace("\r\n", "\n").replace("\r", "\n")
        if file.rsplit("/", 1)[-1].casefold() == CARD.casefold():
            found, possible = _read_card(text, file, model, words, findings, epochs)
            readings += found
            candidates += possible
            index = index if index.dataset else _one_dataset([read for read in found if _in_metadata(read)])
    for file in sorted(files):
        text = files[file].replace("\r\n", "\n").replace("\r", "\n")
        if is_eval_results(file):
            found, possible = read_eval_results(text, file, words)
            readings += found
            candidates += possible
        elif is_trainer_results(file):
            readings += read_trainer_results(text, file, index, words)
    claims = group(settle_units(readings), model, revision)
    ids = {claim.claim_id for claim in claims}
    possible_claims = [claim for claim in group(settle_units(candidates), model, revision) if claim.claim_id not in ids]
    findings += contradictions(claims)
    return Extraction(tuple(claims), tuple(possible_claims), tuple(findings), epochs)


def _read_card(
    text: str,
    file: str,
    model: str,
    vocabulary: Vocabulary,
    findings: list[Finding],
    epochs: dict[str, tuple[float, ...]],
) -> tuple[list[Reading], list[Reading]]:
    lines = Lines(text)
    front = read_front_matter(text)
    if front.problem:
        findings.append(_broken(front, file))
    card = generated_by(text, front.body, tags_of(front), vocabulary)
    index = read_model_index(front, lines, vocabulary, file=file, by_trainer=card.trainer)
    datasets = [name for name in datasets_of(front) if vocabulary.dataset(name)]
    own = datasets[0] if len(datasets) == 1 else None
    one = _one_dataset(index)
    listed = read_lists(text, front.body, lines, vocabulary, file=file, card=card, context=one, own_dataset=own)
    listed = [_of_suite(reading, model, vocabulary) for reading in listed]
    body = read_body(
        text, front, lines, vocabulary, file=file, model=model, card=card, index=one, datasets=datasets, listed=listed
    )
    if body.cut_at:
        sentence = f"{file} is longer than any card needs to be: it was read up to line {body.cut_at}."
        findings.append(Finding("card-cut", sentence))
    if card.autotrain and body.default.dataset:
        listed = [_on_own_data(reading, body.default) for reading in listed]
    found = [*index, *listed, *body.claims]
    findings += best_of_epochs(found, body.epochs)
    epochs |= scores_of_epochs(body.epochs)
    kept, classes = _without_classes(found or body.curve)
    return kept, [*body.candidates, *classes]


def _without_classes(readings: list[Reading]) -> tuple[list[Reading], list[Reading]]:
    """Scores of single classes are claims only where the card gives no score over all of them."""
    overall = {reading.metric.name.split("_")[0] for reading in readings if "class" not in reading.context.settings}
    kept: list[Reading] = []
    classes: list[Reading] = []
    for reading in readings:
        single = "class" in reading.context.settings and reading.metric.name.split("_")[0] in overall
        (classes if single else kept).append(reading)
    return kept, classes


def _on_own_data(reading: Reading, default: Context) -> Reading:
    """AutoTrain validates on a part of the data that the card names elsewhere."""
    if reading.context.dataset:
        return reading
    return replace(reading, context=replace(reading.context, dataset=default.dataset))


def _in_metadata(reading: Reading) -> bool:
    return reading.evidence.source is Source.MODEL_INDEX


def _of_suite(reading: Reading, model: str, vocabulary: Vocabulary) -> Reading:
    """The task of a suite, taken from the model's name where the card names the suite alone."""
    context = reading.context
    tasks = vocabulary.suites.get(key((context.dataset or "").rsplit("/", 1)[-1]), ())
    if context.config or not tasks:
        return reading
    parts = {key(part) for part in re.split(r"[-_./]", model)} | {key(part) for part in re.findall(r"[a-z]+-\d", model)}
    named = [task for task in tasks if key(task) in parts]
    if len(named) != 1:
        return reading
    note = f"the task {named[0]} of {context.dataset} stands in the model's name only"
    return replace(reading, context=replace(context, config=named[0]), notes=(*reading.notes, note))


def _one_dataset(index: list[Reading]) -> Context:
    """The data set and config of the metadata if it names exactly one, else an empty context."""
    named = {(reading.context.dataset, reading.context.config) for reading in index}
    if len(named) != 1:
        return Context()
    first = index[0].context
    return Context(task=first.task, dataset=first.dataset, dataset_name=first.dataset_name, config=first.config)


def _broken(front: FrontMatter, file: str) -> Finding:
    left_out = f"; left out line {', '.join(map(str, front.repaired))}" if front.repaired else ""
    return Finding(
        "broken-metadata", f"The YAML at the top of {file} could not be read whole: {front.problem}{left_out}."
    )
