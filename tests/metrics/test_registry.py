import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from verify.errors import DataError, EngineError, UsageError
from verify.metrics.names import METRICS, find
from verify.metrics.registry import additive_metrics, class_count, measure
from verify.store.predictions import LabelPredictions
from verify.types import Unit

ROOT = Path(__file__).parents[2]


def classifier(logits, reference, mapping=None):
    logits = np.asarray(logits, np.float32)
    mapping = tuple(range(logits.shape[1])) if mapping is None else mapping
    return LabelPredictions(np.arange(len(logits)), logits, np.asarray(reference, np.int64), mapping)


def regressor(values, reference):
    values = np.asarray(values, np.float32)[:, None]
    return LabelPredictions(np.arange(len(values)), values, np.asarray(reference, np.float64), None)


def test_every_name_says_where_it_is_measured_and_which_way_is_better():
    assert all(name == metric.name for name, metric in METRICS.items())
    assert all(metric.families and metric.summary for metric in METRICS.values())
    raw = {name for name, metric in METRICS.items() if metric.unit is Unit.RAW}
    perplexities = {"perplexity", "word_perplexity", "byte_perplexity", "bits_per_byte"}
    assert raw == {"mse", "mae", "loss", *perplexities}
    rates = {"wer", "cer", "mer", "wil", "ser", "ter", "hamming_loss"}
    assert {name for name, metric in METRICS.items() if not metric.greater_is_better} == raw | rates


def test_an_unknown_name_is_refused_with_the_nearest_spelling():
    with pytest.raises(UsageError, match='Did you mean "accuracy"'):
        find("acuracy")


@pytest.mark.parametrize("n_classes", [2, 4, 8])
def test_measure_gives_every_reading_of_every_metric_that_applies(n_classes):
    generator = np.random.default_rng(n_classes)
    run = classifier(generator.normal(size=(300, n_classes)), generator.integers(0, n_classes, 300))
    scores, notes = measure(run)
    expected = {
        name
        for name, metric in METRICS.items()
        if run.family in metric.families and name not in ("f1", "precision", "recall")
    }
    binary = {name for name in expected if name.endswith("_binary")}
    lacking = (binary if n_classes > 2 else set()) | ({"top5_accuracy"} if n_classes <= 5 else set())
    assert set(scores) == expected - lacking
    assert notes == ()
    predicted = run.logits.argmax(axis=1)
    assert scores["accuracy"].count == int((predicted == run.reference).sum())
    macro = sklearn_metrics.f1_score(run.reference, predicted, average="macro")
    assert scores["f1_macro"].value == pytest.approx(macro)
    assert all(type(score.value) is float for score in scores.values())


def test_measure_of_only_some_metrics():
    run = classifier(np.eye(3), [0, 1, 1])
    scores, notes = measure(run, only=["accuracy", "pearson"])
    assert scores == {"accuracy": measure(run)[0]["accuracy"]}
    assert notes == ()


def test_two_classes_of_data_under_a_model_of_three():
    run = classifier([[3, 0, 0], [0, 3, 0], [0, 0, 3], [0, 0, 3]], [1, 1, 0, 0], mapping=(1, -1, 0))
    scores, notes = measure(run)
    assert class_count(run) == 2
    assert scores["accuracy"].count == 3
    assert scores["recall_binary"].value == 0.5
    assert scores["f1_macro"].value == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert "loss" in scores
    assert notes == ()


def test_a_class_that_the_model_lacks_leaves_the_loss_out_and_says_why():
    scores, notes = measure(classifier(np.eye(2), [0, 2]))
    assert "loss" not in scores
    assert scores["accuracy"].count == 1
    assert len(notes) == 1
    assert "1 of 2 examples have a label that the model has no class for" in notes[0]


def test_a_constant_regression_leaves_the_correlations_out_and_says_why():
    scores, notes = measure(regressor([2.5, 2.5, 2.5], [1.0, 2.0, 3.0]))
    assert set(scores) == {"mse", "mae", "loss"}
    assert [note.split(":")[0] for note in notes] == ["pearson is undefined", "spearman is undefined"]
    assert class_count(regressor([1.0], [1.0])) == 0


def test_measure_of_a_regression():
    scores, notes = measure(regressor([1.0, 2.0, 4.0], [1.0, 3.0, 5.0]))
    assert scores["spearman"].value == pytest.approx(1)
    assert scores["mse"].value == scores["loss"].value == pytest.approx(2 / 3)
    assert notes == ()


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        (classifier(np.zeros((0, 2)), []), DataError, "no examples"),
        (classifier([[0, np.nan]], [0]), EngineError, "not finite on 1 of 1"),
        (classifier([[0, np.inf], [0, 1]], [0, 1]), EngineError, "not finite on 1 of 2"),
        (classifier([[0, 1], [1, 0]], [-1, 0]), DataError, "1 of 2 examples have no reference label"),
        (regressor([0.5], [np.nan]), DataError, "no reference label"),
        (classifier([[0, 1]], [0], mapping=(0, 1, 2)), EngineError, "shape 1 × 2"),
        (classifier([[0, 1]], [0, 1]), EngineError, "do not fit together"),
    ],
)
def test_input_that_cannot_be_scored_is_refused(run, error, says):
    with pytest.raises(error, match=says):
        measure(run)


def test_the_registry_and_a_classification_load_no_heavy_library():
    code = (
        "import sys, numpy, verify.metrics.registry as registry, verify.metrics.flips.budget\n"
        "import verify.metrics.evaluate_modules.modules\n"
        "import verify.metrics.evaluate_modules.bridge\n"
        "from verify.store.predictions import LabelPredictions\n"
        "registry.measure(LabelPredictions(numpy.arange(2), numpy.eye(2, dtype='float32'), numpy.arange(2), (0, 1)))\n"
        "print([name for name in ('torch', 'transformers', 'sklearn', 'scipy', 'evaluate') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("classes", [2, 7])
def test_means_over_examples_are_the_scores_of_a_classification(classes):
    generator = np.random.default_rng(classes)
    logits, reference = generator.normal(size=(200, classes)).astype(np.float32), generator.integers(0, classes, 200)
    run = LabelPredictions(np.arange(200), logits, reference, tuple(range(classes)))
    scores, _ = measure(run)
    found = additive_metrics(run, {})
    assert set(found) == {"accuracy", "f1_micro", "precision_micro", "recall_micro", "loss"} | (
        {"top5_accuracy"} if classes > 5 else set()
    )
    for name, metric in found.items():
        again = metric.score(name)
        assert (again.n, again.count) == (200, scores[name].count)
        assert again.value == pytest.approx(scores[name].value, abs=1e-12)
    assert set(additive_metrics(run, {}, ["loss"])) == {"loss"}


def test_sums_over_examples_are_the_scores_of_a_regression():
    generator = np.random.default_rng(1)
    values = 100 + generator.normal(size=(200, 1)).astype(np.float32)
    run = LabelPredictions(np.arange(200), values, values[:, 0] + generator.normal(size=200), None)
    scores, _ = measure(run)
    found = additive_metrics(run, {})
    assert set(found) == set(scores) - {"spearman"}
    for name, metric in found.items():
        assert metric.score(name).value == pytest.approx(scores[name].value, abs=1e-9)
