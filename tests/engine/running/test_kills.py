"""SIGKILL at any moment: at most one shard is lost, the next run goes on, and the rows come out the same."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from benchmarks.engine import kills
from helpers import forks
from helpers.builders import bert, save, sentences
from sweeping.sweeping import children_of, is_running, wait_until

from engine.job_making import assert_same_rows, events_of, job_on, predictions_of, shards_of
from verify.engine.running.launch import Worker
from verify.engine.running.loop import SHARD_SECONDS
from verify.errors import EngineError
from verify.store.runs import PREDICTIONS, RunFolder

ROOT = Path(__file__).parents[3]
COUNT = 3000
TEXTS = sentences(COUNT)
NAMES = ["bad", "neutral", "good"]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model that takes some seconds for its data, and the task."""
    folder = tmp_path_factory.mktemp("place")
    model, _ = bert(folder / "model", TEXTS, NAMES, hidden=256, layers=5)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.05)
    save(folder / "model", model)
    (folder / "model" / "README.md").write_text("# A model\n")
    return folder


def slow_job(place: Path, **options):
    return job_on(
        place,
        "sequence-classification",
        {"text": TEXTS, "label": [i % 3 for i in range(COUNT)]},
        {"text": "text", "label": "label"},
        more=f"labels: {json.dumps(NAMES)}\n",
        **{"probe_share": 0.02, "token_budget": 512, **options},
    )


@pytest.fixture(scope="module")
def undisturbed(place):
    """The job, run in one go, and how long its inference took."""
    job = slow_job(place, run="whole")
    end = next(event for event in events_of(job) if event["event"] == "end" and event["pass"] == PREDICTIONS)
    return job, end["seconds"]


@dataclass
class Watch:
    """What a worker reported, and when; it is killed ``after`` seconds of inference, or while it starts up (None)."""

    after: float | None
    signalled: int = signal.SIGKILL
    pid: int = 0
    done: list[tuple[float, int]] = field(default_factory=list)
    killed: float = 0.0

    def __call__(self, event):
        if event["event"] == "start" and event["pass"] == PREDICTIONS and self.after is not None:
            self.pid = event["process"]
            threading.Timer(self.after, self.kill).start()
        if event["event"] == "rows" and event["pass"] == PREDICTIONS:
            self.done.append((time.monotonic(), event["done"]))

    def kill(self):
        self.killed = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # the run was faster
            os.kill(self.pid, self.signalled)

    def done_by(self, moment: float) -> int:
        return max((count for when, count in self.done if when <= moment), default=0)


def kept(job) -> int:
    return len(RunFolder(Path(job.run_folder)).examples(PREDICTIONS))


def test_a_worker_that_is_killed_again_and_again_ends_with_the_same_rows(place, undisturbed):
    whole, seconds = undisturbed
    job, chance = slow_job(place, run="killed"), random.Random(5)
    count = 0
    for after in (None, *(chance.uniform(0.1, 0.9) * seconds / 2 for _ in range(3))):
        before, watch = kept(job), Watch(after)
        worker = Worker([job])
        if after is None:
            time.sleep(chance.uniform(0.2, 2.0))
            os.killpg(worker._process.pid, signal.SIGKILL)
        (failure,) = worker.follow(watch).values()
        if failure is None:
            break
        count += 1
        assert isinstance(failure, EngineError)
        assert "SIGKILL" in str(failure)
        slack = 2 * SHARD_SECONDS + 0.5  # the last shard, and a machine that does other things
        assert kept(job) - before >= watch.done_by(watch.killed - slack), "what is older than a shard is kept"
    assert count >= 2
    before = kept(job)
    events = []
    assert Worker([job]).follow(events.append) == {0: None}
    start = next(event for event in events if event["event"] == "start")
    assert (start["pass"], start["total"]) == (PREDICTIONS, COUNT - before)
    assert_same_rows(predictions_of(job), predictions_of(whole))
    assert not list(Path(job.run_folder).rglob(".writing-*"))


def test_files_that_a_kill_left_half_written_are_removed(place):
    job = slow_job(place, run="half", limit=20)
    left = Path(job.run_folder) / PREDICTIONS / ".writing-0123456789abcdef"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    events_of(job)
    assert not left.exists()
    assert kept(job) == 20


def command(place: Path, *more: str) -> list[str]:
    asked = [f"task_path=[{place / 'tasks'}]", "tasks=[mine]", f"results={place / 'results'}", "engine.device=cpu"]
    return [sys.executable, "-m", "verify", "check", str(place / "model"), "--json", *asked, *more]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the worker in /proc")
def test_a_worker_whose_command_was_killed_ends_and_the_next_command_goes_on(place, undisturbed):
    slow_job(place)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    first = subprocess.Popen(
        command(place, "engine.token_budget=512"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: list((place / "results").glob("model/*/*/predictions/*.parquet")))
    (worker,) = children_of(first.pid)
    first.kill()
    first.wait()
    wait_until(lambda: not is_running(worker), 20.0)
    (run,) = (place / "results").glob("model/*/*")
    left = {file.name for file in (run / PREDICTIONS).glob("*.parquet")}
    done = len(RunFolder(run).examples(PREDICTIONS))
    assert 0 < done < COUNT, "the worker did not go on alone"
    second = subprocess.run(command(place), env=environment, capture_output=True, text=True, timeout=300, check=False)
    found = json.loads(second.stdout)
    assert (second.returncode, found["measurements"][0]["n"]) == (3, COUNT)
    assert left < {file.name for file in (run / PREDICTIONS).glob("*.parquet")}, "its shards are part of the result"
    whole = predictions_of(undisturbed[0])
    assert_same_rows(RunFolder(run).predictions(PREDICTIONS), whole)
    right = int((whole.logits.argmax(1) == whole.reference).sum())
    assert found["measurements"][0]["scores"]["accuracy"]["count"] == right


def stop(pids):
    for one in map(psutil.Process, pids):
        if one.cmdline() != one.parent().cmdline():  # all but those that watch, which nothing would end
            one.suspend()


def nothing(pids):
    pass


@pytest.mark.real_start  # processes that watch are told from others by their command lines
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")
@pytest.mark.parametrize(
    ("number", "before", "processes", "code"),
    [
        (signal.SIGTERM, nothing, 1, 143),
        pytest.param(signal.SIGHUP, nothing, 1, 129, marks=pytest.mark.stress),
        pytest.param(signal.SIGTERM, nothing, 2, 143, marks=pytest.mark.stress),
        pytest.param(signal.SIGKILL, stop, 1, -9, marks=pytest.mark.stress),
        pytest.param(signal.SIGKILL, nothing, 2, -9, marks=pytest.mark.stress),
        pytest.param(signal.SIGKILL, stop, 2, -9, marks=pytest.mark.stress),
    ],
)
def test_all_workers_end_with_their_command_whatever_ends_it(place, tmp_path, number, before, processes, code):
    slow_job(place)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    words = command(place, "engine.token_budget=512", f"engine.processes={processes}", f"results={tmp_path}")
    first = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: list(tmp_path.glob("model/*/*/predictions/*.parquet")), 120)
    workers = [one.pid for one in psutil.Process(first.pid).children(recursive=True)]
    assert len(workers) >= 2 * processes, "each has one that watches"
    before(workers)
    os.kill(first.pid, number)
    _, said = first.communicate(timeout=30)
    assert first.returncode == code
    assert ("interrupted; what was done is kept" in said) == (code > 0)
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_running, workers)), 10)


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["one of them", "their launcher"])
def test_two_processes_of_which_one_is_killed(place, undisturbed, victim):
    job = slow_job(place, run=f"two-{victim[:3]}", processes=2)
    watch = Watch(0.0)
    worker = Worker([job])
    pid = (lambda: watch.pid) if victim == "one of them" else (lambda: worker._process.pid)

    def kill_once_rows_are_stored():
        wait_until(lambda: kept(job))
        os.kill(pid(), signal.SIGKILL)

    watch.kill = kill_once_rows_are_stored
    results = worker.follow(watch)
    if victim == "one of them":
        assert isinstance(results[0], EngineError)
        assert 0 < kept(job) < COUNT
    events_of(replace(job, processes=1))
    assert_same_rows(predictions_of(job), predictions_of(undisturbed[0]))
    assert len(shards_of(job)) > 1


def test_rows_that_two_workers_stored_at_the_same_time_count_once(place, undisturbed):
    """A worker whose command was killed may still write what the next one has begun with."""
    job = slow_job(place, run="twice", limit=64)
    events_of(job)
    other = replace(job, run_folder=f"{job.run_folder}-other", token_budget=300)
    events_of(other)
    for name in shards_of(other):
        source = Path(other.run_folder) / PREDICTIONS / name
        (Path(job.run_folder) / PREDICTIONS / name).write_bytes(source.read_bytes())
    found = predictions_of(job)
    assert len(found) == len(set(found.example.tolist())) == 64
    whole = predictions_of(undisturbed[0])
    np.testing.assert_allclose(found.logits, whole.logits[found.example], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "examples"), [(3, 1500), pytest.param(50, 15_000, marks=pytest.mark.stress)])
def test_kills_at_random_moments(tmp_path, monkeypatch, number, examples):
    """The script in a small form, with a kill of each sort, and in its own."""
    figures, descendants = tmp_path / "figures.json", kills.descendants
    monkeypatch.setattr(kills, "descendants", lambda pid: [one for one in descendants(pid) if not forks.is_server(one)])
    monkeypatch.setattr(sys, "argv", ["kills", f"--kills={number}", f"--examples={examples}", f"--json={figures}"])
    assert kills.main() == 0
    found = json.loads(figures.read_text())
    assert (found["kills"], found["equal"]) == (number, True)
    assert found["lost at a kill, most s"] < 2 * SHARD_SECONDS + 2
