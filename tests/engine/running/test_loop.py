"""The loop by itself, on units whose outputs are known, with a clock that the tests turn."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.running.loop_work import Clock, Work, over, shards, stored
from verify.engine.running import loop as loop_module
from verify.engine.running.loop import SHARD_ROWS, SHARD_SECONDS, SHARD_SHARE, Loop
from verify.errors import EngineError, StoreError
from verify.store.runs import PREDICTIONS, RunFolder


@pytest.fixture
def clock(monkeypatch):
    """The time that the loop sees; it stands still unless a test moves it."""
    clock = Clock()
    monkeypatch.setattr(loop_module, "time", clock)
    return clock


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=40),
    st.integers(1, 200),
    st.none() | st.integers(1, 9),
    st.integers(1, 3),
)
def test_every_example_is_stored_once_with_all_its_units(tmp_path_factory, units_of, token_budget, batch_size, world):
    folder, work = tmp_path_factory.mktemp("run"), Work(units_of)
    done = []
    for rank in range(world):
        finished, events = over(work.loop(folder, rank=rank, world=world, token_budget=token_budget), None, batch_size)
        assert finished
        done.append([event["done"] for event in events if event["event"] == "rows"])
    assert stored(folder) == work.expected()
    assert sorted(unit for batch in work.batches for unit in batch) == list(range(len(work.owner)))
    assert all(counts == sorted(counts) for counts in done)
    assert sum(len(batch) for batch in work.batches) == sum(units_of)


def test_only_the_examples_asked_for_are_run(tmp_path):
    work = Work([2, 0, 1, 3, 0, 1])
    over(work.loop(tmp_path), examples=[1, 3, 9])
    assert stored(tmp_path) == {number: work.expected()[number] for number in (1, 3, 9)}


def test_examples_without_units_need_no_model(tmp_path):
    work = Work([0, 0, 0])
    finished, events = over(work.loop(tmp_path))
    assert finished
    assert not work.batches
    assert stored(tmp_path) == {1: 0.0, 3: 0.0, 5: 0.0}
    assert [event["event"] for event in events] == ["start", "end"]


def test_nothing_to_do_is_done_at_once(tmp_path):
    finished, events = over(Work([1, 2]).loop(tmp_path), examples=[])
    assert finished
    assert [event.get("total") for event in events] == [0, None]
    assert not shards(tmp_path)


def test_what_was_finished_before_a_failure_is_kept_and_nothing_half_done(tmp_path):
    work = Work([3] * 20)
    computed: set[int] = set()
    forward = work.forward

    def failing(model, inputs):
        if len(work.batches) == 7:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        computed.update(inputs["kept"])
        return forward(model, inputs)

    work.forward = failing
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        over(work.loop(tmp_path), batch_size=4)
    whole = {2 * (19 - i) + 1 for i in range(20) if {3 * i, 3 * i + 1, 3 * i + 2} <= computed}
    assert set(stored(tmp_path)) == whole
    assert 0 < len(whole) < len({unit // 3 for unit in computed}), "some examples were half done"
    assert all(work.expected()[number] == total for number, total in stored(tmp_path).items())


def test_a_failure_while_a_batch_is_made_keeps_what_came_before(tmp_path):
    work = Work([1] * 30)
    collate, made = work.collate, []

    def failing(units):
        made.append(units)
        if len(made) == 5:
            raise ValueError("a broken picture")
        return collate(units)

    work.collate = failing
    with pytest.raises(ValueError, match="a broken picture"):
        over(work.loop(tmp_path), batch_size=3)
    assert len(stored(tmp_path)) == 12


def takes(work: Work, clock: Clock, seconds: float) -> None:
    forward = work.forward

    def slow(model, inputs):
        clock.now += seconds
        return forward(model, inputs)

    work.forward = slow


@pytest.mark.parametrize("seconds", [0.1, SHARD_SECONDS, 2.0])
def test_a_kill_loses_no_more_than_the_work_of_a_shard(tmp_path, clock, seconds):
    work = Work([1] * 40)
    takes(work, clock, seconds)
    loop = work.loop(tmp_path)
    lost, forward = [], work.forward

    def watched(model, inputs):
        lost.append((len(work.batches) - len(stored(tmp_path))) * seconds)
        return forward(model, inputs)

    work.forward = watched
    over(loop, batch_size=1)
    assert max(lost) <= max(SHARD_SECONDS, SHARD_SHARE * 40 * seconds) + seconds + 1e-9
    assert len(stored(tmp_path)) == 40


def test_long_runs_do_not_end_in_thousands_of_shards(tmp_path, clock):
    work = Work([1] * 1200)
    takes(work, clock, 10.0)
    over(work.loop(tmp_path), batch_size=1)
    least = math.log(12_000 / (SHARD_SECONDS / SHARD_SHARE)) / SHARD_SHARE
    assert len(shards(tmp_path)) < 2 * least + SHARD_SECONDS / SHARD_SHARE < 700
    assert len(stored(tmp_path)) == 1200


def test_a_slow_disk_gets_fewer_shards(tmp_path, clock, monkeypatch):
    work = Work([1] * 100)
    takes(work, clock, 1.0)
    loop = work.loop(tmp_path)
    over(loop, batch_size=1)
    many = len(shards(tmp_path))
    append, slow, spent = RunFolder.append, tmp_path / "slow", []

    def on_a_slow_disk(self, *arguments):
        clock.now += 0.4
        spent.append(0.4)
        append(self, *arguments)

    monkeypatch.setattr(RunFolder, "append", on_a_slow_disk)
    over(work.loop(slow), batch_size=1)
    assert len(stored(slow)) == 100
    assert len(shards(slow)) < many / 5
    assert sum(spent) < 0.03 * 100


def test_many_rows_are_written_before_the_time_is_over(tmp_path, clock):
    work = Work([1] * (2 * SHARD_ROWS + 10), lengths=np.ones(2 * SHARD_ROWS + 10, dtype=np.int64))
    over(work.loop(tmp_path), batch_size=512)
    assert len(shards(tmp_path)) == 3


def estimates(events) -> list[dict]:
    return [event for event in events if event["event"] == "estimate"]


def test_the_estimate_comes_once_in_a_pass_and_holds(tmp_path, clock):
    work = Work([1] * 50, lengths=np.full(50, 8))
    takes(work, clock, 0.2)
    _, events = over(work.loop(tmp_path), batch_size=2)
    (estimate,) = estimates(events)
    assert (estimate["pass"], estimate["examples"], estimate["tokens"]) == (PREDICTIONS, 50, 400)
    assert estimate["seconds"] == pytest.approx(25 * 0.2)
    assert 50e6 < estimate["memory"] < 1e12, "bytes"
    assert events.index(estimate) < 10, "it comes in time to be of use"
    _, again = over(replaced(work, tmp_path / "again", clock), batch_size=2)
    assert len(estimates(again)) == 1


def replaced(work: Work, folder, clock: Clock) -> Loop:
    other = Work(work.units_of, work.lengths)
    takes(other, clock, 0.2)
    return other.loop(folder)


def test_short_passes_are_not_worth_an_estimate(tmp_path, clock):
    work = Work([1] * 50)
    takes(work, clock, 0.009)
    _, events = over(work.loop(tmp_path), batch_size=1)
    assert not estimates(events)


def test_the_first_of_several_processes_estimates_for_all(tmp_path, clock):
    for rank in (0, 1):
        work = Work([1] * 51, lengths=np.full(51, 8))
        takes(work, clock, 0.2)
        _, events = over(work.loop(tmp_path, rank=rank, world=2), batch_size=1)
        if rank == 1:
            assert not estimates(events)
            continue
        (estimate,) = estimates(events)
        assert (estimate["examples"], estimate["tokens"]) == (51, 51 * 8)
        assert estimate["seconds"] == pytest.approx(26 * 0.2)


def test_the_time_allowed_ends_a_pass_after_a_batch_and_keeps_what_is_done(tmp_path, clock):
    work = Work([1] * 200)
    takes(work, clock, 1.0)
    loop = work.loop(tmp_path, budget=9.5)
    finished, events = over(loop, batch_size=10)
    assert not finished
    assert len(work.batches) == 10, "the batch that was begun in time is finished"
    assert len(stored(tmp_path)) == sum(map(len, work.batches)) < 101
    assert set(stored(tmp_path)) > set(loop.rows[:64].tolist()), "the first examples of the order come first"
    assert events[-1]["event"] == "end"


def test_no_time_at_all_does_nothing(tmp_path, clock):
    work = Work([1] * 20)
    loop = work.loop(tmp_path, budget=1.0)
    clock.now += 2.0
    assert not over(loop)[0]
    assert not work.batches


def test_values_that_are_not_finite_are_refused_and_not_stored(tmp_path):
    work = Work([1] * 6)
    rows = work.rows
    work.rows = lambda positions, outputs: {**rows(positions, outputs), "nll": np.full(len(positions), np.nan)}
    with pytest.raises(EngineError, match=r"not finite.*engine\.dtype=float32"):
        over(work.loop(tmp_path))
    assert not stored(tmp_path)


def test_a_disk_that_fills_up_ends_the_pass_and_what_was_written_counts(tmp_path, clock, monkeypatch):
    work = Work([1] * 40)
    takes(work, clock, 1.0)
    append, written = RunFolder.append, []

    def filling(self, *arguments):
        if len(written) == 5:
            raise StoreError("The results folder cannot be written (No space left on device).")
        written.append(1)
        append(self, *arguments)

    loop = work.loop(tmp_path)
    monkeypatch.setattr(RunFolder, "append", filling)
    with pytest.raises(StoreError, match="No space left"):
        over(loop, batch_size=1)
    monkeypatch.undo()
    before = stored(tmp_path)
    assert 0 < len(before) < 40
    rest = Work(work.units_of, work.lengths)
    over(rest.loop(tmp_path), examples=[number for number in work.expected() if number not in before])
    assert stored(tmp_path) == work.expected()
    assert sum(map(len, rest.batches)) == 40 - len(before)
