"""How long a verdict from stored predictions takes, family by family: a section of the judge's benchmark.

    python scripts/bench_judge.py --only rescoring [--quick]

Timed is what stands between predictions in memory and scores with their flip budgets, with a probe of 64 examples: all
that a rejudged claim costs but for reading the shards. The texts are made up, of the lengths that such texts have.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from judge_intervals import classified

from verify.metrics.flips import flip_budget
from verify.metrics.registry import applicable, measure
from verify.predictions import (
    AnswerPredictions,
    Family,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
    subset,
)

PROBED = 64
_WORDS = np.array(
    [f"{start}{end}" for start in ("ba", "lo", "mi", "te", "ru", "sha") for end in ("", "n", "lit", "rs", "ka")]
)


def words(generator: np.random.Generator, count: int) -> str:
    return " ".join(generator.choice(_WORDS, count)).capitalize() + "."


def garbled(generator: np.random.Generator, text: str) -> str:
    """The text with about every tenth word replaced."""
    return " ".join(str(generator.choice(_WORDS)) if generator.random() < 0.1 else word for word in text.split(" "))


def texts(n: int, family: Family, length: int, sentences: int = 1) -> TextPredictions:
    generator = np.random.default_rng(2)
    references = [
        " ".join(words(generator, int(generator.integers(length // 2, 2 * length))) for _ in range(sentences))
        for _ in range(n)
    ]
    said = [garbled(generator, text) for text in references]
    return TextPredictions(np.arange(n), said, [[text] for text in references], generator.random(n), of=family)


def numbers(n: int) -> LabelPredictions:
    generator = np.random.default_rng(3)
    reference = generator.normal(size=n)
    return LabelPredictions(
        np.arange(n), (reference + generator.normal(size=n))[:, None].astype(np.float32), reference, None
    )


def label_sets(n: int) -> LabelSetPredictions:
    generator = np.random.default_rng(4)
    there = generator.random((n, 28)) < 0.1
    logits = (there * 3 - 2 + generator.normal(size=there.shape)).astype(np.float32)
    return LabelSetPredictions(np.arange(n), logits, there, tuple(range(28)))


def tagged(n: int) -> TagPredictions:
    """Sentences of about 15 words, of which a fifth belong to entities."""
    generator = np.random.default_rng(5)
    names = ["O", *(f"{mark}-{kind}" for kind in ("PER", "LOC", "ORG", "MISC") for mark in "BI")]
    reference: list[list[str]] = []
    for length in generator.integers(5, 26, n).tolist():
        row: list[str] = []
        while len(row) < length:
            kind = int(generator.integers(4)) * 2 + 1
            is_entity = generator.random() < 0.12
            row += [names[kind], *[names[kind + 1]] * int(generator.integers(0, 3))] if is_entity else ["O"]
        reference.append(row[:length])
    said = [[names[generator.integers(9)] if generator.random() < 0.05 else tag for tag in row] for row in reference]
    margins = [generator.random(len(row)) for row in reference]
    return TagPredictions(np.arange(n), said, reference, margins, "IOB2")


def answered(n: int) -> AnswerPredictions:
    """Questions with up to three references, a third of them without an answer, as in SQuAD 2.0."""
    generator = np.random.default_rng(6)
    wanted = [
        [words(generator, int(generator.integers(1, 6))) for _ in range(3)] if generator.random() < 0.67 else []
        for _ in range(n)
    ]
    said = [garbled(generator, row[0]) if row and generator.random() < 0.9 else "" for row in wanted]
    lists: list[list[Any]] = [[]] * n
    return AnswerPredictions(np.arange(n), said, lists, lists, generator.normal(size=n), wanted, generator.random(n))


def similar(n: int) -> SimilarityPredictions:
    generator = np.random.default_rng(7)
    rating = generator.integers(0, 26, n) / 5
    return SimilarityPredictions(np.arange(n), rating[:, None] + generator.normal(size=(n, 4)), rating)


def likely(n: int) -> LikelihoodPredictions:
    generator = np.random.default_rng(8)
    tokens = generator.integers(20, 800, n)
    nll = tokens * generator.normal(3, 0.3, n)
    return LikelihoodPredictions(np.arange(n), nll, tokens, tokens * 3 // 4, tokens * 4, tokens // 2)


RUNS: Mapping[str, Callable[[int], Predictions]] = {
    "classification, 4 classes": classified,
    "classification, 1,000 classes": lambda n: classified(n, 1000),
    "regression": numbers,
    "multi-label, 28 labels": label_sets,
    "tagging, 15 words": tagged,
    "answers": answered,
    "summaries, 50 words": lambda n: texts(n, Family.SUMMARIES, 12, sentences=4),
    "translations, 20 words": lambda n: texts(n, Family.TRANSLATIONS, 16),
    "transcripts, 20 words": lambda n: texts(n, Family.TRANSCRIPTS, 16),
    "similarity": similar,
    "likelihood": likely,
}


def rescored(run: Predictions) -> tuple[float, float]:
    """Seconds for the scores, and for their flip budgets."""
    begun = time.perf_counter()
    applied = applicable(run, {})
    scores, _ = measure(run, {}, applied=applied)
    between = time.perf_counter()
    flip_budget(run, subset(run, np.arange(len(run)) < PROBED), scores, {}, applied)
    return between - begun, time.perf_counter() - between


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The section's rows: seconds for 10,000 examples of each family (500 in the quick form), medians."""
    n, runs = (500, 2) if quick else (10_000, 5)
    for name, make in RUNS.items():
        run = make(n)
        rescored(make(20))  # imports
        taken = [rescored(run) for _ in range(runs)]
        for part, seconds in (("scores", [one for one, _ in taken]), ("verdict", [sum(both) for both in taken])):
            yield {
                "name": f"{part} from stored predictions, {name}, {n} examples", "peer": None,
                "ours": statistics.median(seconds), "theirs": None, "ratio": None, "unit": "s", "runs": runs,
                "equal": True,
            }  # fmt: skip
