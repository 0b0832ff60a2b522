"""Models that need more memory or more time than they were given, run by the real command."""

from pathlib import Path

import pytest
from helpers.builders import bert, model_index, write_parquet, write_task

from hostile.harness import Outcome, variants, verify

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")


def model(folder: Path, rows: int, words: int, **options) -> None:
    """A model whose card claims something on a task of so many rows with so many words each."""
    texts = ["the film " * (words // 2)] * rows
    bert(folder / "model", ["the film"], ["no", "yes"], **options)
    (folder / "model/README.md").write_text(model_index({"accuracy": 0.9}, dataset="one"))
    labels = [row % 2 for row in range(rows)]
    file = write_parquet(folder / "data.parquet", {"text": texts, "label": labels})
    columns = "{text: text, label: label}"
    write_task(folder / "tasks", "one", file, columns=columns, more="labels: ['no', 'yes']\n")


def check(folder: Path, *words: str) -> Outcome:
    fixed = ("task_path=[tasks]", "tasks=[one]", "engine.device=cpu", "--json")
    return verify("check", "./model", *fixed, *words, cwd=folder).require_bounds()


def grows_in_a_check(folder: Path) -> Outcome:
    return check(folder, "engine.memory=900MB", "engine.batch_size=4096", "policy.stop=never")


def grows_in_two_processes(folder: Path) -> Outcome:
    return check(folder, "engine.memory=900MB", "engine.batch_size=4096", "policy.stop=never", "engine.processes=2")


def grows_in_a_sweep(folder: Path) -> Outcome:
    (folder / "models.txt").write_text("./model\n")
    words = ("suite=list", "suite.file=models.txt", "suite.tasks=[one]", "task_path=[tasks]", "engine.device=cpu")
    bounds = (
        "engine.memory=900MB",
        "engine.batch_size=4096",
        "policy.stop=never",
        "sweep.workers=1",
        "sweep.retries=0",
    )
    outcome = verify("sweep", *words, *bounds, "--json", cwd=folder).require_bounds()
    file = next((folder / "results/sweeps/verdicts").glob("*.json"))
    return Outcome(outcome.code, file.read_text(), outcome.err, outcome.seconds, outcome.peak)


@variants(grows_in_a_check, grows_in_two_processes, grows_in_a_sweep)
def test_a_worker_that_outgrows_its_share_of_the_memory_ends_with_that_sentence(variant, tmp_path):
    model(tmp_path, rows=4096, words=120, hidden=256, max_length=128)
    outcome = variant(tmp_path)
    ((kind, reason),) = outcome.verdicts
    assert kind == "error"
    assert "its share of this machine is" in reason
    assert "engine.batch_size" in reason
    assert outcome.code == 4


def one_long_batch(folder: Path) -> Outcome:
    model(folder, rows=64, words=500, hidden=768, layers=12, max_length=512)
    return check(folder, "budget=0.1", "engine.threads=1")


def many_batches(folder: Path) -> Outcome:
    model(folder, rows=4096, words=120, hidden=256, layers=8, max_length=128)
    return check(folder, "budget=0.1", "engine.threads=1", "engine.batch_size=4")


def a_whole_second_configuration(folder: Path) -> Outcome:
    model(folder, rows=1024, words=120, hidden=256, layers=8, max_length=128)
    return check(folder, "budget=0.1", "engine.threads=1", "policy=strict")


@variants(many_batches, one_long_batch, a_whole_second_configuration)
def test_a_budget_ends_the_whole_command(variant, tmp_path):
    outcome = variant(tmp_path)
    ((kind, reason),) = outcome.verdicts
    assert kind in ("inconclusive", "error", "overstated"), "the labels are those of chance"
    if kind == "error":
        assert "budget=0.1 minutes ran out" in reason
        assert outcome.code == 4
    elif (verdict := outcome.found["verdicts"][0])["n"] is not None:
        assert verdict["n"] < 4096
        assert 0 < verdict["probed"] <= verdict["n"]
    # six seconds, the grace, the imports of two processes and scoring; on two busy cores these take most of it
    assert outcome.seconds < 50
