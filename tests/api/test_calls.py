"""What a call leaves behind in the program that makes it: nothing."""

import asyncio
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

import verify
from verify.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {"task_path": ["tasks"]}


def in_threads(*calls):
    """What each call returns or raises, all of them at once in threads of their own."""
    found = [None] * len(calls)

    def run(number, call):
        try:
            found[number] = call()
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def fresh(folder, **more):
    """A check that runs the model, because nothing is stored where its results go."""
    return verify.check("digits-vit", limit=20, results=folder, **SETTINGS, **more)


def test_a_run_in_a_thread_prints_nothing_and_leaves_the_import_path(place, tmp_path, capfd):
    path, environment, events = list(sys.path), dict(os.environ), []
    (found,) = in_threads(lambda: fresh(tmp_path, progress=events.append))
    assert found.measurements[0].n == 20
    assert "block" in {event["event"] for event in events}, "the model was run"
    assert capfd.readouterr() == ("", "")
    assert sys.path == path
    assert dict(os.environ) == environment


def test_a_run_under_an_event_loop(place, tmp_path):
    async def called():
        return fresh(tmp_path)

    assert asyncio.run(called()).measurements[0].n == 20


def test_several_threads_call_at_once(report):
    path, environment = list(sys.path), dict(os.environ)
    calls = [lambda part=part: verify.judge("results/digits-vit", policy={"tolerance": part}) for part in (0, 0.02)]
    refused = [lambda: verify.check("digits-vit", limt=3), lambda: verify.read_claims("nowhere/at/all")]
    strict, loose, *wrong = in_threads(*(calls * 3)[:2], *refused)
    assert [one.to_frame().kind.tolist().count("reproduced") for one in (strict, loose)] == [3, 4]
    assert all(isinstance(one, Exception) for one in wrong)
    assert sys.path == path
    assert dict(os.environ) == environment


def test_what_progress_raises_ends_the_check_and_its_worker(place, tmp_path):
    def stop(event):
        if event["event"] == "block":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fresh(tmp_path, progress=stop)
    listed = subprocess.run(
        ["ps", "-o", "args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    )
    assert "verify.engine.running.worker" not in listed.stdout
    assert fresh(tmp_path).measurements[0].n == 20


def test_a_program_that_composes_with_hydra_itself_goes_on(place, tmp_path):
    (tmp_path / "own.yaml").write_text("width: 3\n")
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        verify.read_claims("digits-vit", **SETTINGS)
        with pytest.raises(UsageError):
            verify.read_claims("digits-vit", limit="x")
        assert compose("own").width == 3


def test_warnings_are_notes_of_the_report_and_not_printed(place, capfd, monkeypatch):
    from verify.checking import reading

    before = reading.texts_of

    def warned(target):
        for _ in range(2):
            logging.getLogger("verify.hub.models").warning("The Hub could not be reached; %s", target)
        return before(target)

    monkeypatch.setattr(reading, "texts_of", warned)
    found, other = in_threads(
        lambda: verify.read_claims("digits-vit", **SETTINGS), lambda: verify.read_claims("./digits-vit", **SETTINGS)
    )
    assert found.notes == ("The Hub could not be reached; digits-vit",)
    assert other.notes == ("The Hub could not be reached; ./digits-vit",)
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("verify").handlers


def test_a_program_without_standard_streams_can_call(place):
    code = (
        "import os, sys\nfor number in range(3): os.close(number)\n"
        "sys.stdin = sys.stdout = sys.stderr = None\nimport verify\n"
        "found = verify.check('digits-vit', limit=20, task_path=['tasks'], results='streamless')\n"
        "open('said', 'w').write(str(found.measurements[0].n))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == 0
    assert (place / "said").read_text() == "20"
