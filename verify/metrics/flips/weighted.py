"""Metrics as functions of how often each example counts, so that thousands of resamples are scored at once.

A resample of a run is a weight for each example: how often it was drawn. Equal examples share one weight, so that a
classification of 10,000 examples is a handful of numbers, and what a metric sorts by (ranks, curves, thresholds) is
sorted once for all resamples. With weights of 1 a score is that of :func:`verify.metrics.registry.measure`, but for the
last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats
from verify.metrics.families.answers import BestThreshold
from verify.metrics.families.classification import LABEL_METRICS, ClassCounts, Labels, predicted_labels
from verify.metrics.families.embedding import SIMILARITIES
from verify.metrics.families.multi_label import label_logits
from verify.metrics.registry import additive_metrics, applicable, class_count, measure
from verify.store.predictions import (
    LabelPredictions,
    LabelSetPredictions,
    Predictions,
    SimilarityPredictions,
)
from verify.types import Setting

Indices = NDArray[np.int64]
Scores = Callable[[Floats], Floats]
"""From weights [R, G] to scores [R]; NaN where there is none."""


@dataclass(frozen=True)
class Weighted:
    """One metric of one run. A unit is what is drawn: an example, or a cluster of examples.

    ``counts`` int64 [G] holds how many units there are of each of G kinds; ``scores`` maps weights float64 [R, G], how
    many units of each kind a resample has, to the scores of R resamples (fractions or raw numbers, NaN for none). Where
    a metric sorts the examples, each is a kind of its own, and they stand in the order of the run. ``cells`` is roughly
    how many numbers are held for one resample.
    """

    counts: Indices
    scores: Scores
    cells: int


def weighted(
    predictions: Predictions, metric: str, settings: Mapping[str, Setting], clusters: Indices | None = None
) -> Weighted | None:
    """The metric of that canonical name on a run; None where it is not measured there, or has no value.

    ``clusters`` int64 [N] holds equal numbers for examples that are drawn together.
    """
    owner = None if clusters is None else np.unique(clusters, return_inverse=True)[1]
    if isinstance(predictions, LabelPredictions) and metric in LABEL_METRICS:
        return _of_labels(predictions, metric, owner)
    sums = additive_metrics(predictions, settings, [metric])
    if metric in sums:
        return of_sums(sums[metric], owner)
    if metric not in measure(predictions, settings, only=[metric])[0]:
        return None
    other = applicable(predictions, settings, [metric])[1].get(metric)
    if isinstance(other, BestThreshold):
        return of_threshold(other, owner)
    scores, cells = _of_order(predictions, metric)
    return _of_examples(scores, len(predictions), cells, owner)


def of_sums(metric: Additive, owner: Indices | None = None) -> Weighted:
    """A metric that is a function of sums; ``owner`` int64 [N] holds the cluster, 0, 1 …, of each example."""
    rows = metric.statistics
    if owner is not None:
        order = np.argsort(owner, kind="stable")
        rows = np.add.reduceat(rows[order], np.searchsorted(owner[order], np.arange(owner.max() + 1)), axis=0)
    rows, counts = _distinct(rows)
    return Weighted(counts, partial(_from_sums, metric.value, rows), sum(rows.shape))


def of_threshold(metric: BestThreshold, owner: Indices | None = None) -> Weighted:
    """A score at the best threshold for no answer; ``owner`` is as in :func:`of_sums`. Raises as the metric does."""
    order, gain, unanswerable = metric.gains()
    return _of_examples(partial(_best, order, gain, unanswerable), len(gain), 3 * len(gain), owner)


def _from_sums(value: Callable[[Floats], Floats], rows: Floats, weights: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return value(weights @ rows)


def _distinct(rows: Floats) -> tuple[Floats, Indices]:
    """Each distinct row of [N, K], and how often it occurs. Equal rows that it keeps apart do no harm."""
    marks = np.einsum("nk,k->n", rows, np.random.default_rng(0).random(rows.shape[1]))
    _, first, group, counts = np.unique(marks, return_index=True, return_inverse=True, return_counts=True)
    if (rows[first[group]] == rows).all():
        return rows[first], counts
    return rows, np.ones(len(rows), np.int64)


def _of_labels(predictions: LabelPredictions, metric: str, owner: Indices | None) -> Weighted | None:
    """A metric of predicted labels: the examples with the same pair of predicted and true label are of one kind."""
    mapping = predictions.label_of_logit
    if mapping is None or (metric.endswith("_binary") and class_count(predictions) != 2):
        return None
    predicted, reference = predicted_labels(predictions.logits, mapping), predictions.reference.astype(np.int64)
    labels, index = np.unique(np.concatenate([predicted, reference]), return_inverse=True)
    pairs = index[: len(predicted)] * len(labels) + index[len(predicted) :]
    kinds, counts = np.unique(pairs, return_counts=True)
    cells = 16 * len(labels)
    if owner is None:
        return Weighted(counts, _label_scores(metric, labels, kinds), cells + 2 * len(kinds))
    return _of_examples(_label_scores(metric, labels, pairs), len(pairs), cells + 2 * len(pairs), owner)


def _label_scores(metric: str, labels: Labels, pairs: Indices) -> Scores:
    of_prediction, of_reference = np.divmod(pairs, len(labels))
    diagonal = np.flatnonzero(of_prediction == of_reference)
    predicted, actual = _Sums(of_prediction, len(labels)), _Sums(of_reference, len(labels))
    hits = _Sums(of_prediction[diagonal], len(labels))

    def scores(weights: Floats) -> Floats:
        sums = (hits(weights[:, diagonal]), predicted(weights), actual(weights))
        return LABEL_METRICS[metric](ClassCounts(labels, *(part.astype(np.int64) for part in sums)))

    return scores


class _Sums:
    """Weights [R, G] summed over the columns of the same place: [R, size]. ``places`` int64 [G] are below ``size``."""

    def __init__(self, places: Indices, size: int) -> None:
        self.order = np.argsort(places, kind="stable")
        self.present, self.starts = np.unique(places[self.order], return_index=True)
        self.size = size

    def __call__(self, weights: Floats) -> Floats:
        ordered = weights.take(self.order, axis=1)
        if len(self.present) == self.size == ordered.shape[1]:
            return ordered
        sums = np.zeros((len(weights), self.size))
        if len(self.present):
            sums[:, self.present] = np.add.reduceat(ordered, self.starts, axis=1)
        return sums


def _of_examples(scores: Scores, n: int, cells: int, owner: Indices | None) -> Weighted:
    """Scores of weights of each of n examples, which are drawn one by one, or cluster by cluster."""
    if owner is None:
        return Weighted(np.ones(n, np.int64), scores, cells)
    return Weighted(np.ones(owner.max() + 1, np.int64), lambda weights: scores(weights[:, owner]), cells + n)


def _of_order(predictions: Predictions, metric: str) -> tuple[Scores, int]:
    """The scores of a metric that sorts the examples, and how many numbers it holds for one resample."""
    n = len(predictions)
    if isinstance(predictions, LabelSetPredictions):
        return _of_ranking(predictions, metric)
    if isinstance(predictions, SimilarityPredictions):
        column = SIMILARITIES[metric.removesuffix("spearman")]
        return _rank_correlation(predictions.similarity[:, column], predictions.reference), 10 * n
    if isinstance(predictions, LabelPredictions):
        values = predictions.logits[:, 0].astype(np.float64)
        return _rank_correlation(values, predictions.reference.astype(np.float64)), 10 * n
    raise TypeError(f"{type(predictions).__name__} has no metric {metric} that sorts examples")


def _best(order: Indices, gain: Floats, unanswerable: NDArray[np.bool_], weights: Floats) -> Floats:
    steps = np.cumsum((weights * gain).take(order, axis=1), axis=1).max(axis=1)
    best: Floats = (weights @ unanswerable + np.maximum(steps, 0.0)) / weights.sum(axis=1)
    return best


def _rank_correlation(one: Floats, other: Floats) -> Scores:
    """Spearman's correlation; the copies of an example tie with each other, and all ties have their mean rank."""
    ranks, other_ranks = _midranks(one), _midranks(other)

    def scores(weights: Floats) -> Floats:
        n = weights.sum(axis=1)
        first, second = (of(weights) - (n[:, None] + 1) / 2 for of in (ranks, other_ranks))
        product, spread, other_spread = (
            np.einsum("rn,rn,rn->r", weights, *pair) for pair in ((first, second), (first, first), (second, second))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(product / np.sqrt(spread * other_spread), np.float64)

    return scores


def _midranks(values: Floats) -> Scores:
    """The mean rank, from 1 on, of each value's copies among all: weights [R, N] to ranks [R, N]."""
    distinct, place = np.unique(values, return_inverse=True)
    copies = _Sums(place, len(distinct))

    def ranks(weights: Floats) -> Floats:
        there = copies(weights)
        middle: Floats = (np.cumsum(there, axis=1) - (there - 1) / 2).take(place, axis=1)
        return middle

    return ranks


def _of_ranking(predictions: LabelSetPredictions, metric: str) -> tuple[Scores, int]:
    logits, reference = label_logits(predictions), predictions.reference
    curve = _precision_area if metric == "pr_auc" else _roc_area
    if metric == "roc_auc_micro":
        examples = np.repeat(np.arange(len(logits)), logits.shape[1])
        whole = _curve(curve, logits.ravel(), reference.ravel())
        return (lambda weights: whole(weights[:, examples])), 6 * logits.size
    columns = [_curve(curve, logits[:, column], reference[:, column]) for column in range(logits.shape[1])]
    return (lambda weights: np.mean([scores(weights) for scores in columns], axis=0)), 6 * len(logits)


def _curve(area: Callable[[Floats, Floats], Floats], logits: Floats, is_there: NDArray[np.bool_]) -> Scores:
    """The area under a curve over thresholds; ``area`` maps the weights with and without the label at each of them."""
    order = np.argsort(-logits, kind="stable")
    first = np.unique(-logits[order], return_index=True)[1]
    there, is_distinct = is_there[order], len(first) == len(order)

    def scores(weights: Floats) -> Floats:
        falling = weights.take(order, axis=1)
        found = falling * there
        sides = (found, falling - found)
        return area(*(sides if is_distinct else (np.add.reduceat(side, first, axis=1) for side in sides)))

    return scores


def _roc_area(there: Floats, absent: Floats) -> Floats:
    """The share of pairs with and without the label in which the former scores higher, ties half."""
    above = np.cumsum(there, axis=1) - there / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((above * absent).sum(axis=1) / (there.sum(axis=1) * absent.sum(axis=1)), np.float64)


def _precision_area(there: Floats, absent: Floats) -> Floats:
    """Average precision: the precision at each threshold, weighted by what it finds; 0 where nothing is to be found."""
    found = np.cumsum(there, axis=1)
    chosen = found + np.cumsum(absent, axis=1)
    precision = np.divide(found, chosen, out=np.zeros(found.shape), where=chosen > 0)
    total = there.sum(axis=1)
    area: Floats = np.divide((precision * there).sum(axis=1), total, out=np.zeros(total.shape), where=total > 0)
    return area
