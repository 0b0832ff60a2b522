"""Scores of weights against the metrics themselves, measured on runs whose rows are repeated or left out."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.metrics.families.classification import LABEL_METRICS
from verify.metrics.flips.budget import flip_budget
from verify.metrics.flips.weighted import weighted
from verify.metrics.registry import additive_metrics, applicable, measure
from verify.store.predictions import (
    AnswerPredictions,
    Family,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
    with_rows,
)

NO_MARGIN = np.inf


def sums(run):
    """The metrics of which examples with equal statistics are one kind, in no particular order."""
    of_labels = LABEL_METRICS if run.family is Family.CLASSIFICATION else {}
    return set(additive_metrics(run, {})) - set(of_labels)


def labels(generator, n, classes=2, mapping=None):
    logits = generator.normal(size=(n, classes)).astype(np.float32)
    mapping = tuple(range(classes)) if mapping is None else mapping
    known = [label for label in mapping if label >= 0]
    return LabelPredictions(np.arange(n), logits, generator.choice(known, n), mapping)


def numbers(generator, n):
    values = generator.integers(-3, 4, n) / 2
    return LabelPredictions(
        np.arange(n), values[:, None].astype(np.float32), values + generator.integers(-2, 3, n), None
    )


def similarities(generator, n):
    reference = generator.integers(0, 6, n).astype(np.float64)
    return SimilarityPredictions(np.arange(n), reference[:, None] + generator.integers(-3, 4, (n, 4)), reference)


def label_sets(generator, n):
    logits = generator.integers(-3, 4, (n, 3)).astype(np.float32)
    return LabelSetPredictions(np.arange(n), logits, generator.random((n, 3)) < 0.5, (0, 1, 2))


def answers(generator, n):
    words = ["red", "blue", "red car", "", "blue car"]
    said = [words[i] for i in generator.integers(0, 5, n)]
    wanted = [[words[i]] if words[i] else [] for i in generator.integers(0, 5, n)]
    nulls = generator.integers(-2, 3, n).astype(np.float64)
    lists = [[] for _ in range(n)]
    return AnswerPredictions(np.arange(n), said, lists, lists, nulls, wanted, np.full(n, NO_MARGIN))


def tags(generator, n):
    names, lengths = ["O", "B-PER", "B-LOC"], generator.integers(1, 5, n)
    said, wanted = ([[names[i] for i in generator.integers(0, 3, length)] for length in lengths] for _ in range(2))
    return TagPredictions(np.arange(n), said, wanted, [[NO_MARGIN] * length for length in lengths], "IOB2")


def transcripts(generator, n):
    words = np.array(["one", "two", "three"])
    said, wanted = ([" ".join(generator.choice(words, generator.integers(1, 4))) for _ in range(n)] for _ in range(2))
    return TextPredictions(
        np.arange(n), said, [[text] for text in wanted], np.full(n, NO_MARGIN), of=Family.TRANSCRIPTS
    )


def likelihoods(generator, n):
    counts = generator.integers(1, 5, (3, n))
    return LikelihoodPredictions(np.arange(n), generator.random(n) * 5, *counts, generator.integers(0, 2, n))


RUNS = {
    "two classes": labels,
    "five classes, one of them not in the data": lambda generator, n: labels(generator, n, 5, (0, 1, -1, 2, 3)),
    "seven classes": lambda generator, n: labels(generator, n, 7),
    "numbers": numbers,
    "similarities": similarities,
    "label sets": label_sets,
    "answers": answers,
    "tags": tags,
    "transcripts": transcripts,
    "likelihoods": likelihoods,
}


def taken(run, rows):
    columns = {name: getattr(run, name) for name in run.COLUMNS}
    kept = {
        name: column[rows] if isinstance(column, np.ndarray) else [column[row] for row in rows]
        for name, column in columns.items()
    }
    return replace(run, **kept)


@pytest.mark.parametrize("name", RUNS)
@settings(max_examples=15, deadline=None)
@given(data=st.data(), seed=st.integers(0, 10**6))
@pytest.mark.filterwarnings("ignore")
def test_a_weighted_score_is_that_of_the_rows_repeated(name, data, seed):
    n = data.draw(st.integers(2, 12))
    run = RUNS[name](np.random.default_rng(seed), n)
    weights = np.array(data.draw(st.lists(st.lists(st.integers(0, 3), min_size=n, max_size=n), min_size=1, max_size=4)))
    scores, _ = measure(run)
    for metric in set(scores) - sums(run):
        form = weighted(run, metric, {}, clusters=np.arange(n))
        found = form.scores(weights.astype(np.float64))
        assert found.shape == (len(weights),)
        assert form.scores(form.counts[None] * 1.0)[0] == pytest.approx(scores[metric].value, abs=1e-9)
        for row, value in zip(weights, found, strict=True):
            resample = np.repeat(np.arange(n), row)
            again = measure(taken(run, resample), only=[metric])[0] if row.any() else {}
            if metric in again:
                assert value == pytest.approx(again[metric].value, abs=1e-9), (metric, row)


def without(run, metric, parts):
    """The score of a run without each of some parts, NaN where there is none, in ascending order."""
    rows = np.arange(len(run))
    found = [measure(taken(run, np.setdiff1d(rows, part)), only=[metric])[0].get(metric) for part in parts]
    return np.sort([np.nan if score is None else score.value for score in found])


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore")
def test_each_kind_left_out_once_is_each_example_left_out(name):
    run = RUNS[name](np.random.default_rng(3), 25)
    for metric in measure(run)[0]:
        form = weighted(run, metric, {})
        assert form.counts.sum() == 25
        found = np.repeat(form.scores(form.counts - np.eye(len(form.counts))), form.counts)
        expected = without(run, metric, np.arange(25))
        assert np.sort(found) == pytest.approx(expected, abs=1e-9, nan_ok=True), metric


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_is_left_out_with_all_its_examples(name):
    run = RUNS[name](np.random.default_rng(8), 30)
    clusters = np.random.default_rng(9).permutation(np.repeat([7, 3, 90, 4, 5], 6))
    for metric in measure(run)[0]:
        form = weighted(run, metric, {}, clusters)
        assert form.counts.sum() == 5
        found = np.repeat(form.scores(form.counts - np.eye(len(form.counts))), form.counts)
        expected = without(run, metric, [np.flatnonzero(clusters == cluster) for cluster in np.unique(clusters)])
        assert np.sort(found) == pytest.approx(expected, abs=1e-9, nan_ok=True), metric


def test_equal_examples_are_one_kind():
    run = labels(np.random.default_rng(0), 5000)
    assert len(weighted(run, "f1_macro", {}).counts) == 4
    assert len(weighted(run, "accuracy", {}).counts) == 4
    assert len(weighted(run, "loss", {}).counts) == 5000
    assert len(weighted(transcripts(np.random.default_rng(0), 5000), "wer", {}).counts) < 20


@pytest.mark.parametrize(
    ("name", "metric", "constant"),
    [
        ("numbers", "spearman", lambda run: run.reference),
        ("similarities", "dot_spearman", lambda run: run.reference),
        ("label sets", "roc_auc_macro", lambda run: run.reference[:, 0]),
        ("label sets", "roc_auc_micro", lambda run: run.reference.all(axis=1)),
    ],
)
def test_a_resample_in_which_a_metric_has_no_value_gets_none(name, metric, constant):
    generator = np.random.default_rng(1)
    run = RUNS[name](generator, 60)
    values = constant(run)
    weights = np.zeros((2, 60))
    weights[0, np.flatnonzero(values == values[0] if values.dtype != bool else values)] = 2
    weights[1] = 1
    first, second = weighted(run, metric, {}, clusters=np.arange(60)).scores(weights)
    assert np.isnan(first)
    assert np.isfinite(second)


def test_what_is_not_measured_has_no_form():
    generator = np.random.default_rng(0)
    assert weighted(labels(generator, 20, 5), "f1_binary", {}) is None
    assert weighted(labels(generator, 20), "wer", {}) is None
    assert weighted(labels(generator, 20), "evaluate:./mine/key", {}) is None
    assert weighted(numbers(generator, 20), "f1_macro", {}) is None
    constant = numbers(generator, 20)
    constant = replace(constant, reference=np.ones(20))
    assert weighted(constant, "spearman", {}) is None
    assert weighted(replace(label_sets(generator, 20), label_of_logit=(0, 1, -1)), "roc_auc_macro", {}) is None


@pytest.mark.parametrize("name", RUNS)
def test_what_is_at_hand_gives_the_scores_and_budgets_that_are_made_anew(name):
    run, rows = RUNS[name](np.random.default_rng(5), 60), np.arange(0, 60, 4)
    other = replace(run, tags=run.reference) if name == "tags" else RUNS[name](np.random.default_rng(6), 60)
    probe = taken(other, rows)
    applied = applicable(run, {})
    scores, notes = measure(run, {}, applied=applied)
    assert (scores, notes) == measure(run, {})
    budgets, flips = flip_budget(run, probe, scores, {}, applied)
    assert flips > 0 or run.margins() is None
    assert (budgets, flips) == flip_budget(run, probe, scores, {})


def test_the_budget_of_texts_is_that_of_measuring_with_the_probed_rows_replaced():
    run, rows = transcripts(np.random.default_rng(5), 60), np.arange(0, 60, 4)
    probe = replace(taken(run, rows), texts=["four four four four four"] * len(rows))
    scores, _ = measure(run)
    budgets, _ = flip_budget(run, probe, scores)
    moved, _ = measure(with_rows(run, rows, probe))
    assert budgets["wer"] == abs(moved["wer"].value - scores["wer"].value) > 0.1
