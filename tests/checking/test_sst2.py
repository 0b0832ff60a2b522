"""The main job on real input: a two-layer BERT trained on SST-2, with an honest card and with a raised one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import built
from helpers.builders import SHARED, needs_shared, train_sst2, write_parquet
from helpers.loopback_hub import LoopbackHub

pytestmark = [needs_shared, pytest.mark.slow]
ROWS = 20_000
CARD = """\
---
tags: [generated_from_trainer]
model-index:
- name: sst2-bert
  results:
  - task: {{type: text-classification, name: Text Classification}}
    dataset: {{name: glue, type: nyu-mll/glue, config: sst2, split: validation, args: sst2}}
    metrics:
    - {{type: accuracy, value: {accuracy}, name: Accuracy}}
---
# sst2-bert

It achieves the following results on the evaluation set:
- Loss: {loss:.4f}
"""


def train(folder):
    """A folder sst2-bert, and what a plain loop says of the model: right answers of 872, and the loss."""
    (folder / "plain_loop.json").write_text(json.dumps(train_sst2(folder / "sst2-bert", ROWS)))


@pytest.fixture(scope="module")
def trained():
    """The model's folder, its right answers of 872 and its loss, both from a plain loop."""
    folder = built.shared(train)
    right, loss = json.loads((folder / "plain_loop.json").read_text())
    assert 0.7 * 872 < right < 872, "a model that has learnt something"
    return folder / "sst2-bert", right, loss


@pytest.fixture(scope="module")
def hub(tmp_path_factory, trained):
    """A Hub with the honest model, the raised one and the GLUE validation set under its own id."""
    root = tmp_path_factory.mktemp("hub")
    folder, right, loss = trained
    for name, accuracy in (("honest", repr(right / 872)), ("raised", f"{right / 872 + 0.01:.4f}")):
        shutil.copytree(folder, root / "models/Org" / name)
        (root / "models/Org" / name / "README.md").write_text(CARD.format(accuracy=accuracy, loss=loss))
    (root / "datasets/nyu-mll/glue/sst2").mkdir(parents=True)
    source = SHARED / "data/glue/sst2/validation.parquet"
    shutil.copy(source, root / "datasets/nyu-mll/glue/sst2/validation-00000-of-00001.parquet")
    write_parquet(
        root / "datasets/nyu-mll/glue/cola/validation-00000-of-00001.parquet", {"sentence": ["a"], "label": [0]}
    )
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - {{split: validation, path: {name}/validation-*}}\n"
        for name in ("sst2", "cola")
    )
    (root / "datasets/nyu-mll/glue/README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    with LoopbackHub(root) as running:
        yield running


@pytest.fixture(params=["hub", "folder"])
def check(request, hub, tmp_path_factory):
    """Run ``verify check`` on a model of the Hub, by its id or in its folder; returns exit code and JSON."""
    work = tmp_path_factory.mktemp("work")

    def run(name, *more):
        reference = f"Org/{name}" if request.param == "hub" else str(hub.root / "models/Org" / name)
        done = subprocess.run(
            [sys.executable, "-m", "verify", "check", reference, "--json", *more],
            env={**hub.environment(work / "home"), "PYTHONPATH": str(Path(__file__).parents[2])},
            cwd=work,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return run


def test_the_honest_card_is_reproduced(check, trained):
    _, right, loss = trained
    code, found = check("honest")
    assert code == 0
    by_metric = {verdict["claim"]["metric"]: verdict for verdict in found["verdicts"]}
    assert {verdict["kind"] for verdict in by_metric.values()} == {"reproduced"}
    assert by_metric["accuracy"]["measured"] == right / 872
    assert by_metric["loss"]["measured"] == pytest.approx(loss, abs=1e-5)
    assert found["measurements"][0]["scores"]["accuracy"]["count"] == right


def test_one_point_more_is_overstated_by_one_point(check, trained):
    code, found = check("raised", "engine.batch_size=7")
    assert code == 1
    by_metric = {verdict["claim"]["metric"]: verdict for verdict in found["verdicts"]}
    assert by_metric["accuracy"]["kind"] == "overstated"
    assert by_metric["accuracy"]["delta"] == pytest.approx(-0.01, abs=5e-5)
    assert "1.00 points worse" in by_metric["accuracy"]["reason"]
    assert by_metric["loss"]["kind"] == "reproduced"
