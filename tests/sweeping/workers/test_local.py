"""Workers of this machine, with real models: killed, frozen, interrupted, left alone."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeping.placing import COUNT, LONG_COUNT, Place, ended, stages
from sweeping.sweeping import ROOT, assert_rows_stand_once, children_of, is_running, wait_until
from verify.configuration.compose import from_yaml, to_yaml
from verify.errors import EngineError, StoreError
from verify.store.runs import PREDICTIONS
from verify.sweeping.plan import devices
from verify.sweeping.run import InterruptedSweepError, read_finished, sweep
from verify.sweeping.units import OPENED, Died, Happened
from verify.sweeping.workers import local
from verify.sweeping.workers.local import LocalWorkers
from verify.sweeping.workers.turn import WAITING_FOR_DEVICE

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place")).build()
    for name in ("one", "two", "three"):
        place.card(place.copy(name), "short")
    place.card("large", "long", "short")
    return place


class Watch:
    """Takes reports in, and does something once a model has stored rows of its long task."""

    def __init__(self, act=None, times=1, rows=100):
        self.reports, self._act, self._times, self._rows = [], act, times, rows
        self._attempt = -1

    def __call__(self, report):
        self.reports.append(report)
        if self._act is None or not isinstance(report, Happened) or self._times == 0:
            return
        event = report.event
        is_long = event["event"] == "rows" and event["pass"] == PREDICTIONS and event["total"] > COUNT
        if is_long and event["done"] > self._rows:
            self._once(report)

    def _once(self, report):
        attempt = (report.unit.attempt, len(report.unit.given_up))
        if attempt != self._attempt:
            self._attempt, self._times = attempt, self._times - 1
            self._act(self.process)

    @property
    def process(self) -> int:
        """The process that began a pass last."""
        events = [one.event for one in self.reports if isinstance(one, Happened)]
        return next(event["process"] for event in reversed(events) if event["event"] == "start")

    def deaths(self):
        return [one for one in self.reports if isinstance(one, Died)]


def kill(process):
    os.kill(process, signal.SIGKILL)


def freeze(process):
    os.kill(process, signal.SIGSTOP)


def swept(place, models, config, watch):
    return sweep([place.unit(model) for model in models], LocalWorkers(config), config, watch)


def kinds(finished):
    verdicts = json.loads((Path(finished.folder) / "verdicts.json").read_text())["verdicts"]
    return {one["claim"]["dataset"]: (one["kind"], one["reason"]) for one in verdicts}


def test_two_workers_check_three_models_and_leave_nothing_running(place):
    watch = Watch()
    before = children_of(os.getpid())
    config = place.config("calm", "sweep.workers=2")
    found = swept(place, ["one", "two", "three"], config, watch)
    assert sorted(one.model for one in found) == ["one", "three", "two"]
    assert all(one.settled and one.exit_code in (0, 1) for one in found)
    assert {one.worker for one in watch.reports} == {"worker 1", "worker 2"}
    assert len({one.unit.key for one in ended(watch.reports)}) == 3
    opened = [one for one in watch.reports if isinstance(one, Happened) and one.event["event"] == OPENED]
    assert {tuple(map(tuple, one.event["cells"])) for one in opened} == {(("short", "validation"),)}
    assert stages(watch.reports).count("loading the model") == 3
    assert children_of(os.getpid()) == before
    assert not list((place.folder / "calm/sweeps").glob("logs/*"))
    for one in found:
        assert read_finished(place.folder / "calm", one.key) == one


def test_a_model_without_a_folder_and_one_without_claims(place):
    place.copy("silent")
    (place.folder / "silent/README.md").write_text("# Nothing\n")
    found = swept(place, ["gone", "silent"], place.config("few", "sweep.workers=1"), Watch())
    gone, silent = sorted(found, key=lambda one: one.model)
    assert gone.error_kind == "HubError"
    assert "There is no folder" in gone.error
    assert (silent.exit_code, silent.settled, silent.error) == (3, True, None)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_cell_is_replaced_and_the_cell_goes_on(place):
    watch = Watch(kill)
    (found,) = swept(place, ["large"], place.config("killed", "sweep.workers=1"), watch)
    (death,) = watch.deaths()
    assert "SIGKILL" in death.message
    assert "Its last words" in death.message
    assert death.cell == "long/validation"
    assert found.settled
    assert [one.unit.attempt for one in ended(watch.reports)] == [1], "in smaller batches"
    assert_rows_stand_once(place.folder / "killed", "long", LONG_COUNT)


@pytest.mark.slow
def test_a_worker_that_is_frozen_past_its_deadline_is_ended(place):
    watch, config = Watch(freeze), place.config("frozen", "sweep.workers=1", "sweep.deadline=0.3")
    (found,) = swept(place, ["large"], config, watch)
    (death,) = watch.deaths()
    assert "no sign of progress for 0.3 minutes" in death.message
    assert found.settled
    assert_rows_stand_once(place.folder / "frozen", "long", LONG_COUNT)


@pytest.mark.slow
def test_a_cell_is_given_up_and_the_other_of_its_model_goes_on(place):
    for attempt in range(4):  # on a busy machine a unit may be over before the second kill
        results = f"given-up-{attempt}"
        watch, config = Watch(kill, times=2, rows=0), place.config(results, "sweep.workers=1")
        (found,) = swept(place, ["large"], config, watch)
        if len(watch.deaths()) == 2:
            break
    assert len(watch.deaths()) == 2
    assert not found.settled
    said = kinds(found)
    assert said["long"][0] == "error"
    assert "SIGKILL" in said["long"][1]
    assert said["short"][0] != "error"
    (again,) = swept(place, ["large"], config, Watch())
    assert again.settled
    assert kinds(again)["long"][0] != "error"
    assert_rows_stand_once(place.folder / results, "long", LONG_COUNT)


def interrupt(_process):
    raise KeyboardInterrupt


@pytest.mark.slow
def test_an_interruption_stores_the_rows_that_are_done(place):
    watch, config = Watch(interrupt, rows=400), place.config("interrupted", "sweep.workers=1")
    before = children_of(os.getpid())
    begun = time.monotonic()
    with pytest.raises(InterruptedSweepError):
        swept(place, ["one", "large"], config, watch)
    assert children_of(os.getpid()) == before
    events = [one.event for one in watch.reports if isinstance(one, Happened)]
    seen = max(event["done"] for event in events if event["event"] == "rows" and event["total"] == LONG_COUNT)
    (run,) = (place.folder / "interrupted").glob("large/long.validation/*")
    kept = sum(len(pq.read_table(file)) for file in (run / "predictions").glob("*.parquet"))
    assert kept >= seen, "all that was reported is kept"
    assert time.monotonic() - begun < 60
    (found,) = swept(place, ["large"], config, Watch())
    assert found.settled
    assert_rows_stand_once(place.folder / "interrupted", "long", LONG_COUNT)


@pytest.mark.slow
def test_an_interruption_ends_a_worker_that_does_not_listen(place):
    begun = []

    def freeze_and_interrupt(process):
        freeze(process)
        begun.append((time.monotonic(), process))
        raise KeyboardInterrupt

    with pytest.raises(InterruptedSweepError):
        swept(place, ["large"], place.config("closing", "sweep.workers=1"), Watch(freeze_and_interrupt))
    ((moment, process),) = begun
    assert time.monotonic() - moment < 10
    assert not is_running(process)


def test_workers_that_cannot_start_end_the_sweep(place):
    config = replace(place.config("no-start", "sweep.workers=1"), task_path=[str(place.folder / "no-tasks")])
    with pytest.raises(EngineError, match=r"before they can begin.*no-tasks"):
        swept(place, ["one", "two"], config, Watch())


def test_a_results_folder_that_is_a_file(place):
    (place.folder / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        LocalWorkers(place.config("file", "sweep.workers=1"))


@pytest.mark.parametrize(
    ("device", "gpus", "has_driver", "expected"),
    [
        ("auto", ["0", "MIG-1"], False, [("cuda", "0", 0), ("cuda", "MIG-1", 1)] * 2),
        ("cuda:1", ["1"], False, [("cuda", "1", 0)] * 2),
        ("cuda", ["0"], True, [("cuda", "0", 0)] * 2),
        ("auto", [], False, [("cpu", None, None)] * 3),
        ("cpu", [], True, [("cpu", None, None)] * 3),
        ("auto", [], True, [("auto", None, 0)] * 2),
        ("cuda:1", [], True, [("cuda:1", None, 0)] * 2),
        ("mps", [], False, [("mps", None, 0)] * 2),
    ],
)
def test_what_a_worker_is_told_of_its_device(place, monkeypatch, device, gpus, has_driver, expected):
    """And with whom it takes turns on it: with the one that is told the same number."""
    told = workers_told(monkeypatch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(place.folder))  # where there is no nvidia-smi
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(devices, "_DRIVERS", (str(place.folder),) if has_driver else ())
    config = place.config("told", "sweep.workers=3")
    LocalWorkers(replace(config, engine=replace(config.engine, device=device)), gpus)
    assert told == expected


def workers_told(monkeypatch):
    """What workers are told from now on, instead of starting them: their device, the GPUs they see, the turn."""
    told = []

    class Told:
        def __init__(self, config, log, environment, hear, turn):
            number = int(turn[0].stem.split("-")[1]) if turn else None
            told.append((from_yaml(config).engine.device, environment.get("CUDA_VISIBLE_DEVICES"), number))

    monkeypatch.setattr(local, "WorkerProcess", Told)
    return told


@pytest.mark.parametrize("why", ["nothing is to be done ahead", "the GPU takes one process"])
def test_a_gpu_that_is_not_to_be_shared_has_one_worker(place, monkeypatch, tmp_path, why):
    told = workers_told(monkeypatch)
    settings = ["sweep.ahead=false"] if "ahead" in why else []
    if not settings:
        program = tmp_path / "nvidia-smi"
        program.write_text("#!/bin/sh\necho Exclusive_Process\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    LocalWorkers(place.config("alone", "engine.device=cuda", *settings), ["0", "1"])
    assert told == [("cuda", "0", None), ("cuda", "1", None)]


@pytest.mark.slow
def test_a_unit_that_needs_two_devices_gets_a_worker_of_its_own(place):
    config = place.config("devices", "sweep.workers=2")
    workers = LocalWorkers(config, ["0", "1"])
    names = set()
    units = [place.unit("one"), place.unit("two", devices=2), place.unit("three")]
    found = sweep(units, workers, config, lambda report: names.add((report.unit.reference[-3:], report.worker)))
    assert len(found) == 3
    assert all(one.settled for one in found)
    assert ("two", "gpu 0,1 a") in names
    others = {(name, f"gpu {i} {letter}") for name in ("one", "ree") for i in (0, 1) for letter in "ab"}
    assert names - {("two", "gpu 0,1 a")} <= others


@pytest.mark.slow
def test_the_next_model_is_made_ready_while_one_computes_and_never_computes_beside_it(place):
    """A GPU's workers, which compute on the CPU here; the second one gets its model and inputs ready meanwhile."""
    place.card(place.copy("large-too", of="large"), "long")
    config, reports = place.config("turns"), []
    units = [place.unit(name) for name in ("large", "large-too", "one")]
    found = sweep(units, LocalWorkers(config, ["0"]), config, reports.append)
    assert all(one.settled for one in found)
    assert {one.worker for one in reports} == {"gpu 0 a", "gpu 0 b"}
    seen = [one for one in reports if isinstance(one, Happened)]
    place_of = {id(one): number for number, one in enumerate(seen)}
    waited = next(one for one in seen if one.event.get("stage") == WAITING_FOR_DEVICE)
    loaded = [one for one in seen if one.unit == waited.unit and one.event.get("stage") == "loading the model"]
    other = next(one.unit for one in seen if one.unit.key != waited.unit.key and one.event["event"] == "rows")
    rows = [place_of[id(one)] for one in seen if one.unit == other and one.event["event"] == "rows"]
    assert place_of[id(loaded[0])] < place_of[id(waited)] < rows[-1], "it was ready before the other one was done"
    computing = [one.unit.key for one in seen if one.event["event"] in ("start", "rows")]
    assert len(list(groupby(computing))) == 3, "one after the other"
    assert not list((place.folder / "turns/sweeps").glob("logs/*"))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_its_turn_does_not_keep_the_other_waiting(place):
    place.card(place.copy("large-next", of="large"), "long")
    watch, config = Watch(kill), place.config("killed-in-turn")
    units = [place.unit(name) for name in ("large", "large-next")]
    found = sweep(units, LocalWorkers(config, ["0"]), config, watch)
    assert len(watch.deaths()) == 1
    assert all(one.settled for one in found)
    for name in ("large", "large-next"):
        assert_rows_stand_once(place.folder / "killed-in-turn", "long", LONG_COUNT, name)


SWEEP = """
from pathlib import Path
from sweeping.placing import Place
from verify.configuration.compose import from_yaml
from verify.sweeping.workers.local import LocalWorkers
from verify.sweeping.run import sweep
config = from_yaml(Path({config!r}).read_text())
place = Place(Path({folder!r}))
sweep([place.unit(name) for name in {models!r}], LocalWorkers(config), config, lambda report: None)
"""


def command(place, config, *models):
    """A sweep in a process of its own."""
    file = place.folder / f"{Path(config.results).name}.yaml"
    file.write_text(to_yaml(config))
    code = SWEEP.format(config=str(file), folder=str(place.folder), models=models)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("", "tests", "scripts"))}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_workers_end_when_their_parent_is_killed(place):
    config = place.config("orphans", "sweep.workers=2")
    parent = command(place, config, "large", "one")
    wait_until(lambda: list((place.folder / "orphans").glob("large/long.*/*/predictions/*.parquet")))
    workers = children_of(parent.pid)
    assert len(workers) == 2
    parent.kill()
    parent.communicate()
    wait_until(lambda: not any(map(is_running, workers)), 10)
    found = swept(place, ["large", "one"], config, Watch())
    assert all(one.settled for one in found)
    assert_rows_stand_once(place.folder / "orphans", "long", LONG_COUNT)


@pytest.mark.slow
def test_two_sweeps_of_one_results_folder_do_not_spoil_each_other(place):
    config = place.config("both", "sweep.workers=1")
    sweeps = [command(place, config, "large", "one") for _ in range(2)]
    for process in sweeps:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert_rows_stand_once(place.folder / "both", "long", LONG_COUNT)
    assert read_finished(place.folder / "both", "key-of-large").settled
