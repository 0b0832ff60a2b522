"""Taking turns on a device, and what a process makes ready until its turn comes."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from engine.job_making import job_on, predictions_of
from filelock import FileLock
from helpers.builders import bert, sentences

from verify.engine.loading import load
from verify.errors import EngineError
from verify.sweeping.workers.here import MOST_READY, run_here
from verify.sweeping.workers.turn import WAITING_FOR_DEVICE, Turn

HOLD = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"


@pytest.fixture
def files(tmp_path):
    return [tmp_path / "0.lock", tmp_path / "1.lock"]


def taken_until_waited_for(file, said):
    """Let somebody else have a device until an event, of those that are kept in ``said``, tells that one waits."""
    taken, waited = threading.Event(), threading.Event()

    def hold():
        with FileLock(file):
            taken.set()
            waited.wait(60)

    def emit(event):
        said.append(event)
        if event.get("stage") == WAITING_FOR_DEVICE:
            waited.set()

    threading.Thread(target=hold, daemon=True).start()
    taken.wait(10)
    return emit


def test_one_process_at_a_time_has_a_device(files):
    one, other = Turn(files[:1]), Turn(files[:1])
    assert one.try_take()
    assert one.try_take(), "already"
    assert not other.try_take()
    one.release()
    assert other.try_take()


def test_who_needs_two_devices_keeps_neither_while_one_is_missing(files):
    both, first, second = Turn(reversed(files)), Turn(files[:1]), Turn(files[1:])
    assert second.try_take()
    assert not both.try_take()
    assert first.try_take(), "it was given back"
    first.release()
    second.release()
    assert both.try_take()
    assert not first.try_take()
    assert not second.try_take()


def test_without_devices_to_share_it_is_always_ones_turn():
    assert Turn().try_take()
    assert Turn().try_take()


def test_who_must_wait_says_so_and_who_need_not_is_silent(files):
    said = []
    Turn(files[1:]).take(said.append)
    assert said == []
    emit = taken_until_waited_for(files[0], said)
    turn = Turn(files[:1])
    turn.take(emit)
    assert said == [{"event": "stage", "stage": WAITING_FOR_DEVICE}]
    assert turn.try_take()


def test_a_process_that_is_killed_gives_up_its_turn(files):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, files[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline()
        assert not Turn(files[:1]).try_take()
        holder.kill()
        holder.wait()
        Turn(files[:1]).take(lambda event: None)


@pytest.fixture
def jobs(tmp_path):
    """Jobs of one model on different texts."""
    bert(tmp_path / "model", sentences(40), ["no", "yes"])

    def job(number):
        texts = sentences(20 + number)
        return job_on(
            tmp_path,
            "sequence-classification",
            {"text": texts, "label": [i % 2 for i in range(len(texts))]},
            {"text": "text", "label": "label"},
            more="labels: ['no', 'yes']\n",
            name=f"task-{number}",
            run=f"run-{number}",
        )

    return [job(number) for number in range(MOST_READY + 2)]


def steps(events):
    """Which job came to which step, in order: loading the model (l), waiting (w), computing (c)."""
    letters = {"loading the model": "l", WAITING_FOR_DEVICE: "w", "placing the model": "c"}
    return [f"{letters[event['stage']]}{event['job']}" for event in events if event.get("stage") in letters]


def test_jobs_are_made_ready_until_the_turn_comes(jobs, files):
    """And no job is begun before that; when it has come, each job is begun as soon as it is ready."""
    said = []
    emit = taken_until_waited_for(files[0], said)
    assert run_here(jobs, emit, Turn(files[:1])) == [None] * len(jobs)
    assert steps(said) == ["l0", "l1", "l2", "l3", "w0", "c0", "c1", "c2", "c3", "l4", "c4", "l5", "c5"]
    assert FileLock(files[0]).acquire(timeout=0), "the turn is over with the last job"


def test_what_was_made_ready_ahead_predicts_the_same(jobs, files, tmp_path):
    emit = taken_until_waited_for(files[0], [])
    run_here(jobs, emit, Turn(files[:1]))
    others = [replace(job, run_folder=str(tmp_path / "other" / str(index))) for index, job in enumerate(jobs)]
    run_here(others, lambda event: None)
    for one, other in zip(jobs, others, strict=True):
        mine, theirs = predictions_of(one), predictions_of(other)
        assert len(mine.example) > 0
        assert np.array_equal(mine.example, theirs.example)
        assert np.array_equal(mine.logits, theirs.logits)


def test_without_others_on_the_device_each_job_is_begun_once_it_is_ready(jobs, files):
    said = []
    run_here(jobs[:3], said.append, Turn(files))
    assert steps(said) == ["l0", "c0", "l1", "c1", "l2", "c2"]


def test_a_job_that_cannot_be_made_ready_does_not_keep_the_others(jobs, files):
    said = []
    broken = replace(jobs[1], model_folder="/nowhere")
    found = run_here([jobs[0], broken, jobs[2]], taken_until_waited_for(files[0], said), Turn(files[:1]))
    assert isinstance(found[1], EngineError)
    assert [found[0], found[2]] == [None, None]
    assert steps(said) == ["l0", "l1", "l2", "w0", "c0", "c2"]


def test_a_model_that_is_spread_over_devices_is_loaded_in_its_turn(jobs, files):
    said = []
    spread = replace(jobs[0], device_map="auto")
    run_here([spread], taken_until_waited_for(files[0], said), Turn(files))
    assert steps(said)[:2] == ["w0", "l0"]


def test_the_turn_is_given_up_when_a_job_ends_the_process(jobs, files, monkeypatch):
    def ends(ready, emit):
        raise KeyboardInterrupt

    monkeypatch.setattr("verify.engine.running.run.execute", ends)
    with pytest.raises(KeyboardInterrupt):
        run_here(jobs[:1], lambda event: None, Turn(files))
    assert not load._kept, "so is the memory of the model"
    assert FileLock(files[0]).acquire(timeout=0)
