"""The data behind the benchmark of causes: real sets, cut into parts to train on, to tune on and to test on.

No row stands in two parts. Sets that come with one split alone are cut in the order of their rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from benchmarks.causes.speech import utterances

from verify.types import DatasetSource, Setting, TaskSpec

TRAIN, VALIDATION, TEST = "train", "validation", "test"


@dataclass(frozen=True)
class Data:
    """One set: its kind of task, the columns of the kind's roles, and a table for each of the three parts.

    ``labels`` are the class names in the order of their ids, None for what has no classes.
    """

    name: str
    kind: str
    columns: Mapping[str, str]
    parts: Mapping[str, pa.Table]
    labels: tuple[str, ...] | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def column(self, part: str, role: str) -> list[Any]:
        values: list[Any] = self.parts[part][self.columns[role]].to_pylist()
        return values

    @property
    def is_pairs(self) -> bool:
        return "text_pair" in self.columns

    @property
    def is_multi_label(self) -> bool:
        return self.labels is not None and "label" in self.columns and isinstance(self.column(TEST, "label")[0], list)

    def task(self, folder: Path) -> TaskSpec:
        """The task over the set's files in ``folder``, which are written if they are not there."""
        files = {}
        for part in (VALIDATION, TEST):
            file = folder / self.name / f"{part}.parquet"
            if part in self.parts and not file.is_file():
                file.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(self.parts[part], file)
            files |= {part: str(file)} if part in self.parts else {}
        rows = {part: self.parts[part].num_rows for part in files}
        source = DatasetSource("parquet", split=TEST, data_files=files)
        file = str(folder / self.name / "task.yaml")
        return TaskSpec(self.name, self.kind, source, self.columns, (), file, rows=rows, settings=self.settings)


def read(data: Path, name: str) -> Data:
    """A set by its name, from the folder that holds them all."""
    return _SETS[name](data)


def _classes(name: str, label: str, parts: Mapping[str, pa.Table], columns: Mapping[str, str], kind: str) -> Data:
    from datasets import Features

    feature = Features.from_arrow_schema(parts[TEST].schema)[label]
    return Data(name, kind, columns, parts, tuple(getattr(feature, "feature", feature).names))


def _table(data: Path, file: str) -> pa.Table:
    return pq.read_table(data / f"{file}.parquet")


def _cut(table: pa.Table, **ends: int) -> dict[str, pa.Table]:
    """Consecutive parts of a table, each up to its end."""
    found, begun = {}, 0
    for part, end in ends.items():
        found[part] = table.slice(begun, end - begun)
        begun = end
    return found


_TEXTS = "sequence-classification"


def _sst2(data: Path) -> Data:
    parts = _cut(_table(data, "glue/sst2/train"), train=10_000, validation=11_500)
    parts[TEST] = _table(data, "glue/sst2/validation")
    return _classes("sst2", "label", parts, {"text": "sentence", "label": "label"}, _TEXTS)


def _ag_news(data: Path) -> Data:
    parts = _cut(_table(data, "ag_news/default/test"), test=4_000, validation=6_000)
    parts[TRAIN] = _table(data, "ag_news/default/train_10k").slice(0, 6_000)
    return _classes("ag_news", "label", parts, {"text": "text", "label": "label"}, _TEXTS)


def _banking(data: Path) -> Data:
    whole = _table(data, "banking77/default/train")
    whole = whole.take(pa.array(np.random.default_rng(0).permutation(whole.num_rows)))
    parts = _cut(whole, train=8_500, validation=10_003)
    parts[TEST] = _table(data, "banking77/default/test")
    return _classes("banking77", "label", parts, {"text": "text", "label": "label"}, _TEXTS)


def _mnist(data: Path) -> Data:
    parts = _cut(_table(data, "mnist/default/train"), train=6_000, validation=9_000)
    parts[TEST] = _table(data, "mnist/default/test").slice(0, 5_000)
    return _classes("mnist", "label", parts, {"image": "image", "label": "label"}, "image-classification")


def _sick(data: Path, kind: str, name: str) -> Data:
    parts = _cut(_table(data, "sickr-sts/default/test"), test=3_000, validation=5_000, train=9_927)
    rating = "score" if kind == "sentence-similarity" else "label"
    return Data(name, kind, {"text": "sentence1", "text_pair": "sentence2", rating: "score"}, parts)


def _sts16(data: Path) -> Data:
    columns = {"text": "sentence1", "text_pair": "sentence2", "score": "score"}
    return Data("sts16", "sentence-similarity", columns, {TEST: _table(data, "sts16-sts/default/test")})


def _twitter(data: Path) -> Data:
    parts = {part: _table(data, f"broad_twitter_corpus/default/{part}") for part in (TRAIN, VALIDATION, TEST)}
    columns = {"tokens": "tokens", "tags": "ner_tags"}
    return _classes("broad_twitter", "ner_tags", parts, columns, "token-classification")


def _speech_parts(data: Path) -> Data:
    """Which parts of speech a sentence has: any number of 17 labels."""
    import datasets

    file = "universal_dependencies/en_ewt"
    features = datasets.Features.from_arrow_schema(_table(data, f"{file}/test").schema)
    names = features["upos"].feature.names
    classes = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.List(datasets.ClassLabel(names=names))}
    )

    def made(table: pa.Table) -> pa.Table:
        tags = [sorted(set(row)) for row in table["upos"].to_pylist()]
        return datasets.Dataset.from_dict({"text": table["text"].to_pylist(), "label": tags}, classes).data.table

    parts = _cut(_table(data, f"{file}/validation"), train=1_400, validation=2_001)
    parts = {part: made(table) for part, table in {**parts, TEST: _table(data, f"{file}/test")}.items()}
    return Data("speech_parts", _TEXTS, {"text": "text", "label": "label"}, parts, tuple(names))


def _xquad(data: Path, language: str) -> Data:
    """Held out are questions, not contexts: what a small model learns of a context serves its other questions."""
    whole = _table(data, f"xquad/xquad.{language}/validation")
    whole = whole.take(pa.array(np.random.default_rng(0).permutation(whole.num_rows)))
    columns = {name: name for name in ("question", "context", "answers")}
    return Data(f"xquad_{language}", "question-answering", columns, _cut(whole, train=790, test=1_190))


def _multi30k(data: Path) -> Data:
    parts = {part: _table(data, f"multi30k/default/{part}") for part in (TRAIN, VALIDATION, TEST)}
    parts[TRAIN] = parts[TRAIN].slice(0, 5_000)
    settings: dict[str, Setting] = {"num_beams": 1, "max_new_tokens": 30}
    return Data("multi30k", "translation", {"source": "en", "target": "de"}, parts, settings=settings)


def _captions(data: Path) -> Data:
    """German captions and what they say in English, measured as summaries are."""
    parts = {part: _table(data, f"multi30k/default/{part}") for part in (TRAIN, VALIDATION, TEST)}
    parts[TRAIN] = parts[TRAIN].slice(5_000, 5_000)
    settings: dict[str, Setting] = {"num_beams": 1, "max_new_tokens": 30}
    return Data("captions", "summarization", {"text": "de", "summary": "en"}, parts, settings=settings)


def _gsm8k(data: Path) -> Data:
    parts = _cut(_table(data, "gsm8k/main/test"), train=800, test=1_319)
    settings: dict[str, Setting] = {"num_beams": 1, "max_new_tokens": 90}
    return Data("gsm8k", "summarization", {"text": "question", "summary": "answer"}, parts, settings=settings)


def _spoken_digits(data: Path) -> Data:
    parts = {
        TRAIN: utterances(_table(data, "fsdd/default/train"), 1_500, seed=0),
        TEST: utterances(_table(data, "fsdd/default/test"), 500, seed=1),
    }
    return Data("spoken_digits", "automatic-speech-recognition", {"audio": "audio", "text": "text"}, parts)


_SETS: Mapping[str, Callable[[Path], Data]] = {
    "sst2": _sst2,
    "ag_news": _ag_news,
    "banking77": _banking,
    "mnist": _mnist,
    "sick": lambda data: _sick(data, "sentence-similarity", "sick"),
    "sick_ratings": lambda data: _sick(data, _TEXTS, "sick_ratings"),
    "sts16": _sts16,
    "broad_twitter": _twitter,
    "speech_parts": _speech_parts,
    "xquad_en": lambda data: _xquad(data, "en"),
    "xquad_de": lambda data: _xquad(data, "de"),
    "multi30k": _multi30k,
    "captions": _captions,
    "gsm8k": _gsm8k,
    "spoken_digits": _spoken_digits,
}
