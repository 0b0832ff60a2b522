"""Claims corrected or added by hand: a small YAML file passed with ``claims=FILE``.

- claim: 0123456789abcdef        # the claim_id that `verify claims --json` prints
  dataset: nyu-mll/glue
  config: sst2
  split: validation
- drop: fedcba9876543210         # no claim of this model
- metric: accuracy               # a claim that the card makes and no rule could read
  value: "91.3"
  unit: percent
  dataset: imdb
  split: test
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from verify.claims.form.frontmatter import children, compose, entries, scalar
from verify.claims.form.values import read_number, unit_of
from verify.claims.meaning.vocabulary import Vocabulary, load
from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.types import Claim, Evidence, Interval, Setting, Source, Unit

_FIELDS = ("metric", "value", "unit", "task", "dataset", "dataset_name", "config", "split", "subject")
_KEYS = (*_FIELDS, "claim", "drop", "settings", "note")
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Correction:
    """One entry: of a known claim (``claim``), the removal of one (``drop``), or a new claim (neither)."""

    line: int
    claim: str | None = None
    drop: str | None = None
    fields: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    note: str | None = None


def load_corrections(path: Path) -> list[Correction]:
    """Read a corrections file. Raises :class:`verify.errors.UsageError` naming file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The claims file {path} could not be read: {error}. Give claims=FILE a YAML file.") from error
    root = compose(text) if len(text) <= _LARGEST else None
    if not isinstance(root, yaml.SequenceNode):
        raise UsageError(
            f"The claims file {path} must be a YAML list of entries, each a mapping such as {{claim: ID, split: test}}."
        )
    return [_correction(entry, path) for entry in entries(root)]


def _correction(entry: yaml.Node, path: Path) -> Correction:
    line = entry.start_mark.line + 1
    if not isinstance(entry, yaml.MappingNode):
        raise UsageError(
            f"{path}, line {line}: an entry must be a mapping, with keys such as claim, drop, metric, value."
        )
    found: dict[str, str] = {}
    settings: dict[str, Setting] = {}
    for name, node in children(entry).items():
        where = f"{path}, line {node.start_mark.line + 1}"
        if name not in _KEYS:
            raise UsageError(f"{where}: there is no key {name}. {suggestion(name, _KEYS)}")
        if name == "settings":
            settings = {inner: scalar(value) for inner, value in children(node).items()}
            continue
        text = scalar(node)
        if text is None:
            raise UsageError(f"{where}: {name} needs a single value.")
        if name == "value" and read_number(text) is None:
            raise UsageError(f"{where}: value is {text!r}, which is no number. Write it as the card prints it.")
        if name == "unit" and text not in [str(unit) for unit in Unit]:
            raise UsageError(f"{where}: unit is {text!r}. {suggestion(text, [str(unit) for unit in Unit])}")
        found[name] = text
    claim, drop, note = (found.pop(name, None) for name in ("claim", "drop", "note"))
    if claim is None and drop is None and not {"metric", "value"} <= found.keys():
        raise UsageError(
            f"{path}, line {line}: an entry without claim or drop adds a claim, and needs metric and value."
        )
    if drop is not None and (found or claim):
        raise UsageError(f"{path}, line {line}: drop removes a claim, so it takes no other key but note.")
    return Correction(line, claim, drop, found, settings, note)


def apply_corrections(
    claims: Sequence[Claim],
    corrections: Iterable[Correction],
    model: str,
    path: Path,
    *,
    vocabulary: Vocabulary | None = None,
) -> list[Claim]:
    """The claims with the corrections made. Raises :class:`verify.errors.UsageError` for an unknown claim id."""
    words = vocabulary or load()
    known = {claim.claim_id: position for position, claim in enumerate(claims)}
    result: list[Claim | None] = list(claims)
    for correction in corrections:
        identifier = correction.claim or correction.drop
        if identifier is None:
            result.append(_new(correction, model, path, words))
            continue
        if identifier not in known:
            raise UsageError(
                f"{path}, line {correction.line}: no claim has the id {identifier}; `verify claims {model} --json` "
                "prints the ids. An id changes when the card's number changes."
            )
        place = known[identifier]
        current = result[place]
        result[place] = None if correction.drop or current is None else _changed(current, correction, path, words)
    return [claim for claim in result if claim is not None]


def _changed(claim: Claim, correction: Correction, path: Path, vocabulary: Vocabulary) -> Claim:
    fields: dict[str, Any] = {
        name: text for name, text in correction.fields.items() if name not in ("value", "unit", "metric")
    }
    if metric := correction.fields.get("metric"):
        fields["metric"] = vocabulary.label(metric).metric.name
    if text := correction.fields.get("value"):
        fields |= _value(text)
    if unit := correction.fields.get("unit"):
        fields["unit"] = Unit(unit)
    if correction.settings:
        fields["settings"] = {**claim.settings, **correction.settings}
    note = correction.note or f"corrected by hand in {path.name}, line {correction.line}"
    return replace(claim, **fields, notes=(*claim.notes, note))


def _value(text: str) -> dict[str, Any]:
    number = read_number(text)
    if number is None:
        return {}
    return {"value": number.value, "literal": number.literal, "interval": number.interval}


def _new(correction: Correction, model: str, path: Path, vocabulary: Vocabulary) -> Claim:
    fields = dict(correction.fields)
    metric = vocabulary.label(fields.pop("metric")).metric
    text = fields.pop("value")
    number = read_number(text)
    unit = fields.pop("unit", None)
    shown = _value(text)
    chosen = Unit(unit) if unit else (unit_of(number, metric.unit)[0] if number else Unit.RAW)
    interval: Interval = shown["interval"]
    evidence = Evidence(Source.PROSE, path.name, correction.line, correction.line, text, shown["literal"])
    return Claim(
        model=model,
        metric=metric.name,
        value=shown["value"],
        literal=shown["literal"],
        unit=chosen,
        interval=interval,
        evidence=(evidence,),
        settings=correction.settings,
        notes=(correction.note or f"added by hand in {path.name}, line {correction.line}",),
        task=fields.get("task"),
        dataset=fields.get("dataset"),
        dataset_name=fields.get("dataset_name"),
        config=fields.get("config"),
        split=fields.get("split"),
        subject=fields.get("subject"),
    )
