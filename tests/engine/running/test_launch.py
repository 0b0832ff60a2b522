import contextlib
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import bert, sentences

from engine.job_making import job_on
from engine.running.test_run import job_of
from verify.engine.running.launch import Worker, default_threads, run_jobs, worker_environment
from verify.errors import DataError, EngineError, StoreError
from verify.store.runs import PREDICTIONS, RunFolder

TEXTS = sentences(60)


@pytest.fixture
def job(tmp_path: Path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    return job_of(tmp_path, "{text: text, label: label}", {"text": TEXTS, "label": [i % 2 for i in range(60)]})


def test_a_worker_reports_its_progress_and_leaves_rows(job):
    events = []
    Worker([job]).follow(events.append)
    assert [event["stage"] for event in events if event["event"] == "stage"] == [
        "loading the data",
        "loading the model",
        "placing the model",
    ]
    done = [event["done"] for event in events if event["event"] == "rows" and event["pass"] == PREDICTIONS]
    assert done == sorted(done)
    assert done[-1] == 60
    assert len(RunFolder(Path(job.run_folder)).predictions(PREDICTIONS).example) == 60


def test_an_error_of_the_worker_keeps_its_kind_and_message(job, tmp_path):
    (tmp_path / "data.parquet").unlink()
    (failure,) = run_jobs([job], lambda event: None)
    assert isinstance(failure, DataError)
    assert "could not be loaded" in str(failure)


def test_a_killed_worker_is_an_error_that_says_so(job):
    worker = Worker([job])

    def kill():
        time.sleep(0.5)
        os.killpg(worker._process.pid, signal.SIGKILL)

    threading.Thread(target=kill).start()
    failure = worker.follow(lambda event: None)[0]
    assert isinstance(failure, EngineError)
    assert re.search(r"SIGKILL .*out of memory", str(failure))


def test_stopping_ends_the_worker(job):
    worker = Worker([job])
    worker.stop()
    assert worker._process.poll() is not None


def test_threads_times_processes_never_exceed_the_cores():
    cores = len(os.sched_getaffinity(0))
    for processes in range(1, 2 * cores):
        assert default_threads(processes) >= 1
        assert default_threads(processes) * processes <= max(cores, processes)


def labelled(tmp_path: Path, name: str, **options):
    """A job with a data set of its own on the model that all of them share."""
    labels = [(i + len(name)) % 2 for i in range(60)]
    return job_on(
        tmp_path,
        "sequence-classification",
        {"text": TEXTS, "label": labels},
        {"text": "text", "label": "label"},
        name=name,
        run=f"run-{name}",
        **options,
    )


def loads(job) -> int:
    """How often the worker whose first job this was has loaded a model, by its log."""
    return (Path(job.run_folder) / "worker.log").read_text().count("verify.engine.loading.load: loading AutoModel")


def done(job) -> int:
    return len(RunFolder(Path(job.run_folder)).examples(PREDICTIONS))


def test_a_model_is_loaded_once_for_all_its_jobs(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    jobs, events = [labelled(tmp_path, name) for name in ("a", "bb", "ccc")], []
    assert run_jobs(jobs, events.append) == [None, None, None]
    assert [done(job) for job in jobs] == [60, 60, 60]
    assert loads(jobs[0]) == 1
    assert len({event["process"] for event in events if event["event"] == "start"}) == 1
    assert {event["job"] for event in events} == {0, 1, 2}


def test_another_model_or_other_weights_are_loaded_anew(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    bert(tmp_path / "other", TEXTS, ["no", "yes"], layers=1)
    jobs = [
        labelled(tmp_path, "a"),
        labelled(tmp_path, "b", model="other"),
        labelled(tmp_path, "c", model="other", dtype="bfloat16"),
    ]
    assert run_jobs(jobs, lambda event: None) == [None, None, None]
    assert loads(jobs[0]) == 3
    one, other = (RunFolder(Path(job.run_folder)).predictions(PREDICTIONS).logits for job in jobs[:2])
    assert not np.allclose(one, other, atol=0.1)


def test_a_job_that_fails_does_not_keep_the_others_from_running(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    jobs = [labelled(tmp_path, name) for name in ("a", "b", "c")]
    (tmp_path / "b.parquet").unlink()
    first, second, third = run_jobs(jobs, lambda event: None)
    assert (first, third) == (None, None)
    assert isinstance(second, DataError)
    assert [done(job) for job in jobs] == [60, 0, 60]
    assert loads(jobs[0]) == 1


def killing(job: int, events: list):
    """Follow events, and kill the worker as soon as it has begun a job."""
    worker: list[int] = []

    def emit(event):
        events.append(event)
        if event["event"] == "start":
            worker.append(event["process"])
        if event["job"] == job and event["event"] == "stage" and worker:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker[-1], signal.SIGKILL)
            worker.clear()

    return emit


def test_a_job_that_kills_its_worker_costs_that_job_alone(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    jobs, events = [labelled(tmp_path, name) for name in ("a", "b", "c")], []
    first, second, third = run_jobs(jobs, killing(1, events))
    assert (first, third) == (None, None)
    assert isinstance(second, EngineError)
    assert "SIGKILL" in str(second)
    assert [done(job) for job in jobs] == [60, 0, 60]
    assert len({event["process"] for event in events if event["event"] == "start"}) == 2, "a fresh worker for the rest"


def test_a_job_that_fails_and_one_that_kills_its_worker_each_have_their_own_error(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    jobs = [labelled(tmp_path, name) for name in ("a", "b", "c", "d")]
    (tmp_path / "b.parquet").unlink()
    found = run_jobs(jobs, killing(2, []))
    assert [type(result) for result in found] == [type(None), DataError, EngineError, type(None)]
    assert [done(job) for job in jobs] == [60, 0, 0, 60]


@pytest.mark.slow
def test_two_processes_go_on_after_a_job_that_fails_and_one_that_kills_one_of_them(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"])
    jobs = [labelled(tmp_path, name, processes=2) for name in ("a", "b", "c", "d")]
    (tmp_path / "b.parquet").unlink()
    events = []
    first, second, third, fourth = run_jobs(jobs, killing(3, events))
    assert (first, third) == (None, None)
    assert isinstance(second, DataError)
    assert isinstance(fourth, EngineError)
    assert [done(job) for job in jobs] == [60, 0, 60, 0]
    assert run_jobs(jobs[3:], lambda event: None) == [None]


@pytest.fixture
def worker_that_says(tmp_path, monkeypatch):
    """Makes the next worker of two jobs a process that prints just these bytes and ends."""

    def make(said: bytes, **options) -> Worker:
        script = tmp_path / "worker.py"
        script.write_text(f"#!{os.path.realpath('/proc/self/exe')}\nimport sys\nsys.stdout.buffer.write({said!r})\n")
        script.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(script))
        jobs = [labelled(tmp_path, name, **options) for name in ("a", "b")]
        Path(jobs[0].run_folder).mkdir()
        return Worker(jobs)

    return make


def test_a_report_that_was_cut_off_and_bytes_that_are_no_text_are_passed_over(worker_that_says):
    worker = worker_that_says(
        b'\x1e{"job": 0, "event": "rows", "done": 1}\n'
        b"\xff\xfe a library talks\n"
        b'\x1e{"job": 0, "event": "done"}\n'
        b'\x1e{"job": 1, "event": "ro'
    )
    events = []
    assert worker.follow(events.append) == {0: None}
    assert [event["done"] for event in events] == [1]


def test_a_job_is_done_though_one_of_its_processes_died_before_it_could_say_so(worker_that_says):
    worker = worker_that_says(
        b'\x1e{"job": 0, "event": "done"}\n\x1e{"job": 1, "event": "stage", "stage": "loading the data"}\n',
        processes=2,
    )
    found = worker.follow(lambda event: None)
    assert found[0] is None
    assert isinstance(found[1], EngineError)


def test_a_log_that_is_gone_does_not_hide_what_happened(job):
    worker = Worker([job])
    (Path(job.run_folder) / "worker.log").unlink()
    os.killpg(worker._process.pid, signal.SIGKILL)
    assert "SIGKILL" in str(worker.follow(lambda event: None)[0])


def test_a_log_that_cannot_be_written_is_an_error_of_the_results_folder(job):
    (Path(job.run_folder) / "worker.log").mkdir(parents=True)
    with pytest.raises(StoreError, match=r"results folder cannot be written .*results=FOLDER"):
        Worker([job])


@pytest.mark.parametrize(("runnable", "policy"), [("1/300", None), ("2/300", "PASSIVE")])
def test_threads_wait_awake_only_where_nothing_else_runs(monkeypatch, tmp_path, runnable, policy):
    load = tmp_path / "loadavg"
    load.write_text(f"0.00 0.01 0.05 {runnable} 4711\n")
    monkeypatch.setattr("verify.engine.running.launch.LOAD", load)
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    assert worker_environment(2).get("OMP_WAIT_POLICY") == policy
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    assert worker_environment(2)["OMP_WAIT_POLICY"] == "ACTIVE"
