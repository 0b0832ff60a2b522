"""The quick form of the benchmark of causes: a few causes on texts of made-up words, with models trained in seconds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from benchmarks.causes.cards import Injected
from benchmarks.causes.data import TEST, TRAIN, VALIDATION, Data
from benchmarks.causes.runs import Runs
from benchmarks.causes.variants import averaging, complements, label_order, slips, swapped
from benchmarks.engine.models import TOPICS, Language

SEEDS = (0, 1, 2)
PLACEBO_SEEDS = (*SEEDS, 3)
"""One more: of two models that are equally good, and some are on any processor, one's number is no placebo."""

SIZES = {TRAIN: 3000, VALIDATION: 400, TEST: 800}


def made_up(name: str) -> Data:
    """Sentences about one of four topics, of which one is rare, each with few words of its topic."""
    import datasets

    language = Language.made(5)
    names = tuple(f"topic {topic}" for topic in range(TOPICS))
    classes = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=list(names))})

    def part(count: int) -> pa.Table:
        topics = np.searchsorted([0.4, 0.7, 0.92], language.chance.random(count))
        lengths = language.lengths(count, 12, 0.6, 60)
        texts = [
            language.text(language.sentence(int(length), int(topic), 0.4))
            for length, topic in zip(lengths, topics, strict=True)
        ]
        return datasets.Dataset.from_dict({"text": texts, "label": topics.tolist()}, classes).data.table

    parts = {part_name: part(count) for part_name, count in SIZES.items()}
    return Data(name, "sequence-classification", {"text": "text", "label": "label"}, parts, names)


def injected(runs: Runs) -> Iterator[Injected]:
    keys = [("topics", seed) for seed in SEEDS]
    every = [runs.run(*key) for key in keys]
    return itertools.chain(
        label_order(runs, [], keys),
        averaging([], every),
        swapped([], every),
        slips(every, []),
        complements([], every),
    )
