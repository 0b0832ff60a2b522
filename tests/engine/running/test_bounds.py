import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.driving import job_for, task_of
from engine.running.test_memory import GROWS
from verify.engine.running import bounds
from verify.engine.running.launch import Worker
from verify.errors import EngineError
from verify.store.predictions import LabelPredictions
from verify.store.runs import PREDICTIONS, RunFolder

SAYS = "import sys, time\ndef say(event):\n    print('\\x1e{\"job\": 0, ' + event + '}', flush=True)\n"
BEGINS = """say('"event": "stage", "stage": "loading the data"')\n"""


@pytest.fixture
def worker(tmp_path, monkeypatch):
    """A worker of two jobs that runs the given code in place of the engine."""

    def make(code: str, **options) -> Worker:
        script = tmp_path / "worker.py"
        script.write_text(f"#!{os.path.realpath('/proc/self/exe')}\n{SAYS}{code}")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        task = task_of("sequence-classification", {"text": "text", "label": "label"})
        jobs = [replace(job_for(task, tmp_path / name), **options) for name in ("a", "b")]
        for job in jobs:
            Path(job.run_folder).mkdir()
        return Worker(jobs)

    monkeypatch.setattr(bounds, "grace", lambda budget: 0.2)
    return make


def seconds(worker: Worker) -> tuple[dict, float]:
    began = time.monotonic()
    return worker.follow(lambda event: None), time.monotonic() - began


def test_a_worker_that_outgrows_its_memory_ends_with_that_sentence(worker):
    found, took = seconds(worker(BEGINS + GROWS, memory=300_000_000))
    assert list(found) == [0]
    assert isinstance(found[0], EngineError)
    assert "its share of this machine is 0.3 GB" in str(found[0])
    assert took < 30


def test_children_of_a_worker_count_and_end_with_it(worker, tmp_path):
    child = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid()))\n{GROWS}"
    code = f"import subprocess\nsubprocess.run([{os.path.realpath('/proc/self/exe')!r}, '-c', {child!r}], "
    found, _ = seconds(worker(f"{BEGINS}{code}start_new_session=True)\n", memory=300_000_000))
    assert "its share of this machine" in str(found[0])
    until = time.monotonic() + 10
    while Path(f"/proc/{(tmp_path / 'pid').read_text()}/cmdline").exists():
        status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status").read_text()
        if "State:\tZ" in status:
            break
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_job_that_hangs_ends_when_its_time_is_over(worker):
    found, took = seconds(worker(BEGINS + "time.sleep(60)\n", budget=0.6))
    assert list(found) == [0]
    assert "budget=0.01 minutes ran out" in str(found[0])
    assert 0.6 < took < 20


def test_without_a_budget_nothing_is_ended(worker):
    found, _ = seconds(worker(BEGINS + """time.sleep(1.5)\nsay('"event": "done"')\n"""))
    assert found[0] is None


def test_every_job_has_time_of_its_own_and_imports_have_theirs(worker):
    later = BEGINS.replace("say(", "say2(") + """say2('"event": "done"')\n"""
    code = (
        "def say2(event):\n    print('\\x1e{\"job\": 1, ' + event + '}', flush=True)\n"
        "time.sleep(1.5)\n"
        + BEGINS
        + """time.sleep(0.6)\nsay('"event": "done"')\n"""
        + later.replace('say2(\'"event": "done"\')', 'time.sleep(0.6)\nsay2(\'"event": "done"\')')
    )
    found, _ = seconds(worker(code, budget=1.0))
    assert found == {0: None, 1: None}


def test_imports_that_never_end_are_bounded(worker, monkeypatch):
    monkeypatch.setattr(bounds, "START", 0.5)
    found, took = seconds(worker("time.sleep(60)\n", budget=30.0))
    assert "ran out" in str(found[0])
    assert took < 20


def test_what_is_stored_of_a_job_whose_time_is_over_is_enough_to_go_on_with(worker, tmp_path):
    made = worker(BEGINS + "time.sleep(60)\n", budget=0.6)
    folder = RunFolder(tmp_path / "a")
    folder.write_info({"population": 3})
    order = np.random.default_rng(0).permutation(3)
    columns = {"example": order[:1], "reference": np.zeros(1, np.int32), "logits": np.zeros((1, 2), np.float32)}
    folder.append(PREDICTIONS, LabelPredictions, columns)
    found, _ = seconds(made)
    assert found == {0: None}


def test_the_grace_is_short_for_short_budgets(monkeypatch):
    assert bounds.grace(12.0) == pytest.approx(6.2)
    assert bounds.grace(36_000.0) == 60.0
