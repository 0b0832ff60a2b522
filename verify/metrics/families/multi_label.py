"""Metrics of classifiers that give an example any number of labels; the values equal scikit-learn's.

The labels are those of the data set, and further each class of the model that the data set lacks and the model predicts
somewhere: it is never right. A label that the model has no class for is never predicted. A ratio without a denominator
is 0 (``zero_division=0``). Scores are fractions, the loss is in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verify.errors import EngineError
from verify.metrics.additive import Additive, Floats, mean_of, share_of
from verify.metrics.families.averages import averaged, by_samples
from verify.metrics.undefined import UndefinedScoreError, defined
from verify.store.predictions import LabelSetPredictions
from verify.types import Score

Flags = NDArray[np.bool_]


def metrics(predictions: LabelSetPredictions) -> dict[str, Additive]:
    """Return every metric that is a function of sums over examples, by canonical name.

    ``accuracy`` is the share of examples with exactly the right set of labels, ``hamming_loss`` the share of single
    yes-or-no labels that are wrong, ``jaccard`` the mean over examples of shared labels per label of either side; F1,
    precision and recall are averaged over labels (macro, weighted), over examples (samples), or taken of all labels
    together (micro). ``loss`` is the Trainer's: binary cross-entropy, mean over examples and the model's classes; it is
    left out where it has no value (see :func:`others`).

    Raises:
        EngineError: if the arrays do not fit together, or the logits are not finite.
    """
    _check(predictions)
    predicted, reference = _label_sets(predictions)
    counts = np.stack([predicted & reference, predicted, reference], axis=1).astype(np.float64)
    right, either = counts[:, 0].sum(axis=1), (predicted | reference).sum(axis=1)
    found = {
        "accuracy": share_of((predicted == reference).all(axis=1)),
        "hamming_loss": mean_of((predicted != reference).mean(axis=1)),
        "jaccard": mean_of(np.divide(right, either, out=np.zeros(len(right)), where=either > 0)),
    }
    for average in ("macro", "micro", "weighted"):
        found |= averaged(counts, average, f"_{average}", every_class=True)
    found |= {f"{name}_samples": mean_of(values) for name, values in by_samples(counts).items()}
    if _why_no_loss(predictions) is None:
        found["loss"] = mean_of(_losses(predictions))
    return found


def others(predictions: LabelSetPredictions) -> dict[str, Callable[[], Score]]:
    """Return the metrics of the logits' order over the data set's labels, and the loss where it has no value.

    ``roc_auc_micro`` takes all labels together, ``roc_auc_macro`` and ``pr_auc`` (average precision) are means over
    labels. Each raises UndefinedScoreError where it has no value.
    """
    found: dict[str, Callable[[], Score]] = {
        "roc_auc_micro": partial(_ranking, "roc_auc_micro", _roc_area, predictions),
        "roc_auc_macro": partial(_ranking, "roc_auc_macro", _roc_area, predictions),
        "pr_auc": partial(_ranking, "pr_auc", _average_precision, predictions),
    }
    why = _why_no_loss(predictions)
    if why is not None:
        found["loss"] = partial(_undefined, f"loss is undefined: {why}.")
    return found


def label_logits(predictions: LabelSetPredictions) -> Floats:
    """Return each label's logit [N, L]: the largest of several, -inf where the model has none."""
    logits = np.full(predictions.reference.shape, -np.inf)
    for column, label in enumerate(predictions.label_of_logit):
        if label >= 0:
            logits[:, label] = np.maximum(logits[:, label], predictions.logits[:, column])
    return logits


def _label_sets(predictions: LabelSetPredictions) -> tuple[Flags, Flags]:
    """Return predicted and reference labels, over the data set's and those that the model adds."""
    absent = np.asarray(predictions.label_of_logit) < 0
    logits = np.concatenate([label_logits(predictions), predictions.logits[:, absent]], axis=1)
    with np.errstate(over="ignore"):
        predicted = 1 / (1 + np.exp(-logits)) > predictions.threshold
    n_labels = predictions.reference.shape[1]
    kept = np.concatenate([np.ones(n_labels, np.bool_), predicted[:, n_labels:].any(axis=0)])
    reference = np.zeros_like(predicted)
    reference[:, :n_labels] = predictions.reference
    return predicted[:, kept], reference[:, kept]


def _losses(predictions: LabelSetPredictions) -> Floats:
    """Return each example's mean binary cross-entropy; a class that the data set lacks is never there."""
    logits, labels = predictions.logits.astype(np.float64), np.asarray(predictions.label_of_logit)
    targets = np.where(labels >= 0, predictions.reference[:, labels.clip(min=0)], False)
    losses = np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))
    means: Floats = losses.mean(axis=1)
    return means


def _missing(predictions: LabelSetPredictions) -> list[int]:
    return sorted(set(range(predictions.reference.shape[1])) - set(predictions.label_of_logit))


def _why_no_loss(predictions: LabelSetPredictions) -> str | None:
    known = [label for label in predictions.label_of_logit if label >= 0]
    if len(set(known)) < len(known):
        return "several of the model's classes stand for the same label"
    missing = _missing(predictions)
    return f"the model has no class for {_listed(missing)}" if missing else None


def _ranking(name: str, area: Callable[[Floats, Floats], float], predictions: LabelSetPredictions) -> Score:
    missing = _missing(predictions)
    if missing:
        _undefined(f"{name} is undefined: the model has no class for {_listed(missing)}.")
    reference, logits = predictions.reference, label_logits(predictions)
    if name == "roc_auc_micro":
        reference, logits = reference.reshape(-1, 1), logits.reshape(-1, 1)
    constant = np.flatnonzero(reference.all(axis=0) | ~reference.any(axis=0)).tolist()
    if area is _roc_area and constant:
        which = "the labels" if name == "roc_auc_micro" else _listed(constant)
        _undefined(f"{name} is undefined: {which} belong to all of the examples, or to none.")
    areas = [area(*_curve(*column)) for column in zip(logits.T, reference.T, strict=True)]
    return defined(name, float(np.mean(areas)), len(predictions))


def _curve(logits: Floats, is_there: Flags) -> tuple[Floats, Floats]:
    """How many examples with the label, and how many without it, reach each logit that occurs, from the largest on.

    The logits were float32, so the lowest bit of each float64 is free for the label, and sorting moves both.
    """
    marked = (logits + 0.0).view(np.int64) | is_there  # + 0.0 leaves one zero of two
    falling = np.sort(marked.view(np.float64))[::-1].view(np.int64)
    there, threshold = falling & 1, falling & ~1
    last = np.append(np.flatnonzero(np.diff(threshold)), len(threshold) - 1)
    with_label = np.cumsum(there)[last].astype(np.float64)
    return with_label, 1 + last - with_label


def _roc_area(there: Floats, absent: Floats) -> float:
    """The area under the curve of true over false positives, whose corners alone count, as in scikit-learn."""
    corners = np.ones(len(there), np.bool_)
    if len(there) > 2:
        corners[1:-1] = (np.diff(there, 2) != 0) | (np.diff(absent, 2) != 0)
    there, absent = (np.concatenate([[0.0], side[corners]]) for side in (there, absent))
    return float(np.trapezoid(there / there[-1], absent / absent[-1]))


def _average_precision(there: Floats, absent: Floats) -> float:
    """The precision at each threshold, weighted by what it adds to the recall; 0 for a label that no example has."""
    if there[-1] == 0:
        return 0.0
    precision, recall = (there / (there + absent))[::-1], np.append((there / there[-1])[::-1], 0.0)
    return max(0.0, -float(np.sum(np.diff(recall) * precision)))


def _listed(labels: Sequence[int]) -> str:
    return f"label ids {', '.join(str(label) for label in labels[:5])}{' …' if len(labels) > 5 else ''}"


def _undefined(why: str) -> Score:
    raise UndefinedScoreError(why)


def _check(predictions: LabelSetPredictions) -> None:
    n, columns = len(predictions), len(predictions.label_of_logit)
    labels = predictions.reference.shape[1]
    if predictions.logits.shape != (n, columns) or len(predictions.reference) != n or labels == 0:
        shapes = (" × ".join(map(str, array.shape)) for array in (predictions.logits, predictions.reference))
        raise EngineError(
            f"The stored predictions do not fit together: {n} examples and {columns} classes, but logits and "
            f"references of shapes {' and '.join(shapes)}. Run the evaluation again."
        )
    broken = int((~np.isfinite(predictions.logits)).any(axis=1).sum())
    if broken:
        raise EngineError(
            f"The model's outputs are not finite on {broken} of {n} examples, so no score can be trusted. Half "
            "precision may overflow: run it in float32. If they stay so, the weights are damaged."
        )
