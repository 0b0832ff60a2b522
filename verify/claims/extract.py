"""From the files of a model repository to its claims: the one way in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from verify.claims.frontmatter import FrontMatter, Lines, read_front_matter
from verify.claims.group import Finding, contradictions, group
from verify.claims.lists import generated_by, read_lists
from verify.claims.metadata import datasets_of, read_model_index, tags_of
from verify.claims.reading import Context, Reading, settle_units
from verify.claims.vocabulary import Vocabulary, load
from verify.types import Claim

CARD = "README.md"


@dataclass(frozen=True)
class Extraction:
    """What a repository claims. ``candidates`` are numbers that may be claims, shown and never judged."""

    claims: tuple[Claim, ...]
    candidates: tuple[Claim, ...]
    findings: tuple[Finding, ...]


def read_claims(
    files: Mapping[str, str], model: str, revision: str | None = None, *, vocabulary: Vocabulary | None = None
) -> Extraction:
    """Read every claim out of ``files`` (repository-relative path to text). Pure, and raises on no text."""
    words = vocabulary or load()
    readings: list[Reading] = []
    findings: list[Finding] = []
    for file in sorted(files):
        text = files[file].replace("\r\n", "\n").replace("\r", "\n")
        if file.rsplit("/", 1)[-1].casefold() == CARD.casefold():
            readings += _read_card(text, file, words, findings)
    readings = settle_units(readings)
    claims = group(readings, model, revision)
    findings += contradictions(claims)
    return Extraction(tuple(claims), (), tuple(findings))


def _read_card(text: str, file: str, vocabulary: Vocabulary, findings: list[Finding]) -> list[Reading]:
    lines = Lines(text)
    front = read_front_matter(text)
    if front.problem:
        findings.append(_broken(front, file))
    tags = tags_of(front)
    card = generated_by(text, front.body, tags, vocabulary)
    index = read_model_index(front, lines, vocabulary, file=file, by_trainer=card.trainer)
    datasets = [name for name in datasets_of(front) if vocabulary.dataset(name)]
    own = datasets[0] if len(datasets) == 1 else None
    listed = read_lists(
        text, front.body, lines, vocabulary, file=file, card=card, context=_one_dataset(index), own_dataset=own
    )
    return [*index, *listed]


def _one_dataset(index: list[Reading]) -> Context:
    """The data set and config of the metadata if it names exactly one, else an empty context."""
    named = {(reading.context.dataset, reading.context.config) for reading in index}
    if len(named) != 1:
        return Context()
    first = index[0].context
    return Context(task=first.task, dataset=first.dataset, dataset_name=first.dataset_name, config=first.config)


def _broken(front: FrontMatter, file: str) -> Finding:
    left_out = f"; left out line {', '.join(map(str, front.repaired))}" if front.repaired else ""
    return Finding("broken-metadata", f"The YAML at the top of {file} is malformed: {front.problem}{left_out}.")
