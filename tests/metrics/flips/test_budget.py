import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from verify.errors import EngineError
from verify.metrics.flips.budget import FLOAT_NOISE, NEAR_TIES, draft_budget, flip_budget, top_two
from verify.metrics.flips.rate import allowed_flips
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions


def run_of(n, columns, seed, mapping=None):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(n, columns)).astype(np.float32)
    mapping = tuple(range(columns)) if mapping is None else mapping
    return LabelPredictions(np.arange(n), logits, generator.integers(0, columns, n), mapping)


def part_of(run, rows, logits=None):
    rows = np.asarray(rows, np.int64)
    logits = run.logits[rows] if logits is None else logits
    return replace(run, example=run.example[rows], logits=logits, reference=run.reference[rows])


SKLEARN = {
    "accuracy": sklearn_metrics.accuracy_score,
    "matthews_correlation": sklearn_metrics.matthews_corrcoef,
    "f1_macro": lambda true, predicted: sklearn_metrics.f1_score(true, predicted, average="macro"),
    "precision_weighted": lambda true, predicted: sklearn_metrics.precision_score(
        true, predicted, average="weighted", zero_division=0
    ),
    "recall_macro": lambda true, predicted: sklearn_metrics.recall_score(
        true, predicted, average="macro", zero_division=0
    ),
}


@pytest.mark.parametrize(("n", "columns"), [(30, 2), (30, 4), (120, 3)])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_label_budget_equals_measuring_each_flip_by_brute_force(n, columns):
    run = run_of(n, columns, seed=columns)
    budgets, flips = flip_budget(run, part_of(run, []), measure(run)[0])
    predicted = run.logits.argmax(axis=1)
    ranked = np.argsort(-run.logits, axis=1)
    ordered = -np.sort(-run.logits, axis=1)
    nearest = np.argsort(ordered[:, 0] - ordered[:, 1])[:NEAR_TIES]
    assert flips == 0
    for name, function in SKLEARN.items():
        changes = []
        for row in nearest:
            flipped = predicted.copy()
            flipped[row] = ranked[row, 1]
            changes.append(function(run.reference, flipped) - function(run.reference, predicted))
        assert budgets[name] == pytest.approx(allowed_flips(0, n) * math.sqrt(np.mean(np.square(changes)))), name


def test_each_flip_seen_widens_the_label_budget():
    run = run_of(400, 3, seed=5)
    scores, _ = measure(run)
    first, second, margin = top_two(run.logits)
    nearest = np.argsort(margin)[:20]
    quiet, _ = flip_budget(run, part_of(run, nearest), scores)

    swapped = run.logits[nearest].copy()
    rows = np.arange(8)
    swapped[rows, second[nearest[:8]]] = run.logits[nearest[:8], first[nearest[:8]]]
    swapped[rows, first[nearest[:8]]] = run.logits[nearest[:8], second[nearest[:8]]]
    budgets, flips = flip_budget(run, part_of(run, nearest, swapped), scores)
    assert flips == 8
    replaced = run.logits.copy()
    replaced[nearest] = swapped
    moved, _ = measure(replace(run, logits=replaced))
    wider = allowed_flips(8, 400) / allowed_flips(0, 400)
    assert wider > 1
    for name in ("accuracy", "f1_macro", "matthews_correlation"):
        by_value = abs(moved[name].value - scores[name].value)
        assert budgets[name] == pytest.approx(max(wider * quiet[name], by_value))
    by_value = 2 * abs(moved["loss"].value - scores["loss"].value) * math.sqrt(400 / 20)
    assert budgets["loss"] == pytest.approx(by_value)
    assert quiet["loss"] == FLOAT_NOISE * scores["loss"].value


@given(st.integers(2, 6), st.integers(1, 80), st.integers(0, 1000))
def test_one_flip_moves_accuracy_by_at_most_one_example(columns, n, seed):
    run = run_of(n, columns, seed)
    budgets, _ = flip_budget(run, part_of(run, []), measure(run)[0])
    assert 0 <= budgets["accuracy"] <= 2 / n + 1e-12


def test_a_flip_between_columns_of_one_label_is_none():
    run = run_of(40, 3, seed=1, mapping=(0, 1, 1))
    run = replace(run, reference=run.reference % 2)
    scores, _ = measure(run)
    probe = part_of(run, range(40), run.logits[:, [0, 2, 1]])
    budgets, flips = flip_budget(run, probe, scores)
    assert flips == 0
    assert budgets["accuracy"] <= 2 / 40


@pytest.mark.parametrize("flips_expected", [0.3, 2.0, 10.0])
def test_random_flips_at_the_measured_rate_stay_inside_the_budget(flips_expected):
    n, ties = 300, 40
    generator = np.random.default_rng(int(flips_expected * 10))
    inside, trials = 0, 1500
    margin = np.full(n, 5.0)
    margin[:ties] = 1e-4 * np.arange(1, ties + 1)
    half = np.stack([np.zeros(n), margin], axis=1)

    for _ in range(trials):
        reference = generator.integers(0, 2, n)
        upper = np.where(np.arange(n) < ties, generator.integers(0, 2, n), reference)
        logits = np.where(upper[:, None] == 1, half, half[:, ::-1]).astype(np.float32)
        run = LabelPredictions(np.arange(n), logits, reference, (0, 1))
        scores, _ = measure(run, only=["accuracy"])

        def configured(logits=logits):
            flip = generator.random(n) < np.where(np.arange(n) < ties, flips_expected / ties, 0)
            return np.where(flip[:, None], logits[:, ::-1], logits)

        probe = part_of(run, range(ties), configured()[:ties])
        budgets, _ = flip_budget(run, probe, scores)
        again, _ = measure(replace(run, logits=configured()), only=["accuracy"])
        inside += abs(again["accuracy"].value - scores["accuracy"].value) <= budgets["accuracy"] + 1e-12
    assert inside / trials >= 0.95


def test_top5_budget_looks_at_fifth_and_sixth_place():
    n = 60
    logits = np.tile(np.array([90, 80, 70, 60, 50, 40, 30], np.float32), (n, 1))
    logits[:10, 5] = 49.99  # ten near ties for fifth place, far from the first
    run = LabelPredictions(np.arange(n), logits, np.full(n, 4), tuple(range(7)))
    scores, _ = measure(run)
    nearest = range(20, 30)

    budgets, flips = flip_budget(run, part_of(run, nearest), scores)
    assert flips == 0
    assert budgets["top5_accuracy"] == pytest.approx(allowed_flips(0, n) / n)

    noisy = run.logits[list(nearest)].copy()
    noisy[:, 4] += 0.02
    budgets, flips = flip_budget(run, part_of(run, nearest, noisy), scores)
    assert flips == 0
    assert budgets["top5_accuracy"] == pytest.approx(allowed_flips(10, n) / n)


def test_budget_of_a_regression_is_the_scaled_change_of_each_score():
    generator = np.random.default_rng(3)
    values = generator.normal(size=(200, 1)).astype(np.float32)
    run = LabelPredictions(np.arange(200) * 3, values, values[:, 0] + generator.normal(size=200), None)
    scores, _ = measure(run)
    rows = np.sort(generator.choice(200, 50, replace=False))
    noisy = values[rows] + generator.normal(size=(50, 1)).astype(np.float32) * 1e-2
    budgets, flips = flip_budget(run, part_of(run, rows, noisy), scores)
    replaced = values.copy()
    replaced[rows] = noisy
    moved, _ = measure(replace(run, logits=replaced))
    assert flips == 0
    assert set(budgets) == {"pearson", "spearman", "mse", "mae", "loss"}
    for name, budget in budgets.items():
        assert budget == pytest.approx(4 * abs(moved[name].value - scores[name].value))
    without, _ = flip_budget(run, part_of(run, []), scores)
    assert set(without.values()) == {0.0}


def test_a_correlation_that_the_probe_makes_constant_counts_as_none():
    run = LabelPredictions(np.arange(3), np.array([[1], [2], [3]], np.float32), np.array([1.0, 2.0, 3.0]), None)
    budgets, _ = flip_budget(run, part_of(run, range(3), np.ones((3, 1), np.float32)), measure(run)[0])
    assert budgets["pearson"] == pytest.approx(2)


def test_only_the_registrys_scores_get_a_budget():
    run = run_of(20, 2, seed=0)
    scores, _ = measure(run, only=["accuracy"])
    budgets, _ = flip_budget(run, part_of(run, [1, 2]), {**scores, "evaluate:./mine/key": scores["accuracy"]})
    assert set(budgets) == {"accuracy"}


def test_a_probe_of_other_examples_is_refused():
    run = run_of(20, 2, seed=0)
    scores, _ = measure(run)
    with pytest.raises(EngineError, match="1 of 2 probed examples are not part of the run"):
        flip_budget(run, replace(part_of(run, [1, 2]), example=np.array([1, 99])), scores)
    with pytest.raises(EngineError, match="other outputs"):
        flip_budget(run, part_of(run_of(20, 3, seed=0), [1]), scores)


def test_top_two_prefers_the_first_column_in_a_tie():
    first, second, margin = top_two(np.array([[1, 3, 3], [2, 0, 2]], np.float32))
    assert (first.tolist(), second.tolist(), margin.tolist()) == ([1, 0], [2, 2], [0, 0])
    assert top_two(np.array([[4.0]], np.float32))[2].tolist() == [np.inf]


def adapted(exact, seed, *, drift=0.0, noise=0.01, sample=128):
    """A run whose first rows and narrow decisions are exact, and whose others come from a draft that errs."""
    generator = np.random.default_rng(1000 + seed)
    error = generator.normal(0, noise, exact.logits.shape) + drift * exact.logits
    draft = replace(exact, logits=(exact.logits + error).astype(np.float32))
    _, _, margin = top_two(draft.logits)
    is_exact = (np.arange(len(exact)) < sample) | (margin <= 2 * np.ptp(error, axis=1).max())
    mixed = np.where(is_exact[:, None], exact.logits, draft.logits)
    return replace(exact, logits=mixed), draft, is_exact


@pytest.mark.parametrize(("drift", "noise"), [(0.0, 0.01), (0.01, 0.001), (0.005, 0.01)])
def test_a_loss_stays_inside_the_budget_of_a_draft_whether_its_errors_cancel_or_add_up(drift, noise):
    inside, sizes, off = 0, [], []
    for seed in range(60):
        exact = run_of(1500, 3, seed)
        run, draft, is_exact = adapted(exact, seed, drift=drift, noise=noise)
        assert 0.05 < is_exact.mean() < 0.9
        scores, truth = measure(run)[0], measure(exact)[0]
        budget = draft_budget(run, draft, np.arange(128), scores)["loss"]
        off.append(abs(scores["loss"].value - truth["loss"].value))
        inside += off[-1] <= budget
        sizes.append(budget)
        assert scores["accuracy"].value == truth["accuracy"].value
    assert inside >= 58
    assert np.median(sizes) < 12 * max(off), "it is no licence"


def test_a_draft_of_which_nothing_was_taken_over_adds_nothing():
    exact = run_of(100, 3, seed=1)
    run, draft, is_exact = adapted(exact, 1, noise=5.0)
    assert is_exact.all()
    assert draft_budget(run, draft, np.arange(50), measure(run)[0]) == {"loss": 0.0}


def test_a_draft_adds_nothing_to_metrics_of_certain_decisions():
    exact = run_of(1500, 3, seed=2)
    run, draft, _ = adapted(exact, 2)
    assert set(draft_budget(run, draft, np.arange(128), measure(run)[0])) == {"loss"}


def test_the_places_that_top5_counts_are_allowed_what_the_draft_shows():
    exact = run_of(1500, 9, seed=3)
    run, draft, _ = adapted(exact, 3, noise=0.02)
    scores, truth = measure(run)[0], measure(exact)[0]
    budget = draft_budget(run, draft, np.arange(128), scores)["top5_accuracy"]
    quiet, _ = flip_budget(run, part_of(run, []), scores)
    assert budget > 2 * quiet["top5_accuracy"]
    assert abs(scores["top5_accuracy"].value - truth["top5_accuracy"].value) <= budget
