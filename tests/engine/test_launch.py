import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from builders import bert, sentences

from engine.test_run import job_of
from verify.engine.launch import Worker, default_threads, run_jobs
from verify.errors import DataError, EngineError
from verify.store import PREDICTIONS, RunFolder

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
