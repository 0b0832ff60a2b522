"""Sweeps that are disturbed: nothing is lost, nothing counted twice, and the table is the undisturbed one."""

import json
import random
import signal
import time
from pathlib import Path

import pytest

from sweeping.sweeping import (
    CALM,
    COUNT,
    LONG,
    Suite,
    assert_rows_stand_once,
    assert_whole,
    predictions,
    send,
    wait_until,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc"),
]

MODELS = ["honest-two-tasks-1", "inflated-2-points-1", "no-head-1", "no-card-1"]


@pytest.fixture(scope="module")
def suite(tmp_path_factory) -> Suite:
    return Suite.with_a_long_task(tmp_path_factory.mktemp("faults"), MODELS)


@pytest.fixture(scope="module")
def undisturbed(suite, tmp_path_factory):
    """What the sweep finds when nobody disturbs it."""
    results = tmp_path_factory.mktemp("undisturbed")
    found = suite.sweep("known", results, *CALM)
    assert found.code == 1
    assert_rows_stand_once(results, LONG, COUNT)
    return found


def test_workers_that_are_killed_at_random_moments(suite, undisturbed, tmp_path):
    chance = random.Random(time.time_ns())
    sweep = suite.begin("known", tmp_path, *CALM, "sweep.retries=10")

    def kill_one() -> None:
        found: list[int] = []
        wait_until(lambda: found.extend(sweep.workers) or found or sweep.is_over)
        assert found, "nobody is there to be killed"
        send(chance.choice(found), signal.SIGKILL)

    wait_until(lambda: sweep.workers or sweep.is_over)
    time.sleep(chance.uniform(0, 2))
    kill_one()
    wait_until(lambda: any((tmp_path / "sweeps").glob("*.json")) or sweep.is_over)
    time.sleep(chance.uniform(0, 0.3))
    kill_one()
    with sweep.held_at_work() as workers:
        send(chance.choice(workers), signal.SIGKILL)
    assert_whole(sweep.ended(), undisturbed, tmp_path)


def test_a_sweep_that_is_killed_or_interrupted_again_and_again(suite, undisturbed, tmp_path):
    killed = suite.begin("known", tmp_path, *CALM)
    with killed.held_at_work():
        killed.kill()
    done = predictions(tmp_path)
    assert done

    interrupted = suite.begin("known", tmp_path, *CALM)
    with interrupted.held_at_work(done):
        begun = time.monotonic()
        interrupted.process.send_signal(signal.SIGINT)
    found = interrupted.ended()
    assert time.monotonic() - begun < 10
    assert found.code == 130
    assert "the same command goes on" in found.err

    twice = suite.begin("known", tmp_path, *CALM)
    wait_until(lambda: len(twice.workers) == 2 or twice.is_over)
    twice.process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    begun = time.monotonic()
    twice.process.send_signal(signal.SIGINT)
    assert twice.ended().code in (130, -signal.SIGINT), "the second one may come after the last word"
    assert time.monotonic() - begun < 3

    (run,) = tmp_path.glob(f"{LONG}/{LONG}.validation/*")
    (run / "predictions" / ".writing-0123456789abcdef").write_bytes(b"PAR1")
    assert_whole(suite.sweep("known", tmp_path, *CALM), undisturbed, tmp_path)
    assert done.items() <= predictions(tmp_path).items(), "what was done is part of the result"


def test_a_disk_that_is_full(suite, undisturbed, tmp_path):
    full = suite.sweep("known", tmp_path, *CALM, limit=8)
    said = "".join([full.out, full.err, *(file.read_text() for file in tmp_path.glob("*/verdicts.json"))])
    assert full.code in (1, 4)
    assert "cannot be written" in said
    assert "Free some space" in said
    assert_whole(suite.sweep("known", tmp_path, *CALM), undisturbed, tmp_path)


def test_two_sweeps_of_one_results_folder(suite, undisturbed, tmp_path):
    alone = [word for word in CALM if "workers" not in word]
    both = [suite.begin("known", tmp_path, *alone, "sweep.workers=1") for _ in range(2)]
    for sweep in both:
        assert_whole(sweep.ended(), undisturbed, tmp_path)
    recorded = [json.loads(file.read_text())["model"] for file in (tmp_path / "sweeps").glob("*.json")]
    assert len(recorded) == len(set(recorded)) == len(MODELS) + 1
