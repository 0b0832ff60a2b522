"""The schedule alone, and the loop with workers that are played here."""

import json
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.configuration.schema import SweepConfig, VerifyConfig
from verify.errors import StoreError
from verify.store.files import write_sealed
from verify.store.runs import slug
from verify.sweeping.run import InterruptedSweepError, Schedule, read_finished, sweep, write_finished
from verify.sweeping.units import Died, Ended, Finished, Happened, Unit
from verify.sweeping.workers.work import verdicts_file


def unit(name, **fields):
    return Unit(name, f"key-{name}", **fields)


def done(one, **fields):
    given = {"folder": None, "exit_code": 0, "settled": True, "seconds": 1.0, **fields}
    return Finished(one.reference, one.key, one.reference, **given)


def ended(one):
    return Ended(one, "worker 1", done(one))


def died(one, cell=None, message="It died."):
    return Died(one, "worker 1", message, cell)


def test_units_come_in_the_order_given_and_large_ones_once_there_is_room():
    schedule = Schedule([unit("a"), unit("big", devices=2), unit("b")], retries=1)
    assert schedule.next(1).reference == "a"
    assert schedule.next(1).reference == "b", "a device that is free is used"
    assert schedule.next(1) is None
    assert schedule.next(2).reference == "big"
    assert schedule.next(2) is None


def test_a_unit_that_the_free_worker_has_opened_comes_first():
    schedule = Schedule([unit("a"), unit("b"), unit("c")], retries=1)
    assert schedule.next(1, ["key-b"]).reference == "b"
    assert schedule.next(1, ["key-b"]).reference == "a"


def test_a_dead_unit_is_begun_again_at_once_in_smaller_batches():
    schedule = Schedule([unit("a"), unit("b")], retries=1)
    assert schedule.heard(died(schedule.next(1), "t/test")) is None
    again = schedule.next(1)
    assert (again.reference, again.attempt, dict(again.given_up)) == ("a", 1, {})


def test_a_cell_that_died_too_often_is_given_up_and_the_others_go_on():
    schedule = Schedule([unit("a")], retries=1)
    for _ in range(2):
        assert schedule.heard(died(schedule.next(1), "t/test", "Its last words: Killed")) is None
    again = schedule.next(1)
    assert dict(again.given_up) == {"t/test": "Its last words: Killed"}
    assert again.attempt == 0, "the other cells are not to blame"
    assert schedule.heard(ended(again)).settled
    assert schedule.is_done


def test_a_model_that_dies_while_it_is_opened_is_given_up_as_a_whole():
    schedule = Schedule([unit("a"), unit("b")], retries=2)
    for _ in range(2):
        assert schedule.heard(died(schedule.next(1))) is None
    finished = schedule.heard(died(schedule.next(1), message="The end."))
    assert (finished.error, finished.error_kind, finished.settled) == ("The end.", "EngineError", False)
    assert schedule.next(1).reference == "b"


def test_what_needs_more_devices_than_there_are_is_refused_once_nothing_runs():
    schedule = Schedule([unit("a"), unit("big", devices=4)], retries=1)
    first = schedule.next(2)
    assert schedule.too_large(1) == []
    schedule.heard(ended(first))
    (refused,) = schedule.too_large(2)
    assert "needs 4 devices" in schedule.heard(refused).error
    assert schedule.is_done


@given(st.data())
def test_every_unit_ends_once_whoever_dies(data):
    count, retries = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 2))
    devices = data.draw(st.lists(st.integers(1, 3), min_size=count, max_size=count))
    schedule = Schedule([unit(str(i), devices=size) for i, size in enumerate(devices)], retries)
    free, running, deaths = 3, [], 0
    while not schedule.is_done:
        while (one := schedule.next(free)) is not None:
            assert one.key not in {other.key for other in running}, "one live attempt of a unit at most"
            running.append(one)
            free -= one.devices
        assert free >= 0
        assert running, "something always runs"
        one = running.pop(data.draw(st.integers(0, len(running) - 1)))
        free += one.devices
        cells = [cell for cell in (None, "t/a", "t/b") if cell not in one.given_up]
        if data.draw(st.booleans()):
            deaths += 1
            schedule.heard(died(one, data.draw(st.sampled_from(cells))))
        else:
            schedule.heard(ended(one))
        assert deaths <= count * 3 * (retries + 1)
    assert sorted(one.key for one in schedule.finished) == sorted(f"key-{i}" for i in range(count))


@dataclass
class Played:
    """Workers that do at once what a script says: a report, or an exception, for each unit that begins."""

    script: deque
    free: int = 1
    begun: list = field(default_factory=list)
    closed: list = field(default_factory=list)
    opened: tuple = ()
    waiting: list = field(default_factory=list)

    def begin(self, one):
        self.begun.append(one)
        self.free -= one.devices

    def ahead(self, units):
        pass

    def reports(self, timeout):
        say = self.script.popleft()
        if isinstance(say, BaseException):
            raise say
        one = self.begun[-1]
        self.free += one.devices
        yield Happened(one, "worker 1", {"event": "stage", "stage": "loading the model"})
        yield say(one)

    def close(self, *, at_once):
        self.closed.append(at_once)
        if self.waiting:
            raise self.waiting.pop()


def config(tmp_path, **fields):
    return VerifyConfig(results=str(tmp_path), sweep=SweepConfig(**fields))


def test_everything_that_ends_is_stored_and_followed(tmp_path):
    played, followed = Played(deque([ended, died, died])), []
    found = sweep([unit("a"), unit("b")], played, config(tmp_path), followed.append)
    assert [one.reference for one in found] == ["a", "b"]
    assert [(one.reference, one.attempt) for one in played.begun] == [("a", 0), ("b", 0), ("b", 1)]
    assert [type(one).__name__ for one in followed if not isinstance(one, Happened)] == [
        "Ended",
        "Died",
        "Died",
        "Ended",
    ]
    assert read_finished(tmp_path, "key-a") == found[0]
    assert json.loads((tmp_path / "sweeps/key-b.json").read_text())["error"] == "It died."
    assert read_finished(tmp_path, "key-b") is None, "what failed is tried again"
    assert len(played.closed) == 1


def test_a_refused_unit_is_stored_and_followed(tmp_path):
    followed = []
    (found,) = sweep([unit("big", devices=3)], Played(deque()), config(tmp_path), followed.append)
    assert "needs 3 devices" in found.error
    assert [one.finished for one in followed] == [found]


def test_the_first_interruption_ends_the_workers_in_peace_and_the_second_at_once(tmp_path):
    played = Played(deque([ended, KeyboardInterrupt()]))
    with pytest.raises(InterruptedSweepError) as caught:
        sweep([unit("a"), unit("b")], played, config(tmp_path), lambda report: None)
    assert [one.reference for one in caught.value.finished] == ["a"]
    assert played.closed == [False]
    played = Played(deque([KeyboardInterrupt()]), waiting=[KeyboardInterrupt()])
    with pytest.raises(InterruptedSweepError):
        sweep([unit("a")], played, config(tmp_path), lambda report: None)
    assert played.closed == [False, True]


def test_a_results_folder_that_cannot_be_written_ends_the_sweep_and_its_workers(tmp_path):
    (tmp_path / "sweeps").write_text("in the way")
    played = Played(deque([ended]))
    with pytest.raises(StoreError, match="cannot be written"):
        sweep([unit("a"), unit("b")], played, config(tmp_path), lambda report: None)
    assert played.closed == [True]


def test_a_finished_unit_counts_only_with_its_verdicts(tmp_path):
    one = done(unit("a"), folder=f"elsewhere/{unit('a').reference}")
    write_finished(tmp_path, one)
    assert read_finished(tmp_path, "key-a") is None
    write_sealed(verdicts_file(tmp_path, "key-a"), {}, depth=3)
    found = read_finished(tmp_path, "key-a")
    assert found == replace(one, folder=str(tmp_path / slug(one.model))), "wherever the results folder is now"
    (tmp_path / "sweeps/key-a.json").write_text('{"schema": "verify.unit/1", "key"')
    assert read_finished(tmp_path, "key-a") is None
    assert read_finished(tmp_path, "key-of-another") is None
