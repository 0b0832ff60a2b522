"""How long a verdict from stored predictions takes, family by family: a section of the judge's benchmark.

    python scripts/bench_judge.py --only rescoring [--quick]

Rows named *scores* and *verdict* are what stands between predictions in memory and scores with their flip budgets, with
a probe of 64 examples. The others are the whole of `verify judge`, but for the start of Python, on the results that a
check leaves in a folder, with a tenth of the examples run a second time. Its first time is the one right after the run;
a later one is asked for under other rows or another policy, and finds statistics that were kept, but no scores. Where a
claim differs, the replay search is part of it, and is timed apart too. The texts are made up, of the lengths that such
texts have.
"""

from __future__ import annotations

import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.judge.intervals import classified
from benchmarks.judge.kinds import KINDS_OF
from rich.console import Console

from verify.checking.stored import concluded, opened
from verify.checking.verdicts import explained
from verify.checking.verdicts import judged as judge_claims
from verify.claims.form.values import read_number
from verify.configuration.schema import VerifyConfig
from verify.metrics.flips.budget import flip_budget
from verify.metrics.names import METRICS
from verify.metrics.registry import applicable, measure
from verify.store.predictions import (
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
from verify.store.record import Cell, Conditions, Record, RecordedMatch, write_record
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.tasks.kinds import KINDS, settings_of
from verify.types import Claim, DatasetSource, Evidence, Source, TaskSpec, Unit

PROBED = 64
OFF = 0.0137
"""How far a claim is from what was measured where a search is timed; nothing explains it."""
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


def left_by_a_check(run: Predictions, off: float, root: Path, population: int | None = None) -> Path:
    """The results folder of a model whose card claims the metrics of its kind, each ``off`` by so much.

    The run holds all examples of its split, or the first of a ``population``, in the seeded order.
    """
    kind = KINDS_OF[run.family]
    task = TaskSpec("made-up", kind, DatasetSource("made-up"), {}, (), str(root / "made-up.yaml"))
    scores, _ = measure(run, settings_of(kind, {}))
    names = [name for name in (*KINDS[kind].metrics, "f1_macro", "spearman", "pearson", "f1") if name in scores]
    claims = [_claim(name, scores[name].value + off) for name in dict.fromkeys(names)]
    folder = RunFolder(root / "model" / "made-up.test" / "0123456789abcdef")
    known = {name: getattr(run, name) for name in ("scheme", "label_of_logit", "unit") if hasattr(run, name)}
    folder.write_info({"family": run.family, "population": population or len(run), "notes": [], **known})
    again = np.arange(len(run)) % 10 == 0
    for part, rows in ((PREDICTIONS, run), (PROBE, subset(run, again))):
        folder.append(part, type(run), {name: getattr(rows, name) for name in run.COLUMNS})
    record = Record(
        model="model", reference="model", revision=None, digests={}, retry="", policy="default",
        conditions=Conditions(None, 0, 0.1, "float32", "exact", None),
        claims=tuple(claims), matches=(RecordedMatch(task.name, "test", True, (), "", ""),) * len(claims),
        candidates=(), findings=(), impossible={}, tasks=(task,),
        cells=(Cell(task.name, "test", run=f"{folder.path.parent.name}/{folder.path.name}"),),
    )  # fmt: skip
    write_record(root / "model", record)
    return root / "model"


def _claim(metric: str, value: float) -> Claim:
    number = read_number(f"{value:.4f}")
    unit = Unit.RAW if METRICS[metric].unit is Unit.RAW else Unit.FRACTION
    evidence = Evidence(Source.MODEL_INDEX, "README.md", 1, 1, number.literal, number.literal)
    return Claim("model", metric, number.value, number.literal, unit, number.interval, (evidence,), split="test")


def judged(results: Path) -> tuple[float, float]:
    """Seconds that `verify judge` takes on results whose scores are not stored, and those of them for the search."""
    for scores in results.glob("*/*/measurements"):
        shutil.rmtree(scores)
    config, quiet = VerifyConfig(), Console(file=io.StringIO())
    begun = time.perf_counter()
    ((stored, again),) = opened([str(results)], config, quiet)
    verdicts = judge_claims(again.resolved, again.results, config.policy, "")
    between = time.perf_counter()
    concluded(stored, again, explained(verdicts, again.resolved, again.results, results), quiet)
    return time.perf_counter() - begun, time.perf_counter() - between


def by_judge(run: Predictions, off: float, runs: int) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The times of :func:`judged` on the results of a run: without anything kept, and later."""
    with tempfile.TemporaryDirectory() as root:
        results = left_by_a_check(run, off, Path(root))
        first = []
        for _ in range(runs):
            for kept in results.glob("*/*/statistics"):
                shutil.rmtree(kept)
            first.append(judged(results))
        yield "first", first
        yield "later", [judged(results) for _ in range(runs)]


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The section's rows: seconds for 10,000 examples of each family (500 in the quick form), medians."""
    n, runs = (500, 2) if quick else (10_000, 5)
    for name, make in RUNS.items():
        run, what = make(n), f"from stored predictions, {name}, {n} examples"
        rescored(make(20))  # imports
        taken = [rescored(run) for _ in range(runs)]
        yield _row(f"scores {what}", [one for one, _ in taken])
        yield _row(f"verdict {what}", [sum(both) for both in taken])
        for off, question in ((0.0, "verify judge"), (OFF, "verify judge with a search")):
            list(by_judge(make(20), off, 1))  # imports
            for when, times in by_judge(run, off, 2 if quick else 3):
                yield _row(f"{question}, {when} time, {what}", [whole for whole, _ in times])
                if off:
                    yield _row(f"replay search, {when} time, {what}", [search for _, search in times])


def _row(name: str, seconds: list[float]) -> dict[str, Any]:
    return {
        "name": name, "peer": None, "ours": statistics.median(seconds), "theirs": None, "ratio": None, "unit": "s",
        "runs": len(seconds), "equal": True,
    }  # fmt: skip
