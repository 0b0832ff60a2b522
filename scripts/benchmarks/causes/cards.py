"""The cards of the benchmark of causes: what one prints, and cards whose numbers no setting of the rerun explains."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from benchmarks.causes import numbers
from benchmarks.causes.numbers import Numbers
from benchmarks.causes.runs import Run, Runs

from verify.store.predictions import LabelPredictions, LabelSetPredictions, TagPredictions, TextPredictions


@dataclass(frozen=True)
class Style:
    """How a card prints a number: so many ``digits`` after the point of a fraction, or two fewer of a percentage."""

    digits: int
    is_percent: bool = False


FOUR, THREE = Style(4), Style(3)
FOUR_PERCENT, THREE_PERCENT = Style(4, True), Style(3, True)


@dataclass(frozen=True)
class Injected:
    """A card with a known cause: what it prints about a run, and the hypotheses that name the cause.

    ``is_paid`` marks a cause that only another run can show. ``table`` are the rows of the card's own table of epochs.
    ``slip`` is what the numbers were wrongly multiplied by.
    """

    cause: str
    expected: tuple[str, ...]
    run: Run
    numbers: Mapping[str, float]
    style: Style = FOUR
    is_paid: bool = False
    table: Sequence[Mapping[str, float]] = ()
    slip: float = 1.0
    words: str = ""


@dataclass(frozen=True)
class Placebo:
    """A card whose numbers are not this model's: nothing that is tried is their cause."""

    kind: str
    run: Run
    numbers: Mapping[str, float]
    style: Style = FOUR
    is_paid: bool = False


@dataclass(frozen=True)
class Labels:
    """The logits of a stored run, in the data's order of classes, and the true classes."""

    logits: np.ndarray[Any, Any]
    reference: np.ndarray[Any, Any]

    @classmethod
    def of(cls, run: Run) -> Labels:
        stored = cast(LabelPredictions, run.predictions)
        return cls(stored.logits[:, np.argsort(np.array(stored.label_of_logit))], stored.reference.astype(np.int64))

    def scores(self, average: str, rows: Any = slice(None), **more: Any) -> Numbers:
        return numbers.classified(self.logits[rows], self.reference[rows], average, **more)

    def plain(self) -> Numbers:
        """As cards of two classes, or of more, give them."""
        return self.scores("binary") if self.logits.shape[1] == 2 else named(self.scores("macro"), "macro")


def named(scores: Numbers, average: str) -> Numbers:
    return {name if name == "accuracy" else f"{name}_{average}": value for name, value in scores.items()}


def some(scores: Numbers, *names: str) -> Numbers:
    return {name: scores[name] for name in names}


def in_order(chosen: Any, stored: LabelSetPredictions) -> Any:
    placed = np.zeros(stored.reference.shape, dtype=bool)
    placed[:, list(stored.label_of_logit)] = chosen
    return placed


def placebos(runs: Runs, families: Sequence[tuple[str, Sequence[int]]], paid: int) -> Iterator[Placebo]:
    """Numbers of sister models, of a random half, of the best of several seeds, their mean, and of less learning.

    ``families`` are sets and the seeds of their models. The first ``paid`` of each set's are searched with reruns too.
    """
    styles = itertools.cycle((FOUR, THREE, FOUR_PERCENT, THREE_PERCENT))
    for name, seeds in families:
        found = {seed: stated(runs.run(name, seed)) for seed in seeds}
        for place, (one, other) in enumerate(itertools.permutations(seeds, 2)):
            chosen = list(found[other])[: 1 + (one + other) % 2]
            yield Placebo(
                "another model's", runs.run(name, one), some(found[other], *chosen), next(styles), place < paid
            )
        for seed in seeds:
            run = runs.run(name, seed)
            if found[seed].keys() >= {"accuracy"}:
                labels = Labels.of(run)
                half = np.random.default_rng(seed).permutation(len(labels.reference))[: len(labels.reference) // 2]
                part = Labels(labels.logits[half], labels.reference[half]).plain()
                yield Placebo("a random half's", run, some(part, *list(found[seed])[: 2 - seed % 2]), next(styles))
        if len(seeds) < 3:
            continue
        main = next(iter(found[seeds[0]]))
        best = max(seeds, key=lambda seed: found[seed][main])
        mean = {metric: float(np.mean([found[seed][metric] for seed in seeds])) for metric in found[best]}
        for seed in seeds:
            run = runs.run(name, seed)
            if seed != best:
                yield Placebo("the best of several seeds", run, some(found[best], main), FOUR)
            yield Placebo("the mean of several seeds", run, some(mean, main), next(styles))
            base = stated(runs.run(name, seed, epoch=1))
            yield Placebo("a base model's", run, some(base, *list(base)[: 1 + seed % 2]), next(styles))


def stated(run: Run) -> Numbers:
    """What a card would say of a stored run, the main metric first."""
    stored = run.predictions
    if isinstance(stored, LabelPredictions) and not stored.is_regression:
        found = Labels.of(run).plain()
        return some(found, "accuracy", next(name for name in found if name.startswith("f1")))
    if isinstance(stored, LabelPredictions):
        return some(numbers.correlated(stored.logits[:, 0], stored.reference), "spearman", "pearson")
    if isinstance(stored, TagPredictions):
        return some(numbers.entities(stored.tags, stored.reference), "f1", "precision")
    if isinstance(stored, LabelSetPredictions):
        found = numbers.label_sets(in_order(stored.logits > 0, stored), stored.reference)
        return some(found, "f1_micro", "f1_macro")
    if isinstance(stored, TextPredictions) and run.data.kind == "translation":
        return some(numbers.translated(stored.texts, stored.references), "bleu", "chrf")
    if isinstance(stored, TextPredictions) and run.data.kind == "automatic-speech-recognition":
        return some(numbers.rates(stored.texts, [several[0] for several in stored.references]), "wer", "cer")
    if isinstance(stored, TextPredictions):
        found = numbers.rouge(stored.texts, stored.references, stemmer=True, lines=False)
        return some(found, "rouge1", "rougeL")
    raise TypeError(f"no card is known for {type(stored).__name__}")


FAMILIES: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("sst2", (0, 1, 2, 3, 4)),
    ("ag_news", (0, 1, 2)),
    ("mnist", (0, 1, 2)),
    ("broad_twitter", (0, 1, 2)),
    ("banking77", (0, 1)),
    ("speech_parts", (0, 1)),
    ("sick_ratings", (0, 1)),
    ("multi30k", (0, 1)),
    ("gsm8k", (0, 1)),
    ("spoken_digits", (0, 1)),
)
