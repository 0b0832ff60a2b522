"""The suite of known truth, swept as a user does it: every verdict as known, whoever works on it and how often."""

import json
import time
from pathlib import Path

import pytest

from sweeping.sweeping import Ended, Suite, kinds, predictions

pytestmark = pytest.mark.slow

DEADLINE = 0.3
"""Minutes."""


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Suite:
    return Suite.of_known_truth(tmp_path_factory.mktemp("truth"))


@pytest.fixture(scope="module")
def truth(suite):
    """For each model the kinds of its verdicts."""
    models = json.loads((suite.folder / "truth.json").read_text())["models"]
    return {
        name: {(one["data"], one["metric"], one["literal"]): one["kind"] for one in stated}
        for name, stated in models.items()
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def swept(suite, results) -> Ended:
    """All models, by two workers."""
    return suite.sweep("known", results, "sweep.workers=2", f"sweep.deadline={DEADLINE}")


def test_there_are_enough_models_of_every_case(truth):
    assert len(truth) >= 32
    found = {kind for stated in truth.values() for kind in stated.values()}
    assert found >= {"reproduced", "overstated", "understated", "explained", "impossible", "underspecified"}
    assert found >= {"unverifiable", "blocked", "error"}
    assert sum(not stated for stated in truth.values()) >= 2


def test_every_verdict_is_as_known(swept, results, truth):
    assert swept.code == 1
    assert {name: kinds(results, name) for name in truth} == truth


def test_every_model_is_counted_once(swept, results, truth):
    recorded = [json.loads(file.read_text()) for file in (results / "sweeps").glob("*.json")]
    assert sorted(one["model"].rsplit("/", 1)[-1] for one in recorded) == sorted(truth)
    assert sorted(row["model"].rsplit("/", 1)[-1] for row in swept.table["models"]) == sorted(truth)


def test_a_model_that_would_never_end_is_blocked_before_it_is_built(results, swept):
    (verdict,) = json.loads((results / "unending-1" / "verdicts.json").read_text())["verdicts"]
    assert verdict["kind"] == "blocked"
    assert "num_hidden_layers" in verdict["reason"]


def test_the_same_command_again_runs_nothing_and_gives_the_same_table(suite, results, swept, truth):
    before, started = predictions(results), time.time()
    again = suite.sweep("settled", results, "sweep.workers=2")
    assert predictions(results) == before
    assert not [file for file in results.glob("*/verdicts.json") if file.stat().st_mtime > started]
    settled = [name for name, stated in truth.items() if "error" not in stated.values()]
    rows = {row["model"]: row for row in swept.table["models"]}
    assert again.table["models"] == [rows[row["model"]] for row in again.table["models"]]
    assert sorted(row["model"].rsplit("/", 1)[-1] for row in again.table["models"]) == sorted(settled)


def test_another_number_of_workers_gives_the_same_verdicts(suite, truth, swept, tmp_path):
    some = {name: stated for name, stated in truth.items() if "error" not in stated.values() and name.endswith("-1")}
    listed = "".join(f"- {suite.folder / 'models' / name}\n" for name in some)
    (suite.folder / "suite" / "some.yaml").write_text(f"defaults: [schema]\nmodels:\n{listed}")
    alone = suite.sweep("some", tmp_path, "sweep.workers=1")
    assert {name: kinds(tmp_path, name) for name in some} == some
    rows = {row["model"]: row for row in swept.table["models"]}
    assert alone.table["models"] == [rows[row["model"]] for row in alone.table["models"]]
