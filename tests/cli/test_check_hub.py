"""``verify check ORG/MODEL`` against a Hub on loopback HTTP, with the real clients for models and data sets."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from engine.running.test_run import plain_loop
from helpers.builders import bert, model_index, sentences, write_parquet
from helpers.loopback_hub import LoopbackHub

TEXTS = sentences(120)
LABELS = [i % 2 for i in range(120)]
TASK = """\
kind: sequence-classification
dataset: {path: Org/reviews, split: test}
columns: {text: text, label: label}
labels: ["no", "yes"]
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model's folder, with a true card, and the accuracy that a plain loop gives it."""
    folder = tmp_path_factory.mktemp("model")
    network, words = bert(folder, TEXTS, ["no", "yes"])
    accuracy = int((plain_loop(network, words, TEXTS).argmax(1) == LABELS).sum()) / 120
    (folder / "README.md").write_text(model_index({"accuracy": f"{accuracy:.4f}"}, dataset="Org/reviews", split="test"))
    return folder, accuracy


@pytest.fixture
def hub(loopback_hub: LoopbackHub, model, tmp_path):
    shutil.copytree(model[0], loopback_hub.root / "models/Org/Mine")
    data = loopback_hub.root / "datasets/Org/reviews"
    write_parquet(data / "data/test-00000-of-00001.parquet", {"text": TEXTS, "label": LABELS})
    write_parquet(data / "data/train-00000-of-00001.parquet", {"text": TEXTS[:9], "label": LABELS[:9]})
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/reviews.yaml").write_text(TASK)
    return loopback_hub


def verify(environment, tmp_path, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "verify", "check", *arguments, "task_path=[tasks]", "--json"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout) if done.stdout else None
    return done.returncode, found, re.sub(r"\s+", " ", done.stderr)


def test_a_model_and_a_data_set_by_their_ids(hub, model, environment, tmp_path):
    code, found, _ = verify(environment, tmp_path, "Org/Mine")
    assert code == 0
    assert found["revision"] == hub.commit("models/Org/Mine")
    verdict = found["verdicts"][0]
    assert verdict["kind"] == "reproduced"
    assert verdict["measured"] == pytest.approx(model[1])
    provenance = found["measurements"][0]["provenance"]
    assert provenance["model_revision"] == hub.commit("models/Org/Mine")
    assert provenance["dataset_revision"] == hub.commit("datasets/Org/reviews")
    assert len(provenance["digests"]["weights"]) == 64

    hub.stop()
    code, again, _ = verify(environment, tmp_path, "Org/Mine")
    assert (code, again["verdicts"]) == (0, found["verdicts"])
    offline = {**environment, "HF_HUB_OFFLINE": "1"}
    code, again, _ = verify(offline, tmp_path, "Org/Mine")
    assert (code, again["verdicts"]) == (0, found["verdicts"])
    shutil.rmtree(tmp_path / "results")
    code, again, _ = verify(offline, tmp_path, "Org/Mine")
    assert (code, again["verdicts"]) == (0, found["verdicts"]), "run again from the local caches alone"


def test_an_inflated_card_at_another_revision_is_overstated(hub, model, environment, tmp_path):
    branch = hub.root / "models/Org/Mine@inflated"
    shutil.copytree(model[0], branch)
    card = model_index({"accuracy": f"{model[1] + 0.0437:.4f}"}, dataset="Org/reviews", split="test")
    (branch / "README.md").write_text(card)
    code, found, _ = verify(environment, tmp_path, "Org/Mine@inflated")
    assert code == 1
    assert found["revision"] == hub.commit("models/Org/Mine", "inflated") != hub.commit("models/Org/Mine")
    assert found["verdicts"][0]["kind"] == "overstated"
    assert found["verdicts"][0]["delta"] == pytest.approx(-0.0437, abs=6e-5)


def test_weights_cut_in_the_middle_and_a_busy_hub_do_not_stop_it(hub, model, environment, tmp_path):
    hub.cut("models/Org/Mine/model.safetensors", after=5_000, times=1)
    hub.fail("models/Org/Mine/README.md", status=429, times=1, headers={"Retry-After": "0"})
    code, found, _ = verify(environment, tmp_path, "Org/Mine")
    assert code == 0
    assert found["verdicts"][0]["measured"] == pytest.approx(model[1])


def test_a_data_set_that_is_missing_is_an_error_about_that_claim(hub, environment, tmp_path):
    shutil.rmtree(hub.root / "datasets/Org/reviews")
    code, found, _ = verify(environment, tmp_path, "Org/Mine")
    assert code == 4
    assert found["verdicts"][0]["kind"] == "error"
    assert "Org/reviews" in found["verdicts"][0]["reason"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "Org/Mine"),
        ("gated", "HF_TOKEN"),
        ("down", "Org/Mine"),
        ("no weights", "Org/Mine"),
    ],
)
def test_a_repository_that_cannot_be_read_is_one_clear_message(hub, environment, tmp_path, fault, words):
    if fault == "missing":
        shutil.rmtree(hub.root / "models/Org/Mine")
    elif fault == "gated":
        hub.gate("models/Org/Mine", status=403)
    elif fault == "down":
        hub.fail("models/Org/Mine", status=503)
    else:
        (hub.root / "models/Org/Mine/model.safetensors").unlink()
    code, found, err = verify(environment, tmp_path, "Org/Mine")
    if fault == "no weights":
        assert code == 3
        assert found["verdicts"][0]["kind"] == "blocked"
    else:
        assert (code, found) == (4, None)
        assert err.count("verify: ") == 1
        assert words in err


def test_a_model_without_a_card_settles_nothing(hub, environment, tmp_path):
    (hub.root / "models/Org/Mine/README.md").unlink()
    code, found, err = verify(environment, tmp_path, "Org/Mine")
    assert (code, found["verdicts"]) == (3, [])
    assert "makes no claim" in err


def test_the_trial_of_a_task_streams_three_rows_only(hub, environment, tmp_path):
    rows = 20_000
    file = hub.root / "datasets/Org/reviews/data/test-00000-of-00001.parquet"
    write_parquet(file, {"text": [f"{i} {TEXTS[i % 120]}" * 20 for i in range(rows)], "label": [0, 1] * (rows // 2)})
    pq.write_table(pq.read_table(file), file, row_group_size=100, compression="none")
    done = subprocess.run(
        [sys.executable, "-m", "verify", "tasks", "check", "reviews", "task_path=[tasks]"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The task reviews works." in done.stdout
    sent = [request for request in hub.requests if request.path.endswith(file.name) and request.method == "GET"]
    assert sent
    assert all(request.range for request in sent)
