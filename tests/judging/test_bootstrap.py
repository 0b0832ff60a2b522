import math
import tracemalloc
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from verify.judging import bootstrap
from verify.judging.bootstrap import bca, interval, interval_of, left_out, observed, replicates
from verify.metrics.additive import Additive, mean_of, ratio, share_of
from verify.metrics.flips.weighted import Weighted, of_sums, weighted
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions, LabelSetPredictions, SimilarityPredictions

MANY = 20_000


def run_of(predicted, reference, classes=2):
    predicted = np.asarray(predicted, np.int64)
    logits = np.eye(classes, dtype=np.float32)[predicted]
    return LabelPredictions(np.arange(len(predicted)), logits, np.asarray(reference), tuple(range(classes)))


def noisy(generator, n, classes=2, right=0.8):
    reference = generator.integers(0, classes, n)
    predicted = np.where(generator.random(n) < right, reference, generator.integers(0, classes, n))
    return run_of(predicted, reference, classes)


def similar(generator, n):
    reference = generator.normal(size=n)
    return SimilarityPredictions(np.arange(n), reference[:, None] + generator.normal(size=(n, 4)), reference)


def macro_f1(predicted, reference, axis=-1):
    scores = []
    for label in (0, 1):
        right = ((predicted == label) & (reference == label)).sum(axis=axis)
        scores.append(2 * right / ((predicted == label).sum(axis=axis) + (reference == label).sum(axis=axis)))
    return np.mean(scores, axis=0)


def pearson(one, other, axis=-1):
    return stats.pearsonr(one, other, axis=axis).statistic


def mean(values, axis=-1):
    return values.mean(axis=axis)


def cases():
    generator = np.random.default_rng(5)
    skewed = generator.exponential(size=30)
    run = noisy(generator, 60)
    pairs = similar(generator, 40)
    return [
        pytest.param(of_sums(mean_of(skewed)), (skewed,), mean, id="mean"),
        pytest.param(weighted(run, "f1_macro", {}), (run.logits.argmax(1), run.reference), macro_f1, id="macro F1"),
        pytest.param(weighted(pairs, "pearson", {}), (pairs.similarity[:, 0], pairs.reference), pearson, id="Pearson"),
    ]


@pytest.mark.parametrize(("form", "data", "statistic"), cases())
def test_intervals_agree_with_those_of_scipy(form, data, statistic):
    theirs = stats.bootstrap(
        data, statistic, paired=True, n_resamples=MANY, batch=1000, vectorized=True, rng=np.random.default_rng(1)
    ).confidence_interval
    ours = interval_of(form, repetitions=MANY)
    # An end is a quantile of 20,000 draws: its standard error is about 0.5 % of the width.
    near = 0.03 * (theirs.high - theirs.low)
    assert ours.low == pytest.approx(theirs.low, abs=near)
    assert ours.high == pytest.approx(theirs.high, abs=near)


@pytest.mark.parametrize(("form", "data", "statistic"), cases())
@pytest.mark.parametrize("level", [0.8, 0.95])
def test_of_the_same_resamples_the_interval_is_scipys_to_the_last_digits(form, data, statistic, level):
    theirs = stats.bootstrap(
        data, statistic, paired=True, n_resamples=1999, vectorized=True, rng=np.random.default_rng(2),
        confidence_level=level,
    )  # fmt: skip
    ours = bca(observed(form), theirs.bootstrap_distribution, *left_out(form, np.random.default_rng(0)), level=level)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=1e-12)


@pytest.mark.parametrize("few", [0, 10**9], ids=["counts are drawn", "examples are drawn"])
def test_resamples_come_as_often_as_they_should(monkeypatch, few):
    monkeypatch.setattr(bootstrap, "_FEW", few)
    counts = np.array([2, 1, 1])
    form = Weighted(counts, lambda weights: weights @ np.array([1.0, 10.0, 100.0]), 3)
    kinds = np.repeat([1.0, 10.0, 100.0], counts)
    exact = {}
    for chosen in product(kinds, repeat=4):
        exact[sum(chosen)] = exact.get(sum(chosen), 0) + 1 / 4**4
    drawn, seen = np.unique(replicates(form, MANY, np.random.default_rng(3)), return_counts=True)
    assert set(drawn) == set(exact)
    expected = np.array([exact[value] for value in drawn]) * MANY
    assert stats.chisquare(seen, expected).pvalue > 1e-4


def test_the_seed_decides_and_the_size_of_blocks_does_not(monkeypatch):
    generator = np.random.default_rng(0)
    forms = [
        weighted(noisy(generator, 500, 4), "matthews_correlation", {}),
        weighted(similar(generator, 600), "spearman", {}),
        of_sums(mean_of(generator.random(700))),
    ]
    before = [interval_of(form, seed=4) for form in forms]
    assert before != [interval_of(form, seed=5) for form in forms]
    monkeypatch.setattr(bootstrap, "_CELLS", 3000)
    for form, found in zip(forms, before, strict=True):
        again = interval_of(form, seed=4)
        assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize("metric", ["f1_macro", "matthews_correlation", "accuracy"])
def test_an_interval_holds_the_true_score_as_often_as_it_says(metric):
    generator = np.random.default_rng(11)
    chances = np.array([[0.5, 0.1], [0.1, 0.3]])  # of (reference, predicted)
    share = chances.sum(axis=1)
    truth = {
        "accuracy": 0.8,
        "f1_macro": np.mean([2 * chances[k, k] / (share[k] + chances[:, k].sum()) for k in (0, 1)]),
        "matthews_correlation": (0.5 * 0.3 - 0.1 * 0.1) / math.sqrt(0.6 * 0.4 * 0.6 * 0.4),
    }[metric]
    inside, runs = 0, 400
    for seed in range(runs):
        pairs = generator.choice(4, 300, p=chances.ravel())
        found = interval(run_of(pairs % 2, pairs // 2), metric, {}, repetitions=1000, seed=seed)
        inside += found.low <= truth <= found.high
    assert 0.92 < inside / runs < 0.98


def test_the_interval_of_the_rest_of_a_split_is_as_narrow_as_what_is_missing():
    generator = np.random.default_rng(12)
    inside, too_wide, runs = 0, 0, 400
    for seed in range(runs):
        split = noisy(generator, 1000)
        truth = measure(split, only=["f1_macro"])[0]["f1_macro"].value
        rows = generator.permutation(1000)[:600]
        sample = run_of(split.logits[rows].argmax(1), split.reference[rows])
        found = interval(sample, "f1_macro", {}, repetitions=500, seed=seed, population=1000)
        endless = interval(sample, "f1_macro", {}, repetitions=500, seed=seed)
        inside += found.low <= truth <= found.high
        too_wide += endless.low <= truth <= endless.high
        assert (found.high - found.low) / (endless.high - endless.low) == pytest.approx(math.sqrt(0.4))
    assert 0.92 < inside / runs < 0.98
    assert too_wide / runs > 0.99


def test_a_whole_split_has_no_sampling_error():
    run = noisy(np.random.default_rng(0), 100)
    found = interval(run, "f1_macro", {}, population=100)
    score = measure(run, only=["f1_macro"])[0]["f1_macro"].value
    assert (found.low, found.high) == (pytest.approx(score), pytest.approx(score))
    other_data = interval(run, "f1_macro", {})
    assert other_data.low < score - 0.03
    assert other_data.high > score + 0.03


@pytest.mark.parametrize("metric", ["accuracy", "f1_macro", "loss"])
def test_copies_that_come_together_add_nothing(metric):
    run = noisy(np.random.default_rng(1), 200, 3)
    rows, clusters = np.repeat(np.arange(200), 4), np.repeat(np.arange(200), 4)
    copies = LabelPredictions(np.arange(800), run.logits[rows], run.reference[rows], run.label_of_logit)
    alone, together = (
        interval(one, metric, {}, clusters=owner, repetitions=MANY) for one, owner in ((run, None), (copies, clusters))
    )
    near = 0.03 * (alone.high - alone.low)
    assert together.low == pytest.approx(alone.low, abs=near)
    assert together.high == pytest.approx(alone.high, abs=near)
    apart = interval(copies, metric, {}, repetitions=MANY)
    assert (alone.high - alone.low) / (apart.high - apart.low) == pytest.approx(2, rel=0.05)


def test_clusters_are_kept_together_where_a_metric_sorts_examples():
    pairs = similar(np.random.default_rng(2), 150)
    rows = np.repeat(np.arange(150), 3)
    copies = SimilarityPredictions(np.arange(450), pairs.similarity[rows], pairs.reference[rows])
    alone, together = interval(pairs, "spearman", {}), interval(copies, "spearman", {}, clusters=rows * 10)
    # Three copies tie with each other, so ranks are three times as large, and the correlation is the same.
    assert (together.low, together.high) == (pytest.approx(alone.low), pytest.approx(alone.high))


def test_a_random_sample_was_not_drawn_by_clusters():
    run = noisy(np.random.default_rng(1), 200)
    clusters = np.arange(200) // 20
    given_, none = (interval(run, "accuracy", {}, clusters=one, population=500) for one in (clusters, None))
    assert given_ == none


def test_no_interval_where_the_bootstrap_is_blind():
    generator = np.random.default_rng(3)
    perfect = run_of([0, 1] * 50, [0, 1] * 50)
    assert interval(perfect, "accuracy", {}) is None
    assert interval(perfect, "loss", {}) is None
    assert interval(run_of([1], [1]), "accuracy", {}) is None
    assert interval(run_of([], np.empty(0, np.int64)), "accuracy", {}) is None
    assert interval(noisy(generator, 50, 3), "f1_binary", {}) is None
    assert interval(noisy(generator, 50), "wer", {}) is None
    constant = SimilarityPredictions(np.arange(9), np.ones((9, 4)), np.arange(9.0))
    assert interval(constant, "spearman", {}) is None
    assert interval(constant, "pearson", {}) is None


def test_no_interval_where_one_example_decides_whether_there_is_a_score():
    generator = np.random.default_rng(3)
    logits = generator.normal(size=(200, 2)).astype(np.float32)
    reference = generator.random((200, 2)) < 0.5
    common = LabelSetPredictions(np.arange(200), logits, reference, (0, 1))
    reference = reference.copy()
    reference[1:, 1] = False
    reference[0, 1] = True
    rare = LabelSetPredictions(np.arange(200), logits, reference, (0, 1))
    assert interval(common, "roc_auc_macro", {}) is not None
    assert interval(rare, "roc_auc_macro", {}) is None


def test_resamples_without_a_score_are_left_out_while_they_are_few():
    scores = np.linspace(0, 1, 1000)
    some, many = scores.copy(), scores.copy()
    some[::25], many[::15] = np.nan, np.nan
    quiet = (np.array([0.4, 0.6]), np.array([1, 1]))
    assert bca(0.5, some, *quiet, level=0.9).low == pytest.approx(0.05, abs=0.005)
    assert bca(0.5, many, *quiet, level=0.9) is None
    assert bca(math.nan, scores, *quiet, level=0.9) is None
    assert bca(2.0, scores, *quiet, level=0.9) is None
    undefined = (np.array([np.nan, 0.4, 0.6, np.nan]), np.array([5, 1, 1, 1]))
    assert bca(0.5, scores, *undefined, level=0.9) == bca(0.5, scores, *quiet, level=0.9)


@given(st.integers(0, 10**6), st.integers(3, 40), st.sampled_from(["accuracy", "f1_macro", "f1_weighted"]))
def test_an_interval_lies_within_the_scores_that_are_possible(seed, n, metric):
    found = interval(noisy(np.random.default_rng(seed), n), metric, {}, repetitions=200)
    if found is not None:
        assert 0 <= found.low <= found.high <= 1


@pytest.mark.parametrize("skew", [1.0, -1.0])
def test_the_jackknife_by_parts_gives_the_acceleration_of_single_examples(skew):
    values = skew * np.random.default_rng(6).exponential(size=4000)
    form = of_sums(mean_of(values))
    scores, times = left_out(form, np.random.default_rng(0))
    assert len(scores) == len(times) == bootstrap.BLOCKS
    found = bootstrap._acceleration(scores, times)
    assert found == pytest.approx(stats.skew(values) / (6 * math.sqrt(len(values))), abs=3 * 0.0008)
    assert np.sign(found) == skew


def test_rates_resample_their_denominators():
    generator = np.random.default_rng(9)
    words = generator.integers(1, 30, 400).astype(np.float64)
    errors = generator.binomial(words.astype(int), 0.1).astype(np.float64)
    theirs = stats.bootstrap(
        (errors, words), lambda e, w, axis: e.sum(axis=axis) / w.sum(axis=axis), paired=True, n_resamples=5000,
        rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    ours = interval_of(of_sums(Additive(np.stack([errors, words], axis=1), ratio)), repetitions=5000)
    near = 0.05 * (theirs.high - theirs.low)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=near), pytest.approx(theirs.high, abs=near))


def test_a_thousand_classes_need_little_memory():
    generator = np.random.default_rng(4)
    reference = generator.integers(0, 1000, 50_000)
    predicted = np.where(generator.random(50_000) < 0.7, reference, generator.integers(0, 1000, 50_000))
    logits = np.zeros((50_000, 1000), np.float32)
    logits[np.arange(50_000), predicted] = 1
    run = LabelPredictions(np.arange(50_000), logits, reference, tuple(range(1000)))
    score = measure(run, only=["f1_macro"])[0]["f1_macro"].value
    tracemalloc.start()
    found = interval(run, "f1_macro", {}, repetitions=100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.low < score < found.high
    assert found.high - found.low < 0.02
    assert peak < 2**28


def test_what_does_not_fit_together_is_refused():
    run = noisy(np.random.default_rng(0), 50)
    with pytest.raises(ValueError, match="50 examples cannot be a sample of 49"):
        interval(run, "accuracy", {}, population=49)
    with pytest.raises(ValueError, match="3 clusters are given for 50 examples"):
        interval(run, "accuracy", {}, clusters=np.arange(3))
    with pytest.raises(ValueError, match="a level lies between 0 and 1"):
        interval_of(of_sums(share_of(np.array([True, False]))), level=95)
