import os
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest

from verify.errors import UsageError
from verify.metrics.modules import module
from verify.metrics.registry import METRICS, measure
from verify.metrics.undefined import UndefinedScoreError
from verify.types import Predictions

ROOT = Path(__file__).parents[2]
GENERATOR = np.random.default_rng(7)


def classifier(columns):
    logits = GENERATOR.normal(size=(120, columns)).astype(np.float32)
    return Predictions(np.arange(120), logits, GENERATOR.integers(0, columns, 120), tuple(range(columns)))


def regressor():
    logits = GENERATOR.normal(size=(50, 1)).astype(np.float32)
    return Predictions(np.arange(50), logits, GENERATOR.normal(size=50), None)


@pytest.mark.parametrize("run", [classifier(2), classifier(8), regressor()], ids=["binary", "eight classes", "values"])
def test_every_module_gives_the_score_of_its_kernel(run, tmp_path):
    scores, notes = measure(run)
    assert notes == ()
    for name, score in scores.items():
        if run.is_regression:
            inputs = run.logits[:, 0].tolist()
        else:
            inputs = run.logits.tolist() if name in ("loss", "top5_accuracy") else run.logits.argmax(axis=1).tolist()
        metric = module(name, cache_dir=str(tmp_path))
        assert isinstance(metric, evaluate.Metric)
        assert metric.name == name
        result = metric.compute(predictions=inputs, references=run.reference.tolist())
        assert result == {name: score.value}
        assert type(result[name]) is float


def test_every_canonical_name_has_a_module_that_describes_itself(tmp_path):
    for name, metric in METRICS.items():
        loaded = module(name, cache_dir=str(tmp_path))
        assert loaded.description == metric.summary
        assert "predictions" in loaded.inputs_description


def test_bare_names_take_an_average_as_evaluate_users_expect(tmp_path):
    run = classifier(3)
    arrays = {"predictions": run.logits.argmax(axis=1), "references": run.reference}
    scores, _ = measure(run)
    for name in ("f1", "precision", "recall"):
        metric = module(name, cache_dir=str(tmp_path))
        for average in ("macro", "micro", "weighted"):
            assert metric.compute(**arrays, average=average)[name] == scores[f"{name}_{average}"].value
    assert module("f1", cache_dir=str(tmp_path)).compute(predictions=[1, 1, 0], references=[1, 0, 0]) == {
        "f1": pytest.approx(2 / 3)
    }


def test_batches_and_arrays_add_up(tmp_path):
    run = classifier(8)
    metric = module("loss", cache_dir=str(tmp_path))
    for start in range(0, 120, 50):
        metric.add_batch(predictions=run.logits[start : start + 50], references=run.reference[start : start + 50])
    assert metric.compute() == {"loss": measure(run)[0]["loss"].value}


@pytest.mark.parametrize(
    ("name", "keywords", "says"),
    [
        ("f1", {}, "needs two classes, and there are 3"),
        ("f1", {"average": "samples"}, "average='samples'"),
        ("f1", {"labels": [1]}, "labels="),
        ("accuracy", {"normalize": False}, "takes no normalize"),
    ],
)
def test_arguments_that_a_module_cannot_honour_are_refused(name, keywords, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        module(name, cache_dir=str(tmp_path)).compute(predictions=[0, 1, 2], references=[0, 1, 1], **keywords)


def test_undefined_scores_and_unknown_names(tmp_path):
    with pytest.raises(UndefinedScoreError, match="all 2 predictions are 1"):
        module("pearson", cache_dir=str(tmp_path)).compute(predictions=[1.0, 1.0], references=[1.0, 2.0])
    with pytest.raises(UndefinedScoreError, match="no examples"):
        module("accuracy", cache_dir=str(tmp_path)).compute(predictions=[], references=[])
    with pytest.raises(UsageError, match='Did you mean "accuracy"'):
        module("acuracy")


def test_modules_combine_without_a_network(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*_): raise OSError('a test without network reached for one')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "import evaluate\n"
        "from verify.metrics.modules import module\n"
        "both = evaluate.combine([module('accuracy'), module('f1_macro'), module('matthews_correlation')])\n"
        "both.add_batch(references=[0, 1], predictions=[0, 1])\n"
        "both.add_batch(references=[2, 2], predictions=[2, 1])\n"
        "print(sorted(both.compute().items()))"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = ["accuracy", "f1_macro", "matthews_correlation"]
    reference, predicted = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])
    run = Predictions(np.arange(4), np.eye(3, dtype=np.float32)[predicted], reference, (0, 1, 2))
    scores, _ = measure(run, only=names)
    assert done.stdout.strip() == str([(name, scores[name].value) for name in names])
