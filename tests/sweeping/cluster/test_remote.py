"""What all clusters share, on a cluster of threads of this process that may be lost one by one."""

import json
import logging
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sweeping.placing import Place, ended, stages, timeless
from sweeping.sweeping import ROOT, comparable
from verify import __version__
from verify.errors import UsageError
from verify.sweeping.cluster import remote
from verify.sweeping.cluster.remote import MOST_LOSSES, Loss, RemoteWorkers
from verify.sweeping.cluster.remote_task import BEGUN, RemoteTask, problem_here, tail
from verify.sweeping.cluster.remote_task import Place as SharedPlace
from verify.sweeping.progress_file import Writer
from verify.sweeping.run import InterruptedSweepError, sweep
from verify.sweeping.units import LIFE, OPENED, Died, Finished, Happened
from verify.sweeping.workers.local import LocalWorkers
from verify.tasks.registry import load_registry


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place")).build()
    for name in ("one", "two"):
        place.card(place.copy(name), "short")
    place.card("large", "long")
    return place


@dataclass
class Sent:
    """A task in a thread, which really does what it is sent for, or what the test has it do instead."""

    task: RemoteTask
    answer: Finished | Loss | None = None
    cancelled: int = 0
    thread: threading.Thread | None = None

    def run(self) -> None:
        try:
            self.answer = pickle.loads(pickle.dumps(self.task))()
        except BaseException as error:
            self.answer = Loss(f"It failed with {error!r}.")
            raise


class Threads(RemoteWorkers[Sent]):
    """A cluster of two machines; ``plays`` says what becomes of the units in turn, and None that they are run."""

    def __init__(self, config, plays=()):
        super().__init__(config, load_registry(config.task_path), "threads")
        self.plays, self.sent, self.removed, self.left = list(plays), [], [], False
        self.refusals = {}

    def _capacity(self):
        return 2

    def _refusal(self, unit):
        return self.refusals.get(Path(unit.reference).name)

    def _submit(self, task, name):
        sent = Sent(task)
        self.sent.append(sent)
        play = self.plays.pop(0) if self.plays else None
        if play is None:
            sent.thread = threading.Thread(target=sent.run)
            sent.thread.start()
        else:
            sent.answer = play(Writer(Path(task.place.file)).emit, task.unit)
        return sent

    def _outcome(self, handle):
        if handle.thread is not None and handle.thread.is_alive():
            return None
        return handle.answer

    def _cancel(self, handle):
        handle.cancelled += 1

    def _remove_files(self, handle):
        self.removed.append(handle)

    def _leave(self):
        self.left = True

    def _last_words(self, handle):
        return "Killed"


def begun(emit, cells=(("short", "validation"),)):
    emit({"event": BEGUN, "host": "far", "process": 7})
    emit({"event": OPENED, "model": "model", "cells": [list(cell) for cell in cells]})


def lost(emit, unit):
    begun(emit)
    return Loss("Its node was lost.", blameless=True)


def killed(emit, unit):
    begun(emit)
    emit({"event": "stage", "job": 0, "cell": 0, "stage": "computing"})
    return Loss("It was killed.")


def silent(emit, unit):
    begun(emit)


def waiting(emit, unit):
    """It waits for a machine."""


def swept(place, models, workers, config):
    reports = []
    found = sweep([place.unit(model) for model in models], workers, config, reports.append)
    return found, reports


def deaths(reports):
    return [one for one in reports if isinstance(one, Died)]


def leftovers(config):
    return list((Path(config.results) / "sweeps" / "progress").iterdir())


def verdicts(finished):
    text = (Path(finished.folder) / "verdicts.json").read_text()
    return comparable(json.loads(text.replace("/near/", "/far/"))["verdicts"])


def test_units_that_are_sent_away_end_as_those_of_this_machine_do(place):
    far, near = place.config("far"), place.config("near", "sweep.workers=1")
    workers = Threads(far)
    found, reports = swept(place, ["one", "two", "gone"], workers, far)
    expected = sweep([place.unit(model) for model in ("one", "two", "gone")], LocalWorkers(near), near, lambda _: None)
    by_model = {one.model: one for one in expected}
    assert len(found) == 3
    for one in found:
        other = by_model[one.model]
        folder = other.folder and str(other.folder).replace("near", "far")
        assert timeless(one) == timeless(replace(other, folder=folder))
        if one.folder:
            assert verdicts(one) == verdicts(other)
    assert stages(reports).count("loading the model") == 2
    names = {one.worker for one in reports if isinstance(one, Happened)}
    assert len(names) == 1, "all threads are of one process"
    assert names.pop().partition(":")[2].isdigit()
    assert not {BEGUN, LIFE} & {one.event["event"] for one in reports if isinstance(one, Happened)}
    assert leftovers(far) == []
    assert len(workers.removed) == 3
    assert workers.left


def test_a_unit_whose_machine_is_lost_is_sent_again_as_it_was(place, caplog, monkeypatch):
    monkeypatch.setattr(
        logging.getLogger("verify.sweeping.cluster.remote"), "disabled", False
    )  # as Hydra's multirun leaves it
    config = place.config("lost")
    workers = Threads(config, [lost, lost])
    with caplog.at_level(logging.WARNING):
        (found,), reports = swept(place, ["one"], workers, config)
    assert found.settled
    assert deaths(reports) == [], "no fault of the model"
    assert [sent.task.unit.attempt for sent in workers.sent] == [0, 0, 0]
    assert len({sent.task.place.file for sent in workers.sent}) == 3, (
        "one that comes back writes into a file of its own"
    )
    assert [one.unit.key for one in ended(reports)] == ["key-of-one"], "it is counted once"
    assert len(caplog.records) == 2
    assert "one is begun again. Its node was lost." in caplog.messages[0]
    assert leftovers(config) == []


def test_a_model_that_takes_machines_down_is_blamed_in_the_end(place):
    config = place.config("blamed", "sweep.retries=0")
    workers = Threads(config, [lost] * 9)
    (found,), reports = swept(place, ["one"], workers, config)
    assert len(workers.sent) == MOST_LOSSES + 1
    (death,) = deaths(reports)
    assert death.message == "Its node was lost. Its last words: Killed"
    assert (found.settled, found.error, found.error_kind) == (False, death.message, "EngineError")


def test_a_unit_that_is_killed_in_a_cell_comes_back_in_smaller_batches(place):
    config = place.config("killed")
    workers = Threads(config, [killed])
    (found,), reports = swept(place, ["one"], workers, config)
    (death,) = deaths(reports)
    assert (death.cell, death.worker) == ("short/validation", "far:7")
    assert death.message == "It was killed. Its last words: Killed"
    assert found.settled
    assert [sent.task.unit.attempt for sent in workers.sent] == [0, 1]


def test_a_cell_that_is_killed_again_and_again_is_given_up(place):
    config = place.config("given-up")
    (found,), reports = swept(place, ["one"], Threads(config, [killed, killed]), config)
    assert len(deaths(reports)) == 2
    assert [one["kind"] for one in verdicts(found)] == ["error"]
    assert "It was killed." in verdicts(found)[0]["reason"]
    assert not found.settled


def test_a_unit_that_shows_no_progress_is_ended_and_one_that_waits_for_a_machine_is_not(place):
    config = place.config("silent", "sweep.deadline=0.005")
    workers = Threads(config, [silent, waiting])
    workers.begin(place.unit("one"))
    workers.begin(place.unit("two"))
    reports = [*workers.reports(0), *workers.reports(20)]
    (death,) = deaths(reports)
    assert death.unit.reference.endswith("one")
    assert "no sign of progress for 0.005 minutes (sweep.deadline)" in death.message
    assert [sent.cancelled for sent in workers.sent] == [1, 0]
    assert workers.free == 1
    time.sleep(0.5)
    assert list(workers.reports(0)) == []
    workers.close(at_once=True)


def test_a_sign_of_life_is_enough_and_is_not_passed_on(place):
    config = place.config("alive", "sweep.deadline=0.02")
    workers = Threads(config, [silent])
    workers.begin(place.unit("one"))
    writer = Writer(Path(workers.sent[0].task.place.file))
    reports = []
    for _ in range(12):
        writer.emit({"event": LIFE})
        reports += workers.reports(0.2)
    assert [one.event["event"] for one in reports] == [OPENED]
    workers.close(at_once=True)


def test_a_unit_that_no_machine_can_take_is_refused_and_the_others_go_on(place):
    config = place.config("refused")
    workers = Threads(config)
    workers.refusals = {"two": "It needs 8 GPUs on one node."}
    found, reports = swept(place, ["one", "two"], workers, config)
    by_name = {Path(one.reference).name: one for one in found}
    assert by_name["one"].settled
    assert (by_name["two"].error, by_name["two"].settled) == ("It needs 8 GPUs on one node.", False)
    assert len(ended(reports)) == 2


def test_units_take_the_room_of_their_devices(place):
    config = place.config("room")
    workers = Threads(config, [waiting, waiting])
    assert workers.free == 2
    workers.begin(place.unit("one", devices=2))
    assert workers.free == 0
    workers.close(at_once=True)
    assert Threads(place.config("room", "sweep.workers=7")).free == 7


def test_an_interruption_gives_units_time_to_stop_and_then_ends_them(place, monkeypatch):
    monkeypatch.setattr(remote, "GRACE", 0.5)
    config = place.config("closing")
    workers = Threads(config, [silent, waiting])

    def interrupt(report):
        raise KeyboardInterrupt

    begun_at = time.monotonic()
    with pytest.raises(InterruptedSweepError):
        sweep([place.unit("one"), place.unit("two")], workers, config, interrupt)
    assert 0.5 <= time.monotonic() - begun_at < 5
    assert [sent.cancelled for sent in workers.sent] == [2, 1], "the other one has not begun"
    assert leftovers(config) == []
    assert len(workers.removed) == 2
    assert workers.left


@pytest.fixture
def heeding_interruptions():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_while_a_unit_is_sent_forgets_nothing_of_it(place, heeding_interruptions):
    config = place.config("sending")

    def interrupted(emit, unit):
        signal.raise_signal(signal.SIGINT)

    workers = Threads(config, [interrupted])
    with pytest.raises(InterruptedSweepError):
        swept(place, ["one", "two"], workers, config)
    assert [sent.cancelled for sent in workers.sent] == [1], "it is known, and nothing is sent after it"
    assert len(workers.removed) == 1
    assert leftovers(config) == []

    def twice(emit, unit):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second one comes at once")

    with pytest.raises(InterruptedSweepError):
        swept(place, ["one"], Threads(config, [twice]), config)


def test_several_processes_for_one_model_are_refused(place):
    with pytest.raises(UsageError, match=r"engine\.processes=2: on a cluster every model has one process"):
        Threads(place.config("several", "engine.processes=2"))


def test_a_machine_that_does_not_share_what_it_must_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setattr("verify.sweeping.progress_file.PATIENCE", 0.1)
    monkeypatch.setattr("verify.sweeping.cluster.remote_task.is_there", Path.exists)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seen").touch()
    shared = SharedPlace(str(tmp_path), "seen")
    assert problem_here(shared) is None
    assert f"has verify {__version__}, and the sweep was started with 0.0.1" in problem_here(
        replace(shared, version="0.0.1")
    )
    problem = problem_here(replace(shared, file="results/unseen"))
    assert "does not see the results folder" in problem
    assert "results/unseen is missing there" in problem
    config = place.config("elsewhere")
    task = RemoteTask(place.unit("one"), config, load_registry(config.task_path), replace(shared, file="unseen"))
    assert task().error_kind == "EngineError"


WRITES = """
import os, sys
from pathlib import Path
from verify.sweeping.cluster.remote_task import logged
print("before")
try:
    with logged(Path(sys.argv[1])):
        print("from Python")
        sys.stdout.flush()
        os.write(2, b"from below\\n")
        raise KeyError
except KeyError:
    print("after")
"""


def test_what_a_task_writes_goes_to_its_log_also_below_python(tmp_path):
    log = tmp_path / "logs" / "one.log"
    ran = subprocess.run([sys.executable, "-c", WRITES, str(log)], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("before\nafter\n", "")
    assert log.read_text() == "from Python\nfrom below\n"
    assert tail(log, tmp_path / "missing") == "from Python | from below"
    assert tail(tmp_path / "missing") == "(none)"
