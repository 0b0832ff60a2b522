"""The process that works on units: its orders, its end, and what it does ahead."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from filelock import FileLock

from sweeping.placing import LONG_COUNT, Place
from sweeping.sweeping import ROOT, wait_until
from verify.configuration.compose import to_yaml
from verify.engine.running.worker import RECORD
from verify.errors import HubError
from verify.store.locking import WAITING
from verify.sweeping.run import sweep
from verify.sweeping.units import LIFE, Died, Ended, Happened
from verify.sweeping.workers import life, worker
from verify.sweeping.workers.life import Life
from verify.sweeping.workers.local import LocalWorkers
from verify.sweeping.workers.turn import WAITING_FOR_DEVICE
from verify.tasks.registry import load_registry


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place")).build()
    place.card("small", "short")
    place.card("large", "long")
    return place


class Driven:
    """A worker process whose orders are given here."""

    def __init__(self, place, config, turn=()):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "verify.sweeping.workers.worker"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.order({"config": to_yaml(config), "turn": list(turn)})
        assert self.event("ready")

    def order(self, order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def event(self, name, **fields):
        """The next event of this name, with these fields."""
        for line in self.process.stdout:
            assert line.startswith(RECORD)
            event = json.loads(line[1:])
            if event["event"] == name and fields.items() <= event.items():
                return event
        return None

    def end(self):
        """Its exit code once it has ended, while nobody ends its orders."""
        return self.process.wait(timeout=10)


def order_of(one):
    return {name: getattr(one, name) for name in ("reference", "key", "tasks", "devices", "attempt", "given_up")}


def test_a_worker_finishes_units_and_ends_with_its_orders(place):
    driven = Driven(place, place.config("driven"))
    for name in ("small", "nowhere"):
        driven.order({"unit": order_of(place.unit(name))})
        said = driven.event("finished")
        assert said["key"] == f"key-of-{name}"
        assert said["finished"]["settled"] == (name == "small")
        assert said["memory"] > 100e6
    driven.process.stdin.close()
    driven.process.stdin = None
    assert driven.end() == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["its orders end", "it is told to stop"])
def test_a_worker_in_the_middle_of_a_cell_ends_soon(place, how):
    results = how.replace(" ", "-")
    driven = Driven(place, place.config(results))
    driven.order({"unit": order_of(place.unit("large"))})
    done = driven.event("rows", total=LONG_COUNT)["done"]
    begun = time.monotonic()
    if how == "its orders end":
        driven.process.stdin.close()
        driven.process.stdin = None
    else:
        driven.process.send_signal(signal.SIGTERM)
    assert driven.end() == (0 if how == "its orders end" else 143)
    assert time.monotonic() - begun < 5
    if how == "it is told to stop":
        (run,) = (place.folder / results).glob("large/long.validation/*")
        assert len(list((run / "predictions").glob("*.parquet"))) >= 1, f"{done} rows were done"


@pytest.mark.slow
def test_a_worker_that_waits_for_its_turn_ends_soon(place, tmp_path):
    file = tmp_path / "device-0.lock"
    with FileLock(file):
        driven = Driven(place, place.config("no-turn"), turn=[str(file)])
        driven.order({"unit": order_of(place.unit("small"))})
        assert driven.event("stage", stage=WAITING_FOR_DEVICE)
        driven.process.send_signal(signal.SIGTERM)
        assert driven.end() == 143
    assert not list((place.folder / "no-turn").glob("small/*/*/predictions/*"))


def orders_for(place, monkeypatch, *orders):
    """The orders of a worker that has heard these, and then the end."""
    ends = []
    monkeypatch.setattr(worker.os, "_exit", ends.append)
    config = place.config("orders")
    found = worker.Orders(config, load_registry(config.task_path))
    found.listen(io.StringIO("".join(json.dumps(order) + "\n" for order in orders)))
    assert ends == [0]
    return found


def test_a_unit_that_was_opened_ahead_is_not_opened_again(place, monkeypatch):
    small, gone = place.unit("small"), place.unit("gone")
    opened = []
    real = worker.opened_unit
    monkeypatch.setattr(worker, "opened_unit", lambda one, *more: opened.append(one.key) or real(one, *more))
    orders = orders_for(
        place, monkeypatch, {"ahead": order_of(small)}, {"unit": order_of(gone)}, {"unit": order_of(small)}
    )
    wait_until(lambda: opened, 10)
    unit, ahead = orders.next()
    assert (unit, ahead) == (gone, None)
    assert isinstance(orders.opened(unit, ahead), HubError)
    unit, ahead = orders.next()
    assert unit == small
    assert orders.opened(unit, ahead).model == "small"
    assert sorted(opened) == ["key-of-gone", "key-of-small"]


def test_what_was_opened_ahead_is_kept_while_the_one_after_it_is_opened(place, monkeypatch):
    """The sweep names what to open next at once, long before the worker looks at its unit."""
    names = ["small", "large", "gone"]
    units = [place.unit(name) for name in names]
    opened = []
    real = worker.opened_unit
    monkeypatch.setattr(worker, "opened_unit", lambda one, *more: opened.append(one.key) or real(one, *more))
    first, second, third = map(order_of, units)
    orders = orders_for(
        place, monkeypatch, {"unit": first}, {"ahead": second}, {"unit": second}, {"ahead": third}, {"unit": third}
    )
    wait_until(lambda: len(opened) == 2, 10)
    found = [orders.opened(*orders.next()) for _ in names]
    assert [getattr(one, "model", type(one).__name__) for one in found] == ["small", "large", "HubError"]
    assert sorted(opened) == sorted(unit.key for unit in units), "each of them once"


def test_a_unit_that_nobody_has_begun_to_open_is_opened_only_by_who_needs_it(place, monkeypatch):
    small, large = place.unit("small"), place.unit("large")
    opened, goes_on = [], threading.Event()
    real = worker.opened_unit

    def slowly(one, *more):
        opened.append(one.key)
        if one == large:
            goes_on.wait(20)
        return real(one, *more)

    monkeypatch.setattr(worker, "opened_unit", slowly)
    orders = orders_for(
        place, monkeypatch, {"ahead": order_of(large)}, {"ahead": order_of(small)}, {"unit": order_of(small)}
    )
    wait_until(lambda: opened, 10)
    assert orders.opened(*orders.next()).model == "small"
    goes_on.set()
    time.sleep(0.2)
    assert opened == [large.key, small.key]


@pytest.fixture
def lively(tmp_path, monkeypatch):
    """Signs of life of a process whose downloads lie in a folder of the test's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path))
    said = []
    return Life(said.append, between_looks=0.02), said, tmp_path / "models--a--b/blobs/c.incomplete"


def signs(said, seconds=0.3):
    said.clear()
    time.sleep(seconds)
    assert all(event == {"event": LIFE} for event in said)
    return len(said)


def grow(file):
    """Have a download go on for a while."""

    def write():
        file.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(40):
            with file.open("ab") as stream:
                stream.write(b"0")
            time.sleep(0.02)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_a_download_shows_life_while_a_model_is_opened_and_not_while_it_computes(lively):
    signs_of, said, file = lively
    emit = signs_of.watching(lambda event: None)
    signs_of.opening()
    time.sleep(0.2)
    assert signs(said) == 0, "nothing is downloaded"
    grow(file).join()
    thread = grow(file)
    assert signs(said) > 3
    emit({"event": "rows", "done": 1})
    time.sleep(0.05)
    assert signs(said) == 0, "others may download as they like"
    thread.join()
    emit({"event": "stage", "stage": "loading the data"})
    grow(file)
    assert signs(said) > 3


@pytest.mark.parametrize("stage", [WAITING, WAITING_FOR_DEVICE])
def test_who_waits_for_another_process_lives(lively, stage):
    signs_of, said, _ = lively
    events = []
    emit = signs_of.watching(events.append)
    emit({"event": "stage", "stage": stage})
    assert signs(said) > 3
    emit({"event": "stage", "stage": "loading the model"})
    time.sleep(0.05)
    assert signs(said) == 0
    assert len(events) == 2


@pytest.mark.slow
def test_a_worker_that_waits_for_another_run_outlives_its_deadline(place):
    assert life.BETWEEN_LOOKS < 9
    config = place.config("waiting", "sweep.workers=1")
    sweep([place.unit("small")], LocalWorkers(config), config, lambda report: None)
    (run,) = (place.folder / "waiting").glob("small/short.validation/*")
    for file in (run / "measurements").glob("*.json"):
        file.unlink()
    reports = []
    impatient = place.config("waiting", "sweep.workers=1", "sweep.deadline=0.15")
    lock = FileLock(run / ".lock", thread_local=False)
    lock.acquire()
    released = threading.Timer(12, lock.release)

    def follow(report):
        reports.append(report)
        if isinstance(report, Happened) and report.event.get("stage") == WAITING:
            released.start()

    sweep([place.unit("small")], LocalWorkers(impatient), impatient, follow)
    assert WAITING in [one.event.get("stage") for one in reports if isinstance(one, Happened)]
    assert not [one for one in reports if isinstance(one, Died)]


@pytest.fixture
def hub(loopback_hub, place, tmp_path, monkeypatch):
    """A Hub with two models, which the workers that are started know, and the folder of their cache."""
    for name in ("Mine", "Other"):
        place_of = loopback_hub.root / "models/Org" / name
        place_of.mkdir(parents=True)
        for file in (place.folder / "small").iterdir():
            (place_of / file.name).write_bytes(file.read_bytes())
    for name, value in loopback_hub.environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return loopback_hub


def weights(hub, model):
    return [one for one in hub.requests if model in one.path and "safetensors" in one.path and one.method == "GET"]


@pytest.mark.slow
def test_the_next_model_is_fetched_while_one_computes(place, hub):
    config = place.config("ahead", "sweep.workers=1")
    fetched = []

    def follow(report):
        if isinstance(report, Ended):
            fetched.append(len(weights(hub, "Org/Mine")))

    units = [place.unit("large"), place.hub_unit("Org/Mine")]
    assert all(one.settled for one in sweep(units, LocalWorkers(config), config, follow))
    assert fetched == [1, 1]


@pytest.mark.slow
@pytest.mark.real_start  # libraries read HF_HOME as they are imported
def test_a_model_that_was_evicted_is_fetched_again_only_to_be_run(place, hub, tmp_path, monkeypatch):
    cache = tmp_path / "home/hub"
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(cache))
    config = place.config("evicted", "sweep.workers=1", "sweep.disk=1KB")
    units = [place.hub_unit("Org/Mine"), place.hub_unit("Org/Other")]

    def swept():
        found = sweep(units, LocalWorkers(config), config, lambda report: None)
        assert all(one.settled for one in found), [one.error for one in found]
        verdicts = (place.folder / "evicted/Org--Mine/verdicts.json").read_text()
        return verdicts, len(weights(hub, "Org/Mine"))

    verdicts, count = swept()
    assert count == 1
    assert not list(cache.glob("models--*/blobs/*")), "they are deleted once they are done"
    assert swept() == (verdicts, 1), "what is stored needs no weights"
    for file in (place.folder / "evicted").glob("Org--Mine/*/*/measurements/*.json"):
        file.unlink()
    assert swept()[1] == 1, "neither does scoring"
    for file in (place.folder / "evicted").glob("Org--Mine/*/*/predictions/*.parquet"):
        file.unlink()
    for file in (place.folder / "evicted").glob("Org--Mine/*/*/measurements/*.json"):
        file.unlink()
    assert swept()[1] == 2
