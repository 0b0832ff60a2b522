import os
import subprocess
import sys
from pathlib import Path

import datasets
import evaluate
import numpy as np
import pytest

from verify.errors import VerifyError
from verify.metrics.evaluate_modules.bridge import foreign
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import LabelPredictions

ROOT = Path(__file__).parents[3]
SCRIPT = """
import datasets
import evaluate
import numpy as np


class {name}(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="",
            features=datasets.Features({{
                "predictions": datasets.Value("{dtype}"), "references": datasets.Value("{dtype}"),
            }}),
        )

    def _compute(self, predictions, references):
        return {returns}
"""
CLASSIFIER = LabelPredictions(
    np.arange(4), np.eye(4, dtype=np.float32)[[0, 1, 2, 3]], np.array([5, 5, 0, 0]), (5, -1, 0, -1)
)
REGRESSOR = LabelPredictions(np.arange(2), np.array([[0.5], [1.5]], np.float32), np.array([0.25, 2.0]), None)


def forget_loaded_modules():
    """Undo the import of the one package that `evaluate` keeps its modules in: it points to one folder a process."""
    for name in [name for name in sys.modules if name.split(".")[0] == "evaluate_modules"]:
        del sys.modules[name]


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Give a function that writes a module and returns its path; what `evaluate` caches stays in the test's folder."""
    monkeypatch.setattr(evaluate.config, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "metrics")
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    forget_loaded_modules()

    def write(name, returns, dtype="int64"):
        path = tmp_path / name / f"{name}.py"
        path.parent.mkdir()
        path.write_text(SCRIPT.format(name=name.title().replace("_", ""), returns=returns, dtype=dtype))
        return path

    yield write
    forget_loaded_modules()


def test_a_module_sees_label_ids_and_its_numbers_come_back_as_floats(script):
    path = script(
        "sums",
        "{'predicted': sum(predictions), 'share': np.float32(0.5), 'array': np.array([3]), 'n': len(references), "
        "'per_class': np.arange(3), 'text': 'no number', 'flag': True}",
    )
    result = foreign(f"evaluate:{path}", CLASSIFIER)
    assert result == {"predicted": 5 - 3 + 0 - 5, "share": 0.5, "array": 3.0, "n": 4.0}
    assert all(type(value) is float for value in result.values())
    assert foreign(str(path.parent), CLASSIFIER) == result


def test_a_module_sees_the_values_of_a_regression(script):
    path = script("gap", "{'gap': max(abs(p - r) for p, r in zip(predictions, references))}", dtype="float64")
    assert foreign(f"evaluate:{path}", REGRESSOR) == {"gap": 0.5}


@pytest.mark.parametrize(
    ("name", "returns", "error", "says"),
    [
        ("only_text", "{'verdict': 'good'}", VerifyError, "returned no number .verdict: str"),
        ("a_list", "[0.5]", VerifyError, "returned list"),
        ("not_finite", "{'score': float('nan')}", UndefinedScoreError, "score of the evaluate module"),
        ("breaks", "{'score': 1 / 0}", VerifyError, "failed on the label ids of this run .ZeroDivisionError"),
    ],
)
def test_a_module_that_gives_no_score_is_an_error(script, name, returns, error, says):
    with pytest.raises(error, match=says):
        foreign(str(script(name, returns)), CLASSIFIER)


def test_a_module_that_cannot_be_read_is_an_error(script, tmp_path):
    path = script("broken", "{")
    with pytest.raises(VerifyError, match="The path exists, but holds no module that loads"):
        foreign(str(path), CLASSIFIER)
    with pytest.raises(VerifyError, match="runs its Python code"):
        foreign(f"evaluate:{tmp_path}/absent.py", CLASSIFIER)


def test_a_hub_name_offline_says_what_works_instead(tmp_path):
    code = (
        "import numpy\n"
        "from verify.errors import VerifyError\n"
        "from verify.metrics.evaluate_modules.bridge import foreign\n"
        "from verify.store.predictions import LabelPredictions\n"
        "run = LabelPredictions(numpy.arange(2), numpy.eye(2, dtype='float32'), numpy.arange(2), (0, 1))\n"
        "try: foreign('evaluate:accuracy', run)\n"
        "except VerifyError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for part in ("could not be loaded", "offline", "A local path works", "is built in", "runs its Python code"):
        assert part in done.stdout
