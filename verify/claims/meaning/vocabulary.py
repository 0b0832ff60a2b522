"""The vocabulary: one canonical name for each metric, and what its values look like.

The names stand in ``vocabulary.yaml`` beside this file; users extend them with files of the same form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import yaml

from verify.errors import UsageError

UNITS = ("fraction", "percent-scale", "rate", "raw", "unknown")
_FILE = Path(__file__).with_name("vocabulary.yaml")
_QUALIFIERS = {
    "test": "test",
    "testing": "test",
    "dev": "validation",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "train": "train",
    "training": "train",
    "eval": None,
    "evaluation": None,
    "predict": None,
    "overall": None,
    "final": None,
    "best": None,
    "model": None,
    "total": None,
    "average": None,
    "avg": None,
    "mean": None,
    "score": None,
    "set": None,
    "ner": None,
    "self": None,
    "reported": None,
    "result": None,
    "results": None,
}
_AVERAGES = {"macro": "macro", "micro": "micro", "weighted": "weighted", "binary": None, "none": None}
_WORD = re.compile(r"[^\W_]+(?:@[^\W_]+)?|@[^\W_]+")


@dataclass(frozen=True)
class Metric:
    """One metric: ``unit`` is its unit family (see vocabulary.yaml); ``greater_is_better`` None if unknown."""

    name: str
    unit: str
    greater_is_better: bool | None = None


@dataclass(frozen=True)
class MetricLabel:
    """What a card's label for a number says: the metric, and a split if the label names one ("Test WER")."""

    metric: Metric
    split: str | None = None
    known: bool = True


@dataclass(frozen=True)
class Benchmark:
    """A data set with its usual metric; ``unit`` is "raw" for ratings, else empty."""

    name: str
    metric: str
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Look-up tables, keyed by :func:`key`. Compared by identity, so that what labels say can be cached."""

    metrics: Mapping[str, Metric]
    not_metrics: frozenset[str]
    splits: Mapping[str, str]
    placeholders: frozenset[str]
    canonical: Mapping[str, Metric] = field(default_factory=dict)
    datasets: Mapping[str, Benchmark] = field(default_factory=dict)
    corpora: frozenset[str] = frozenset()
    suites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def metric(self, label: str) -> Metric | None:
        """The metric that ``label`` is an exact name of."""
        return self.metrics.get(key(label))

    def is_not_metric(self, label: str) -> bool:
        """True for quantities that stand among results but say nothing of quality: epoch, runtime, train loss."""
        squashed = key(label)
        return squashed in self.not_metrics or re.sub(r"^(eval|test|predict|validation|val)", "", squashed) in (
            self.not_metrics
        )

    def split(self, word: str | None) -> str | None:
        """The canonical split ("dev" is validation); other words are returned as they stand."""
        if not word or not word.strip():
            return None
        return self.splits.get(key(word), word.strip())

    def dataset(self, name: str | None) -> str | None:
        """``name`` unless it only holds the place of a name ("unknown", "None")."""
        if name is None or not key(name) or key(name) in self.placeholders:
            return None
        return name.strip()

    def benchmark(self, name: str) -> Benchmark | None:
        """The known data set called ``name``, with or without its organisation."""
        return self.datasets.get(key(name)) or self.datasets.get(key(name.rsplit("/", 1)[-1]))

    def usual_metric(self, benchmark: Benchmark) -> Metric:
        """What is commonly reported on a known data set."""
        metric = self.canonical[benchmark.metric]
        return Metric(metric.name, "raw", metric.greater_is_better) if benchmark.unit == "raw" else metric

    @lru_cache(maxsize=50_000)  # noqa: B019 - vocabularies live as long as the process
    def label(self, text: str, type_name: str = "") -> MetricLabel:
        """Read a label such as "Test WER", "F1 Macro" or "NER F Score"; the name wins over the YAML type.

        An unknown label keeps the card's own words as the metric's name, with ``known`` False.
        """
        text = text.strip()
        for part in (_without_parenthesis_hint(text), text):
            if found := self._read(part):
                return found
        if type_name:
            if found := self._read(type_name.strip()):
                return MetricLabel(found.metric, found.split or self._split_in(text))
            return MetricLabel(Metric(text or type_name, "unknown"), self._split_in(text), known=False)
        return MetricLabel(Metric(text, "unknown"), self._split_in(text), known=False)

    def _split_in(self, text: str) -> str | None:
        for word in _WORD.findall(text.casefold()):
            if _QUALIFIERS.get(word):
                return _QUALIFIERS[word]
        return None

    def _read(self, text: str) -> MetricLabel | None:
        if not text or len(text) > 120:
            return None
        if exact := self.metric(text):
            return MetricLabel(exact, self._split_in(text) if exact.name != "train" else None)
        words = _WORD.findall(text.casefold())
        split = None
        average = None
        kept: list[str] = []
        for word in words:
            if word in _AVERAGES:
                average = _AVERAGES[word] or average
            elif word in _QUALIFIERS:
                split = _QUALIFIERS[word] or split
            else:
                kept.append(word)
        if not kept or len(kept) > 6:
            return None
        base = self.metric("".join(kept))
        if base is None:
            return None
        if average and (averaged := self.canonical.get(f"{base.name}_{average}")):
            base = averaged
        return MetricLabel(base, split)


@lru_cache(maxsize=100_000)
def key(text: str) -> str:
    """The form in which names are compared: lower case, letters, digits, @ and + only."""
    return re.sub(r"[^\w@+]|_", "", text.casefold())


def spans(words: Sequence[str], table: Mapping[str, Any], longest: int) -> Iterator[tuple[int, int]]:
    """The runs of words, as (first, past the last), that ``table`` has a name for; longer runs first, left to right."""
    keys = [key(word) for word in words]
    first = 0
    while first < len(keys):
        taken = 1
        if keys[first]:
            for size in range(min(longest, len(keys) - first), 0, -1):
                if "".join(keys[first : first + size]) in table:
                    yield first, first + size
                    taken = size
                    break
        first += taken


def _without_parenthesis_hint(text: str) -> str:
    """The Trainer's two-part label "Accuracy (eval-f1)" means the part in parentheses."""
    hinted = re.fullmatch(r"[^()]*\((?:eval|test|validation)[-_ ]([^()]+)\)", text)
    return hinted.group(1) if hinted else text


@cache
def load(extra: tuple[Path, ...] = ()) -> Vocabulary:
    """The built-in vocabulary, extended by the user's files in order; a later file wins.

    Raises :class:`verify.errors.UsageError` naming file and key for a file that is not of this form.
    """
    metrics: dict[str, Metric] = {}
    canonical: dict[str, Metric] = {}
    not_metrics: set[str] = set()
    splits: dict[str, str] = {}
    datasets: dict[str, Benchmark] = {}
    corpora: set[str] = set()
    suites: dict[str, tuple[str, ...]] = {}
    placeholders: set[str] = set()
    for path in (_FILE, *extra):
        content = _read_file(path)
        for name, entry in _section(content, "metrics", dict, path).items():
            metric = _metric(str(name), entry, path)
            canonical[metric.name] = metric
            for alias in (metric.name, *_aliases(entry)):
                metrics[key(alias)] = metric
        not_metrics |= {key(str(word)) for word in _section(content, "not_metrics", list, path)}
        for split, aliases in _section(content, "splits", dict, path).items():
            splits |= {key(str(word)): str(split) for word in (split, *(aliases or ()))}
        for name, entry in _section(content, "datasets", dict, path).items():
            known = _benchmark(str(name), entry, canonical, path)
            datasets |= {key(alias): known for alias in (known.name, *_aliases(entry))}
        corpora |= {key(str(word)) for word in _section(content, "corpora", list, path)}
        for suite, tasks in _section(content, "suites", dict, path).items():
            suites[key(str(suite))] = tuple(str(task) for task in tasks or ())
        placeholders |= {key(str(word)) for word in _section(content, "placeholders", list, path)}
    return Vocabulary(
        metrics,
        frozenset(not_metrics),
        splits,
        frozenset(placeholders),
        canonical,
        datasets,
        frozenset(corpora),
        suites,
    )


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"The vocabulary file {path} could not be read: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"The vocabulary file {path} must be a mapping with the keys metrics, splits, placeholders.")
    return content


def _section(content: Mapping[str, Any], name: str, kind: type, path: Path) -> Any:
    section = content.get(name)
    if section is None:
        return kind()
    if not isinstance(section, kind):
        raise UsageError(f"In the vocabulary file {path}, {name} must be a {'mapping' if kind is dict else 'list'}.")
    return section


def _metric(name: str, entry: Any, path: Path) -> Metric:
    if not isinstance(entry, dict) or entry.get("unit") not in UNITS:
        raise UsageError(
            f"In the vocabulary file {path}, metrics.{name} needs a mapping with unit: one of {', '.join(UNITS)}."
        )
    better = entry.get("greater_is_better")
    return Metric(name, str(entry["unit"]), better if isinstance(better, bool) else None)


def _benchmark(name: str, entry: Any, canonical: Mapping[str, Metric], path: Path) -> Benchmark:
    if not isinstance(entry, dict) or str(entry.get("metric")) not in canonical:
        raise UsageError(f"In the vocabulary file {path}, datasets.{name} needs a mapping with metric: a known metric.")
    return Benchmark(name, str(entry["metric"]), str(entry.get("unit") or ""))


def _aliases(entry: Mapping[str, Any]) -> Iterable[str]:
    aliases = entry.get("aliases") or ()
    return [str(alias) for alias in aliases] if isinstance(aliases, list) else []
