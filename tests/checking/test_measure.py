"""Several cells of one model: measured together, each on its own account, bounded in time, on disks that fail."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.builders import bert, sentences, write_parquet, write_task
from transformers import BertForSequenceClassification

from verify.cli.main import main
from verify.engine.running import loop as loop_module
from verify.engine.running import run as run_module
from verify.engine.running.plan import complete_prefix, example_order
from verify.engine.running.run import run
from verify.errors import VerifyError
from verify.store.runs import DRAFT, PREDICTIONS, PROBE, RunFolder

ROOT = Path(__file__).parents[2]
COUNT = 400
TEXTS = sentences(COUNT)
COLUMNS = "{text: text, label: label}"
NAMES = "labels: ['no', 'yes']\n"


def labels_of(name: str) -> list[int]:
    return [(i // len(name)) % 2 for i in range(COUNT)]


@dataclass
class Engine:
    """Runs jobs in this process; ``runs`` names the tasks of every call."""

    runs: list[list[str]] = field(default_factory=list)
    watch: object = None

    def __call__(self, jobs, emit):
        self.runs.append([job.task.name for job in jobs])
        results = []
        for index, job in enumerate(jobs):

            def numbered(event, index=index, job=job):
                if self.watch is not None:
                    self.watch(job, event)
                emit({"job": index, **event})

            try:
                run(job, numbered)
                results.append(None)
            except VerifyError as error:
                results.append(error)
        return results


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr("verify.engine.running.launch.run_jobs", engine)
    return engine


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Run ``verify check`` on ./model, to its end; returns the exit code, the JSON object and what went to stderr."""
    monkeypatch.chdir(tmp_path)
    bert(tmp_path / "model", TEXTS, ["no", "yes"])

    def run(*arguments: str):
        fixed = ("task_path=[tasks]", "engine.device=cpu", "policy.stop=never")
        code = main(["check", "./model", *fixed, *arguments, "--json"])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


def task(name: str, labels: list | None = None) -> None:
    file = write_parquet(Path(f"{name}.parquet").resolve(), {"text": TEXTS, "label": labels or labels_of(name)})
    write_task(Path("tasks"), name, file, columns=COLUMNS, more=NAMES)


def claim(**values: str) -> None:
    """Claim an accuracy on each task."""
    results = "".join(
        f"  - task: {{type: text-classification}}\n    dataset: {{type: {name}, name: {name}, split: validation}}\n"
        f"    metrics:\n    - {{type: accuracy, value: {value}}}\n"
        for name, value in values.items()
    )
    Path("model/README.md").write_text(f"---\nmodel-index:\n- name: m\n  results:\n{results}---\n# m\n")


def verdicts(found) -> dict[str, dict]:
    return {verdict["claim"]["dataset"]: verdict for verdict in found["verdicts"]}


def folder_of(name: str) -> RunFolder:
    (path,) = Path("results").glob(f"model/{name}.validation/*")
    return RunFolder(path)


def test_one_worker_measures_every_task_of_a_model_and_one_failure_is_one_error(check, capsys):
    for name in ("one", "second", "broken"):
        task(name, ["perhaps"] * COUNT if name == "broken" else None)
    claim(one="0.111", broken="0.222", second="0.333")
    code, found, _ = check()
    assert code == 1, "two claims are refuted, which outranks the failure"
    assert {name: verdict["kind"] for name, verdict in verdicts(found).items()} == {
        "one": verdicts(found)["one"]["kind"],
        "broken": "error",
        "second": verdicts(found)["second"]["kind"],
    }
    for name in ("one", "second"):
        logits = folder_of(name).predictions(PREDICTIONS).logits
        assert verdicts(found)[name]["measured"] == pytest.approx((logits.argmax(1) == labels_of(name)).mean())
    logs = "".join(file.read_text() for file in Path("results").rglob("worker.log"))
    assert logs.count("verify.engine.loading.load: loading") == 1
    assert main(["check", "./model", "task_path=[tasks]", "engine.device=cpu"]) == 1
    table = capsys.readouterr().out
    assert all(literal in table for literal in ("0.111", "0.222", "0.333"))


def test_only_what_is_not_in_the_store_is_run(check, engine):
    for name in ("one", "second", "broken"):
        task(name, ["perhaps"] * COUNT if name == "broken" else None)
    claim(one="0.5", broken="0.5", second="0.5")
    check()
    task("broken")
    before = {file: file.stat().st_mtime_ns for file in Path("results").rglob("*.parquet")}
    _, found, _ = check()
    assert sorted(engine.runs[0]) == ["broken", "one", "second"]
    assert engine.runs[1] == ["broken"]
    assert verdicts(found)["broken"]["kind"] != "error"
    assert all(file.stat().st_mtime_ns == moment for file, moment in before.items())
    check()
    assert len(engine.runs) == 2, "everything is answered from the store"


def test_a_cell_whose_stored_rows_cannot_be_read_is_measured_like_the_others(check, engine):
    task("one")
    task("second")
    claim(one="0.5", second="0.5")
    check()
    for file in Path("results").rglob("measurements/*.json"):
        file.unlink()
    (folder_of("one").path / PREDICTIONS / f"{'0' * 64}.parquet").mkdir()
    code, found, _ = check()
    assert verdicts(found)["one"]["measured"] is not None
    assert verdicts(found)["second"]["measured"] is not None
    assert code in (0, 1)


def test_two_processes_measure_several_tasks(check):
    task("one")
    task("second")
    claim(one="0.5", second="0.5")
    _, found, _ = check("engine.processes=2")
    for measurement in found["measurements"]:
        assert (measurement["n"], measurement["provenance"]["processes"]) == (COUNT, 2)
    assert {measurement["task"] for measurement in found["measurements"]} == {"one", "second"}


@pytest.fixture
def slow(monkeypatch):
    """A model that takes a second of the loop's own clock for every batch."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    forward = BertForSequenceClassification.forward

    def timed(self, *arguments, **inputs):
        clock.now += 1.0
        return forward(self, *arguments, **inputs)

    monkeypatch.setattr(loop_module, "time", clock)
    monkeypatch.setattr(run_module, "time", clock)
    monkeypatch.setattr(BertForSequenceClassification, "forward", timed)
    return clock


def test_a_budget_ends_a_run_with_the_examples_that_are_missing_and_a_later_run_goes_on(check, engine, slow):
    task("one")
    claim(one="0.5")
    code, found, _ = check("budget=0.5", "engine.batch_size=5", "engine.threads=1", "policy.probe_share=0")
    stored = folder_of("one").examples(PREDICTIONS)
    prefix = complete_prefix(example_order(COUNT, 0), stored)
    assert 64 <= prefix <= len(stored) <= 31 * 5
    verdict = verdicts(found)["one"]
    assert (code, verdict["kind"], verdict["n"], verdict["population"]) == (3, "inconclusive", prefix, COUNT)
    assert f"{COUNT - prefix} more examples" in verdict["next"]
    assert "budget" in verdict["next"]
    chosen = folder_of("one").predictions(PREDICTIONS, example_order(COUNT, 0)[:prefix])
    assert verdict["measured"] == pytest.approx((chosen.logits.argmax(1) == chosen.reference).mean())
    seen = []
    engine.watch = lambda job, event: seen.append(event)
    code, found, _ = check("policy.probe_share=0")
    assert found["verdicts"][0]["n"] == COUNT, "a part is not taken for the whole"
    assert next(event["total"] for event in seen if event["event"] == "start") == COUNT - len(stored)


def test_more_time_goes_on_from_there_and_is_enough_in_the_end(check, engine, slow):
    task("one")
    claim(one="0.5")
    counts = []
    while not counts or counts[-1] < COUNT:
        assert len(counts) < 12
        found = check("budget=0.25", "engine.batch_size=5", "policy.probe_share=0")[1]
        counts.append(found["verdicts"][0]["n"])
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert found["verdicts"][0]["evidence"] == "full"


def test_a_budget_that_is_too_small_says_so_and_keeps_what_was_done(check, engine, slow):
    task("one")
    claim(one="0.5")
    code, found, _ = check("budget=0.02", "engine.batch_size=5", "engine.threads=1")
    assert code == 4
    assert verdicts(found)["one"]["kind"] == "error"
    assert "budget=0.02 minutes ran out before the first block" in verdicts(found)["one"]["reason"]
    assert len(folder_of("one").examples(PREDICTIONS)) == 10


def test_each_task_has_a_budget_of_its_own(check, engine, slow):
    task("one")
    task("second")
    claim(one="0.5", second="0.5")
    found = check("budget=0.5", "engine.batch_size=5", "policy.probe_share=0")[1]
    assert all(verdict["kind"] == "inconclusive" and verdict["n"] >= 64 for verdict in found["verdicts"])


def test_a_loss_allows_for_what_bfloat16_has_changed(check, engine):
    write_task(Path("tasks"), "one", Path("one.parquet").resolve(), columns=COLUMNS, more=NAMES)
    task("one")
    Path("tasks/one.yaml").write_text(Path("tasks/one.yaml").read_text() + "metrics: [accuracy, loss]\n")
    Path("model/README.md").write_text("# m\n")

    def scores(*arguments):
        (measurement,) = check("tasks=[one]", *arguments)[1]["measurements"]
        return measurement

    exact, adapted = scores("results=exact"), scores("engine.precision=adaptive")
    assert adapted["scores"]["accuracy"]["count"] == exact["scores"]["accuracy"]["count"]
    folder = folder_of("one")

    def loss(kind):
        rows = folder.predictions(kind)
        logits = rows.logits.astype(np.float64)
        logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return -logs[np.arange(len(rows)), rows.reference].mean()

    assert adapted["scores"]["loss"]["value"] == pytest.approx(loss(PREDICTIONS), rel=1e-6)
    assert loss(DRAFT) != loss(PREDICTIONS), "some rows are float32's"
    assert adapted["scores"]["loss"]["budget"] > 10 * exact["scores"]["loss"]["budget"]
    difference = abs(adapted["scores"]["loss"]["value"] - exact["scores"]["loss"]["value"])
    assert difference <= adapted["scores"]["loss"]["budget"], "it covers the true difference"
    provenance = adapted["provenance"]
    assert (provenance["precision"], exact["provenance"]["precision"]) == ("adaptive", "exact")
    assert provenance["certificate"] == folder.info()["certificate"]
    assert "certificate" not in exact["provenance"]


def test_a_results_folder_that_is_removed_meanwhile_is_an_error_and_the_next_run_is_whole(check, engine, monkeypatch):
    monkeypatch.setattr(loop_module, "SHARD_ROWS", 32)
    task("one")
    claim(one="0.5")
    removed = []

    def remove(job, event):
        if event["event"] == "rows" and event["done"] > COUNT / 2 and not removed:
            removed.append(len(RunFolder(Path(job.run_folder)).examples(PREDICTIONS)))
            shutil.rmtree(job.run_folder)

    engine.watch = remove
    code, found, _ = check("engine.token_budget=256")
    assert removed[0] > 0
    assert code == 4
    assert re.search(rf"\d+ of {COUNT} rows have vanished", verdicts(found)["one"]["reason"])
    assert "run the same command again" in verdicts(found)["one"]["reason"]
    assert check()[1]["verdicts"][0]["n"] == COUNT


@pytest.mark.parametrize("where", ["a-file", "a-file/deeper", "/dev/null/results"])
def test_a_results_folder_that_cannot_be_made_is_one_paragraph(check, engine, where):
    task("one")
    claim(one="0.5")
    Path("a-file").write_text("in the way")
    code, found, err = check(f"results={where}")
    assert (code, found) == (4, None)
    assert err.startswith("verify: The results folder ")
    assert "results=FOLDER" in err
    assert len(err.strip().splitlines()) == 1
    assert not engine.runs


@pytest.fixture
def small_disk(tmp_path):
    """Mount a file system of a size at ./disk; returns how to do that and how to make it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = []

    def mount(size: str) -> None:
        again = ["-o", f"remount,size={size}"] if mounted else ["-t", "tmpfs", "-o", f"size={size}", "none"]
        done = subprocess.run(["mount", *again, str(disk)], capture_output=True, check=False)
        if done.returncode:
            pytest.skip("file systems can only be mounted by root")
        mounted.append(size)

    if shutil.which("mount") is None or os.getuid() != 0:
        pytest.skip("file systems can only be mounted by root")
    yield mount
    subprocess.run(["umount", str(disk)], check=bool(mounted), capture_output=True)


def test_a_disk_that_fills_up_keeps_what_was_done_and_the_run_goes_on_once_there_is_room(
    check, engine, small_disk, monkeypatch
):
    monkeypatch.setattr(loop_module, "SHARD_ROWS", 16)
    small_disk("80k")
    task("one")
    claim(one="0.5")
    code, found, _ = check("results=disk", "engine.token_budget=128")
    assert code == 4
    if found is not None:
        assert "No space left on device" in verdicts(found)["one"]["reason"]
    (run_folder,) = Path("disk").glob("model/one.validation/*")
    done = RunFolder(run_folder).examples(PREDICTIONS)
    assert 0 < len(done) < COUNT
    small_disk("10m")
    seen = []
    engine.watch = lambda job, event: seen.append(event)
    code, found, _ = check("results=disk")
    assert found["verdicts"][0]["n"] == COUNT
    starts = {event["pass"]: event["total"] for event in seen if event["event"] == "start"}
    assert starts == {PREDICTIONS: COUNT - len(done), PROBE: COUNT // 10}
    assert not list(run_folder.rglob(".writing-*"))


def test_a_full_disk_under_the_workers_own_log_is_one_paragraph_too(check, small_disk):
    task("one")
    claim(one="0.5")
    small_disk("32k")
    command = [sys.executable, "-m", "verify", "check", "./model", "task_path=[tasks]", "results=disk"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert "No space left on device" in " ".join((done.stderr + done.stdout).split())
    assert "verify: The results folder cannot be written" in " ".join(done.stderr.split())
    small_disk("10m")
    assert subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120).returncode in (0, 1)
    assert len(next(iter(Path("disk").glob("model/*/*/measurements/*.json"))).read_text()) > 100
