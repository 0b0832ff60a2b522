"""The causes that the benchmark injects, each in several variants.

Every number that a card is to print comes from another package, or from a run of transformers alone with the changed
setting (:mod:`cause_numbers`); the registry of hypotheses is only named, by the name that is the right answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
from benchmarks.causes import numbers
from benchmarks.causes.cards import FOUR, FOUR_PERCENT, THREE, THREE_PERCENT, Injected, Labels, in_order, named, some
from benchmarks.causes.data import TEST, VALIDATION
from benchmarks.causes.numbers import Numbers
from benchmarks.causes.runs import Run, Runs
from benchmarks.causes.transcripts import transcripts

from verify.store.predictions import (
    AnswerPredictions,
    LabelPredictions,
    LabelSetPredictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
)


def text_labels(runs: Runs) -> Iterator[Injected]:
    """Causes of classifiers' cards, two classes first."""
    two = [runs.run("sst2", seed) for seed in (0, 1, 2)]
    more = [runs.run("ag_news", 0), runs.run("banking77", 0), runs.run("mnist", 1), runs.run("ag_news", 1)]
    yield from label_order(
        runs, [("sst2", 0), ("sst2", 1)], [("ag_news", 0), ("ag_news", 1), ("mnist", 1), ("banking77", 0)]
    )
    yield from averaging(two, more)
    yield from swapped(two, more)
    yield from slips(two, more)
    yield from complements(two, more)
    yield from positive_class(runs)
    yield from parts(two, more)


def label_order(runs: Runs, two: Sequence[Any], more: Sequence[Any]) -> Iterator[Injected]:
    """The repository names its classes in the wrong order and the card is right; or the card's author mixed them up."""
    cause = "label order"
    for place, key in enumerate(two):
        right = Labels.of(runs.run(*key)).plain()
        run = runs.renamed(*key, [1, 0])
        yield Injected(
            cause, ("class_numbers",), run, right if place else some(right, "accuracy"), (THREE, FOUR)[place % 2]
        )
    for place, key in enumerate(more):
        known = runs.run(*key)
        labels, size = Labels.of(known), len(known.data.labels or ())
        orders = ([1, 0, 2, 3], [2, 0, 1, 3]) if size == 4 else (sorted(range(size), key=str), list(range(size))[::-1])
        order = orders[place % 2] if size != 10 else list(range(size))[::-1]
        names = ("accuracy",) if place % 2 else ("accuracy", "f1_macro")
        style = (THREE_PERCENT, FOUR)[place % 2]
        renamed = runs.renamed(*key, order)
        yield Injected(cause, ("class_numbers",), renamed, some(labels.plain(), *names), style, words="renamed")
        mixed = Labels(labels.logits[:, order], labels.reference).plain()
        yield Injected(cause, ("label_order",), known, some(mixed, *names), style, words="mixed up")


def averaging(two: Sequence[Run], more: Sequence[Run]) -> Iterator[Injected]:
    cause, expected = "averaging", ("averaging",)
    for place, run in enumerate(more):
        labels = Labels.of(run)
        own, other = (("weighted", "macro"), ("macro", "weighted"))[place % 2]
        found = named(labels.scores(other), own)
        if place % 2:
            yield Injected(cause, expected, run, found, THREE, words=f"{other} for {own}")
        else:
            single = some(found, f"f1_{own}", f"precision_{own}")
            yield Injected(cause, expected, run, single, (FOUR, FOUR_PERCENT)[place // 2], words=f"{other} for {own}")
    for place, run in enumerate(two):
        own, other = (("macro", "weighted"), ("weighted", "binary"), ("macro", "binary"))[place]
        found = named(Labels.of(run).scores(other), own)
        chosen = found if place == 1 else some(found, "accuracy", f"f1_{own}")
        yield Injected(cause, expected, run, chosen, (FOUR, THREE, FOUR)[place], words=f"{other} for {own}")


def swapped(two: Sequence[Run], more: Sequence[Run]) -> Iterator[Injected]:
    """One metric's number under another's name."""
    cause = "metric swapped"
    for place, run in enumerate(two):
        found = Labels.of(run).scores("binary")
        crossed = {"precision": found["recall"], "recall": found["precision"], "f1": found["f1"]}
        yield Injected(cause, ("metrics_exchanged",), run, crossed, (THREE, FOUR, FOUR_PERCENT)[place])
        wrong = {"accuracy": found["f1"]}
        yield Injected(cause, ("metric_mislabelled",), run, wrong, (FOUR, FOUR, THREE)[place])
    for place, run in enumerate(more[:2]):
        found = Labels.of(run).scores("macro")
        wrong = {"accuracy": found["f1"], "precision_macro": found["precision"], "recall_macro": found["recall"]}
        yield Injected(cause, ("metric_mislabelled",), run, wrong, (FOUR, THREE)[place])


def slips(two: Sequence[Run], more: Sequence[Run]) -> Iterator[Injected]:
    """A fraction with a percent sign."""
    for place, run in enumerate((*two, *more)):
        found = Labels.of(run).plain()
        chosen = some(found, "accuracy") if place % 2 else some(found, "accuracy", *[n for n in found if "f1" in n])
        yield Injected("percent slip", ("factor_100",), run, chosen, (FOUR, THREE)[place % 2], slip=0.01)


def complements(two: Sequence[Run], more: Sequence[Run]) -> Iterator[Injected]:
    """An error rate under the name of the accuracy, and the reverse."""
    for place, run in enumerate((*two, *more)):
        accuracy = Labels.of(run).plain()["accuracy"]
        wrong = {"error_rate": accuracy} if place == 2 else {"accuracy": 1 - accuracy}
        style = (FOUR, THREE, FOUR_PERCENT, THREE_PERCENT)[place % 4]
        yield Injected("error rate", ("complement",), run, wrong, style)


def positive_class(runs: Runs) -> Iterator[Injected]:
    """F1, precision and recall of class 0 where class 1 is the usual one."""
    for seed in range(5):
        run = runs.run("sst2", seed)
        found = Labels.of(run).scores("binary", positive=0)
        chosen = found if seed % 2 else some(found, "f1")
        style = (FOUR, THREE, FOUR_PERCENT, FOUR, FOUR)[seed]
        yield Injected("positive class", ("negative_label",), run, chosen, style)


def parts(two: Sequence[Run], more: Sequence[Run]) -> Iterator[Injected]:
    """A part of the split quoted as the whole."""
    cause, expected = "subset as the whole", ("first_rows",)
    for place, (run, size) in enumerate(zip((two[0], two[1], *more), (500, 200, 1000, 2000, 500, 1000), strict=True)):
        labels = Labels.of(run)
        average = "binary" if place < 2 else "macro"
        rows = slice(0, size)
        if place == 5:  # as `dataset.shuffle(seed=42).select(range(1000))` draws them
            rows = np.random.default_rng(42).permutation(len(labels.reference))[:size]
        found = labels.scores(average, rows)
        found = found if average == "binary" else named(found, average)
        names = ("accuracy",) if place in (1, 3) else ("accuracy", "f1" if average == "binary" else "f1_macro")
        style = (FOUR, FOUR_PERCENT, THREE, FOUR, THREE_PERCENT, FOUR)[place]
        yield Injected(cause, expected, run, some(found, *names), style, words=f"{size} rows")


def tags(runs: Runs) -> Iterator[Injected]:
    """How entities are counted."""
    three = [runs.run("broad_twitter", seed) for seed in (0, 1, 2)]
    found = [cast(TagPredictions, run.predictions) for run in three]
    names = ("precision", "recall", "f1")
    styles = (FOUR, THREE, FOUR_PERCENT)
    for place, (run, stored) in enumerate(zip(three, found, strict=True)):
        strict = numbers.entities(stored.tags, stored.reference, strict=True)
        yield Injected("entity scheme", ("scheme",), run, some(strict, *names), styles[place])
        yield Injected("entity scheme", ("scheme",), run, some(strict, "f1", "accuracy"), (FOUR, FOUR, THREE)[place])
        average, all_tags = (("weighted", True), ("micro", False), ("macro", False))[place]
        flat = numbers.words(stored.tags, stored.reference, average, all_tags=all_tags)
        yield Injected("tokens for entities", ("words",), run, flat, styles[place], words=average)
        average, all_tags = (("macro", True), ("weighted", False), ("weighted", True))[place]
        flat = numbers.words(stored.tags, stored.reference, average, all_tags=all_tags)
        yield Injected("tokens for entities", ("words",), run, some(flat, "f1"), FOUR, words=average)
        other = numbers.entities(stored.tags, stored.reference, "macro")
        yield Injected("averaging", ("averaging",), run, some(other, "f1", "accuracy"), styles[place], words="of types")
        right = numbers.entities(stored.tags, stored.reference)
        crossed = {"precision": right["recall"], "f1": right["f1"]}
        yield Injected("metric swapped", ("metric_mislabelled",), run, crossed, (FOUR, FOUR_PERCENT, THREE)[place])
    some_rows = slice(0, 500)
    part = numbers.entities(found[0].tags[some_rows], found[0].reference[some_rows])
    yield Injected("subset as the whole", ("first_rows",), three[0], part, FOUR, words="500 rows")


def label_sets(runs: Runs) -> Iterator[Injected]:
    """From which probability on a label is given."""
    for seed, threshold, style in (
        (0, 0.3, FOUR),
        (0, 0.6, THREE),
        (1, 0.4, FOUR_PERCENT),
        (1, 0.3, THREE),
        (0, None, FOUR),
        (1, None, THREE),
    ):
        run = runs.run("speech_parts", seed)
        stored = cast(LabelSetPredictions, run.predictions)
        if threshold is None:
            chosen, words = stored.logits > 0.5, "logits above 0.5"
        else:
            chosen, words = 1 / (1 + np.exp(-stored.logits.astype(np.float64))) > threshold, f"{threshold}"
        found = numbers.label_sets(in_order(chosen, stored), stored.reference)
        picked = some(found, "f1_micro") if threshold == 0.6 else some(found, "f1_micro", "f1_macro", "accuracy")
        yield Injected("threshold", ("threshold",), run, picked, style, words=words)
    run = runs.run("speech_parts", 0)
    stored = cast(LabelSetPredictions, run.predictions)
    found = numbers.label_sets(in_order(stored.logits > 0, stored), stored.reference)
    wrong = {"f1_macro": found["f1_weighted"], "f1_micro": found["f1_micro"]}
    yield Injected("averaging", ("averaging",), run, wrong, FOUR, words="weighted for macro")


def texts(runs: Runs) -> Iterator[Injected]:
    """How summaries and translations are compared."""
    cause = "ROUGE variant or stemmer"
    for seed, style in ((0, FOUR), (1, THREE)):
        run = runs.run("captions", seed)
        stored = cast(TextPredictions, run.predictions)
        plain = numbers.rouge(stored.texts, stored.references, stemmer=False, lines=False)
        names = ("rouge1", "rouge2", "rougeL")
        yield Injected(cause, ("rouge_settings",), run, some(plain, *names), style, words="no stemmer")
        one = some(plain, ("rouge1", "rougeL")[seed])
        yield Injected(cause, ("rouge_settings",), run, one, FOUR_PERCENT, words="no stemmer")
        run = runs.run("gsm8k", seed)
        stored = cast(TextPredictions, run.predictions)
        own = numbers.rouge(stored.texts, stored.references, stemmer=True, lines=False)
        wrong = {"rouge1": own["rouge1"], "rougeL": own["rougeLsum"]}
        yield Injected(cause, ("variant_mislabelled",), run, wrong, style, words="rougeL is rougeLsum")
        wrong = {"rougeLsum": own["rougeL"]}
        style = (FOUR, FOUR_PERCENT)[seed]
        yield Injected(cause, ("variant_mislabelled",), run, wrong, style, words="rougeLsum is rougeL")
        for measure in ("precision", "recall"):
            other = numbers.rouge(stored.texts, stored.references, stemmer=True, lines=False, measure=measure)
            yield Injected(cause, ("rouge_measure",), run, some(other, "rouge1", "rouge2"), FOUR, words=measure)
        part = numbers.rouge(stored.texts[:200], stored.references[:200], stemmer=True, lines=False)
        yield Injected("subset as the whole", ("first_rows",), run, some(part, "rouge1", "rougeL"), FOUR)
    cause = "BLEU tokenisation, case or sentences"
    for seed, style in ((0, FOUR_PERCENT), (1, THREE_PERCENT)):
        run = runs.run("multi30k", seed)
        stored = cast(TextPredictions, run.predictions)
        own = numbers.translated(stored.texts, stored.references)
        for tokenize in ("intl", "none"):
            found = numbers.translated(stored.texts, stored.references, tokenize=tokenize)
            chosen = some(found, "bleu", "chrf") if tokenize == "none" else some(found, "bleu")
            yield Injected(cause, ("bleu_tokenisation",), run, chosen, style, words=tokenize)
        lower = numbers.translated(stored.texts, stored.references, lowercase=True)
        yield Injected(cause, ("bleu_case",), run, some(lower, "bleu", "chrf"), style)
        yield Injected(cause, ("bleu_case",), run, some(lower, "bleu"), FOUR_PERCENT)
        wrong = {"bleu": own["bleu"], "chrf": own["chrf++"]}
        yield Injected("metric swapped", ("variant_mislabelled",), run, wrong, style, words="chrF++")
        mean = {"bleu": own["sentences"], "chrf": own["chrf"]}
        yield Injected(cause, ("sentence_bleu",), run, mean, style)
        yield Injected("percent slip", ("factor_100",), run, some(own, "bleu", "chrf"), style, slip=0.01)


def answers(runs: Runs) -> Iterator[Injected]:
    cause, expected = "exact match for F1", ("answers_mislabelled",)
    for place, (name, style) in enumerate((("xquad_en", FOUR), ("xquad_de", FOUR_PERCENT))):
        run = runs.run(name, 0)
        stored = cast(AnswerPredictions, run.predictions)
        own = numbers.answers(stored.texts, stored.references)
        yield Injected(cause, expected, run, {"exact_match": own["f1"]}, style)
        yield Injected(cause, expected, run, {"f1": own["exact_match"]}, (THREE, FOUR)[place])
        yield Injected(cause, expected, run, {"exact_match": own["f1"], "f1": own["f1"]}, THREE)
        yield Injected(cause, expected, run, {"exact_match": own["f1"], "f1": own["exact_match"]}, style)
        part = numbers.answers(stored.texts[:200], stored.references[:200])
        yield Injected("subset as the whole", ("first_rows",), run, part, FOUR, words="200 rows")


def ratings(runs: Runs) -> Iterator[Injected]:
    """Correlations and errors."""
    cause, expected = "Pearson for Spearman", ("correlation",)
    embedders = [runs.embedded(name, seed, on) for name, seed, on in EMBEDDED]
    for place, run in enumerate(embedders):
        stored = cast(SimilarityPredictions, run.predictions)
        own = numbers.correlated(stored.similarity[:, 0], stored.reference)
        style = (FOUR, FOUR_PERCENT, THREE)[place % 3]
        if place % 2:
            yield Injected(cause, expected, run, {"spearman": own["pearson"]}, style)
        else:
            crossed = {"spearman": own["pearson"], "pearson": own["spearman"]}
            yield Injected(cause, expected, run, crossed, style)
        column, prefix = ((1, "dot"), (3, "euclidean"), (2, "manhattan"))[place % 3]
        other = numbers.correlated(stored.similarity[:, column], stored.reference)
        wrong = {"spearman": other["spearman"]} if place % 2 else some(other, "spearman", "pearson")
        yield Injected("similarity function", ("similarity_function",), run, wrong, style, words=prefix)
    for seed in (0, 1):
        run = runs.run("sick_ratings", seed)
        stored_numbers = cast(LabelPredictions, run.predictions)
        values = stored_numbers.logits[:, 0]
        own = numbers.correlated(values, stored_numbers.reference)
        wrong = {"spearman": (own["pearson"], own["kendall"])[seed]}
        yield Injected(cause, expected, run, wrong, (THREE, FOUR)[seed])
        off = numbers.errors(values, stored_numbers.reference)
        yield Injected("metric swapped", ("metric_mislabelled",), run, {"mse": off["mae"]}, FOUR)
        yield Injected("metric swapped", ("squared_error",), run, {"mse": float(np.sqrt(off["mse"]))}, FOUR)


EMBEDDED = (
    ("sst2", 0, "sts16"),
    ("ag_news", 0, "sts16"),
    ("banking77", 0, "sts16"),
    ("ag_news", 0, "sick"),
    ("sst2", 1, "sick"),
)
"""Encoders of trained classifiers, and the set on which their embeddings are compared."""


def epochs(runs: Runs) -> Iterator[Injected]:
    """The weights are those of one epoch and the numbers those of another, which the card's own table shows."""
    for place, (name, seed) in enumerate(
        (("sst2", 0), ("ag_news", 0), ("mnist", 1), ("banking77", 0), ("sst2", 2), ("ag_news", 1))
    ):
        table = runs.table(name, seed)
        best = max(range(len(table)), key=lambda row: table[row]["accuracy"])
        lowest = min(range(len(table)), key=lambda row: table[row]["loss"])
        held = next(row for row in (len(table) - 1, lowest, 0) if row != best) if place % 2 else (best + 1) % len(table)
        claimed = best if place % 2 == 0 else (len(table) - 1 if held != len(table) - 1 else best)
        names = ("accuracy",) if place in (1, 4) else ("accuracy", "f1")
        card = [some(row, "loss", "accuracy", "f1") for row in table]
        run = runs.run(name, seed, epoch=held + 1)
        chosen = some(card[claimed], *names)
        yield Injected("best epoch", ("other_epoch",), run, chosen, table=card, words=f"{claimed + 1} for {held + 1}")


def reruns(runs: Runs) -> Iterator[Injected]:
    """Causes that only another run shows."""
    for place, (name, seed, on) in enumerate(EMBEDDED):
        run = runs.embedded(name, seed, on)
        pooling = ("cls", "max")[place % 2]
        found = _similar(run, TEST, pooling)
        style = (FOUR, THREE, FOUR_PERCENT)[place % 3]
        yield Injected("wrong pooling", ("pooling",), run, found, style, is_paid=True, words=pooling)
    cut = ((("ag_news", 0), 32), (("ag_news", 1), 64), (("ag_news", 2), 50), (("sst2", 0), 16), (("banking77", 0), 16))
    for place, (key, longest) in enumerate(cut):
        run = runs.run(*key)
        found = _plain(run, TEST, longest=longest)
        names = ("accuracy",) if place == 1 else tuple(one for one in found if one == "accuracy" or "f1" in one)
        style = (FOUR, FOUR, THREE, FOUR_PERCENT, THREE)[place]
        yield Injected(
            "truncated input", ("length of the input",), run, some(found, *names), style, True, words=f"{longest}"
        )
    lowered = (("ag_news", 0), ("banking77", 0), ("ag_news", 2), ("broad_twitter", 0), ("broad_twitter", 1))
    for place, key in enumerate(lowered):
        run = runs.run(*key)
        found = _plain(run, TEST, lower=True)
        names = ("accuracy",) if place == 1 else tuple(one for one in found if one == "accuracy" or "f1" in one)
        style = (THREE, FOUR, FOUR_PERCENT, FOUR, THREE)[place]
        yield Injected("casing", ("case of the input",), run, some(found, *names), style, is_paid=True)
    cause, expected = "validation as test", ("another split", "other_split")
    others = (("ag_news", 0), ("banking77", 0), ("mnist", 1), ("sst2", 0), ("broad_twitter", 0), ("ag_news", 2))
    for place, key in enumerate(others):
        run = runs.run(*key)
        found = _plain(run, VALIDATION)
        names = ("accuracy",) if place == 1 else tuple(one for one in found if one == "accuracy" or "f1" in one)
        style = (FOUR, FOUR, THREE, THREE_PERCENT, FOUR, THREE)[place]
        yield Injected(cause, expected, run, some(found, *names), style, is_paid=True)
    run = runs.run("multi30k", 0)
    said = numbers.written(run.state, run.data, VALIDATION, {"num_beams": 1, "max_new_tokens": 30})
    found = numbers.translated(said, [[text] for text in run.data.column(VALIDATION, "target")])
    yield Injected(cause, expected, run, some(found, "bleu", "chrf"), FOUR_PERCENT, is_paid=True)


def _plain(run: Run, part: str, **settings: Any) -> Numbers:
    """Scores of a plain run of transformers, as cards of the task give them."""
    if run.data.kind == "token-classification":
        return numbers.entities(*numbers.tags_of(run.state, run.data, part, **settings))
    logits = np.stack(numbers.logits(run.state, run.data, part, **settings))
    return Labels(logits, np.array(run.data.column(part, "label"))).plain()


def _similar(run: Run, part: str, pooling: str) -> Numbers:
    cosines = numbers.cosines(run.state, run.data, part, pooling)
    return some(numbers.correlated(cosines, np.array(run.data.column(part, "score"))), "spearman", "pearson")


SOURCES: tuple[Callable[[Runs], Iterator[Injected]], ...] = (
    text_labels,
    epochs,
    tags,
    label_sets,
    texts,
    answers,
    ratings,
    transcripts,
    reruns,
)
