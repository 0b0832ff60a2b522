"""How fast intervals are, beside `evaluate`'s bootstrap: a section of the judge's benchmark.

    python scripts/bench_judge.py --only intervals [--quick]

The peer is what ``evaluate.evaluator(…).compute(strategy="bootstrap")`` runs once it has predictions: scipy's BCa over
a metric that is computed anew for every resample and for every example left out. Its metric is scikit-learn's macro F1
in an ``evaluate.Metric``, as on the Hub. It needs gigabytes at 10,000 examples, since scipy then holds as many samples
with one example left out at a time. Two more rows show scipy at its best: without the module's Arrow tables around each
call, and with a statistic that takes a batch of resamples at a time.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from verify.judging.bootstrap import LEVEL, REPETITIONS, interval
from verify.store.predictions import (
    AnswerPredictions,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
)

Ends = tuple[float, float]

CLASSES = 4
BATCH = 100
"""Resamples at a time in scipy's hands: 8 MB for each array of 10,000 examples."""


def classified(n: int, classes: int = CLASSES) -> LabelPredictions:
    """A run of ``n`` examples of unequally frequent classes, of which about 85 % are right."""
    generator = np.random.default_rng(0)
    frequency = 1 / np.arange(1, classes + 1)
    reference = generator.choice(classes, n, p=frequency / frequency.sum())
    logits = generator.normal(size=(n, classes)).astype(np.float32)
    logits[np.arange(n), reference] += 3
    return LabelPredictions(np.arange(n), logits, reference, tuple(range(classes)))


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The section's rows; the quick form has fewer examples, repetitions and runs."""
    n, repetitions, runs = (500, 100, 1) if quick else (10_000, REPETITIONS, 3)
    yield from beside_peers(n, repetitions, runs)
    yield from alone(n, REPETITIONS, 3 if quick else 9)


def beside_peers(n: int, repetitions: int, runs: int) -> Iterator[dict[str, Any]]:
    """Macro F1 of ``n`` examples, in alternated runs; ``equal`` if both ends agree within Monte-Carlo error."""
    run = classified(n)
    predicted, reference = run.logits.argmax(axis=1), run.reference
    peers: Mapping[str, Callable[[int], Ends]] = {
        "evaluate's bootstrap": partial(with_evaluate, predicted, reference, repetitions),
        "scipy.stats.bootstrap over scikit-learn": partial(with_scikit_learn, predicted, reference, repetitions),
        "scipy.stats.bootstrap, vectorised": partial(vectorised, predicted, reference, repetitions),
    }
    interval(run, "f1_macro", {}, repetitions=repetitions)
    own: dict[str, list[float]] = {name: [] for name in peers}
    other: dict[str, list[float]] = {name: [] for name in peers}
    agree = dict.fromkeys(peers, True)
    for seed in range(runs):
        for name, peer in peers.items():
            seconds, found = timed(lambda seed=seed: interval(run, "f1_macro", {}, repetitions=repetitions, seed=seed))
            their_seconds, theirs = timed(lambda peer=peer, seed=seed: peer(seed))
            own[name].append(seconds)
            other[name].append(their_seconds)
            agree[name] &= found is not None and near((found.low, found.high), theirs, repetitions)
    for name in peers:
        yield row(
            f"BCa interval of macro F1, {n} examples, {repetitions} resamples",
            own[name],
            name,
            other[name],
            agree[name],
        )


def alone(n: int, repetitions: int, runs: int) -> Iterator[dict[str, Any]]:
    """Intervals of metrics of every form, for which there is no peer."""
    for what, metric, run in forms(n):
        seconds = [
            timed(lambda run=run, metric=metric: interval(run, metric, {}, repetitions=repetitions))[0]
            for _ in range(runs)
        ]
        yield row(f"BCa interval of {what}, {n} examples, {repetitions} resamples", seconds)


def forms(n: int) -> Iterator[tuple[str, str, Predictions]]:
    generator = np.random.default_rng(1)
    yield "accuracy", "accuracy", classified(n)
    yield "macro F1 of 1,000 classes", "f1_macro", classified(n, 1000)
    yield "the loss", "loss", classified(n)
    rating = generator.normal(size=n)
    yield (
        "Spearman",
        "spearman",
        SimilarityPredictions(np.arange(n), rating[:, None] + generator.normal(size=(n, 4)), rating),
    )
    there = generator.random((n, 6)) < 0.2
    logits = (there * 2 + generator.normal(size=there.shape)).astype(np.float32)
    yield (
        "macro ROC AUC of 6 labels",
        "roc_auc_macro",
        LabelSetPredictions(np.arange(n), logits, there, tuple(range(6))),
    )
    tokens = generator.integers(20, 800, n)
    yield (
        "a perplexity",
        "perplexity",
        LikelihoodPredictions(np.arange(n), tokens * generator.normal(3, 0.3, n), tokens, tokens, tokens, tokens // 2),
    )
    said = [f"answer {number}" if number else "" for number in generator.integers(0, 5, n)]
    wanted = [[f"answer {number}"] if number else [] for number in generator.integers(0, 3, n)]
    lists: list[list[Any]] = [[]] * n
    yield (
        "F1 at the best threshold for no answer",
        "best_f1",
        AnswerPredictions(np.arange(n), said, lists, lists, generator.normal(size=n), wanted, np.full(n, np.inf)),
    )


def with_evaluate(predicted: Any, reference: Any, repetitions: int, seed: int) -> Ends:
    """What `evaluate`'s evaluators do with strategy="bootstrap", from the predictions on."""
    from evaluate.evaluator.base import Evaluator

    inputs = {"references": reference.tolist(), "predictions": predicted.tolist()}
    found = Evaluator._compute_confidence_interval(_macro_f1_module(), inputs, ["f1"], LEVEL, repetitions, seed)
    low, high = found["f1"]["confidence_interval"]
    return float(low), float(high)


def _macro_f1_module() -> Any:
    import evaluate
    from datasets import Features, Value
    from sklearn.metrics import f1_score

    class MacroF1(evaluate.Metric):
        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description="scikit-learn's macro F1",
                citation="",
                features=Features({"predictions": Value("int32"), "references": Value("int32")}),
            )

        def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
            return {"f1": float(f1_score(references, predictions, average="macro"))}

    return MacroF1()


def with_scikit_learn(predicted: Any, reference: Any, repetitions: int, seed: int) -> Ends:
    from sklearn.metrics import f1_score

    return _scipy(
        predicted,
        reference,
        lambda one, other: f1_score(other, one, average="macro"),
        repetitions,
        seed,
        vectorized=False,
    )


def vectorised(predicted: Any, reference: Any, repetitions: int, seed: int) -> Ends:
    def macro_f1(one: Any, other: Any, axis: int) -> Any:
        scores = []
        for label in range(CLASSES):
            said, true = one == label, other == label
            scores.append(2 * (said & true).sum(axis=axis) / (said.sum(axis=axis) + true.sum(axis=axis)))
        return np.mean(scores, axis=0)

    return _scipy(predicted, reference, macro_f1, repetitions, seed, vectorized=True)


def _scipy(predicted: Any, reference: Any, statistic: Any, repetitions: int, seed: int, *, vectorized: bool) -> Ends:
    from scipy.stats import bootstrap

    found = bootstrap(
        (predicted, reference), statistic, paired=True, confidence_level=LEVEL, n_resamples=repetitions,
        rng=np.random.default_rng(seed), vectorized=vectorized, batch=BATCH,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def near(one: Ends, other: Ends, repetitions: int) -> bool:
    """Whether ends differ by no more than four standard errors of their difference.

    In standard deviations of the score, an end of a 95 % BCa interval varies by √(0.025 · 0.975) / φ(1.96) / √R as a
    quantile of R resamples, and by twice 0.5 / φ(0) / √R through the bias correction: together by 3.7 / √R.
    """
    deviation = (other[1] - other[0]) / (2 * 1.96)
    allowed = 4 * math.sqrt(2) * 3.7 / math.sqrt(repetitions) * deviation
    return all(abs(mine - theirs) <= allowed for mine, theirs in zip(one, other, strict=True))


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    found = run()
    return time.perf_counter() - begun, found


def row(
    name: str, seconds: list[float], peer: str | None = None, theirs: list[float] | None = None, equal: bool = True
) -> dict[str, Any]:
    """Intervals a second, so that a ratio above 1 says that ours are faster."""
    mine = 1 / statistics.median(seconds)
    their = 1 / statistics.median(theirs) if theirs else None
    return {
        "name": name, "peer": peer, "ours": mine, "theirs": their, "ratio": mine / their if their else None,
        "unit": "intervals/s", "runs": len(seconds), "equal": equal,
    }  # fmt: skip
