"""The loop by itself, on units whose outputs are known, with a clock that the tests turn."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.driving import job_for, task_of
from verify.engine.job import Prepared
from verify.engine.running import loop as loop_module
from verify.engine.running.loop import SHARD_ROWS, SHARD_SECONDS, SHARD_SHARE, Loop
from verify.errors import EngineError, StoreError
from verify.store.predictions import Family
from verify.store.runs import PREDICTIONS, RunFolder

TASK = task_of("perplexity", {"text": "text"})
MODEL = torch.nn.Identity()
CPU_IS_FULL = (
    "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "68719476736 bytes. Error code 12 (Cannot allocate memory)"
)


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The time that the loop sees; it stands still unless a test moves it."""
    clock = Clock()
    monkeypatch.setattr(loop_module, "time", clock)
    return clock


@dataclass
class Work:
    """Examples of some units each. The output of a unit is its number; an example's column is the sum of them."""

    units_of: list[int]
    lengths: np.ndarray | None = None

    def __post_init__(self) -> None:
        self.owner = np.repeat(np.arange(len(self.units_of)), self.units_of)
        self.batches: list[list[int]] = []
        if self.lengths is None:
            self.lengths = np.random.default_rng(0).integers(1, 40, len(self.owner))

    def collate(self, units):
        assert len(set(units)) == len(units)
        return {"unit": torch.tensor(units, dtype=torch.int64), "kept": list(units)}

    def forward(self, model, inputs):
        self.batches.append(inputs["unit"].tolist())
        return [int(unit) for unit in inputs["unit"]]

    def rows(self, positions, outputs):
        counts = np.array([len(units) for units in outputs], dtype=np.int64)
        assert counts.tolist() == [self.units_of[position] for position in positions]
        sums = np.array([sum(units) for units in outputs], dtype=np.float64)
        return {"nll": sums, "tokens": counts, "words": counts, "bytes": counts, "hits": counts}

    def prepared(self, token_budget: int = 200) -> Prepared:
        one_each = all(count == 1 for count in self.units_of)
        return Prepared(
            family=Family.LIKELIHOOD,
            model=MODEL,
            lengths=self.lengths,
            collate=lambda units: self.collate(units),
            rows=self.rows,
            token_budget=token_budget,
            settings={},
            owner=None if one_each else self.owner,
            forward=lambda model, inputs: self.forward(model, inputs),
        )

    def loop(self, folder, *, rank: int = 0, world: int = 1, token_budget: int = 200, **options) -> Loop:
        """A loop over the examples in reverse order of their numbers, which are odd: 2i + 1."""
        accelerator = SimpleNamespace(
            process_index=rank, num_processes=world, device=torch.device("cpu"), wait_for_everyone=lambda: None
        )
        rows = 2 * np.arange(len(self.units_of))[::-1] + 1
        job = job_for(TASK, folder, **options)
        store = RunFolder(folder)
        store.write_info({"family": "likelihood", "unit": "document"})
        return Loop(job, self.prepared(token_budget), store, rows, accelerator)

    def expected(self) -> dict[int, float]:
        sums = np.zeros(len(self.units_of))
        np.add.at(sums, self.owner, np.arange(len(self.owner)))
        count = len(self.units_of)
        return {2 * (count - 1 - position) + 1: float(total) for position, total in enumerate(sums)}


def over(loop: Loop, examples=None, batch_size=None) -> tuple[bool, list[dict]]:
    events = []
    examples = loop.rows if examples is None else np.asarray(examples)
    finished = loop.over(examples, PREDICTIONS, events.append, model=MODEL, batch_size=batch_size)
    return finished, events


def stored(folder) -> dict[int, float]:
    found = RunFolder(folder).predictions(PREDICTIONS)
    return {} if found is None else dict(zip(found.example.tolist(), found.nll.tolist(), strict=True))


def shards(folder) -> list:
    return sorted((folder / PREDICTIONS).glob("*.parquet"))


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


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError(CPU_IS_FULL),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


@pytest.mark.parametrize("where", ["collate", "forward"])
@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["gpu", "cpu", "cublas", "python"])
def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_cut_in_time(tmp_path, error, where):
    work = Work([2] * 30, lengths=np.full(60, 10))
    failures, original = [], getattr(work, where)

    def limited(*arguments):
        units = arguments[0] if where == "collate" else arguments[1]["kept"]
        if len(units) > 3:
            failures.append(len(units))
            raise error
        return original(*arguments)

    setattr(work, where, limited)
    finished, _ = over(work.loop(tmp_path), batch_size=12)
    assert finished
    assert stored(tmp_path) == work.expected()
    assert max(map(len, work.batches)) == 3
    ahead = 0 if where == "forward" else 5  # batches made in advance fail before it is known what fits
    assert failures.count(12) <= 1 + ahead
    assert failures.count(6) == 1


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path):
    work = Work([1] * 8)

    def broken(model, inputs):
        raise RuntimeError("The size of tensor a (9) must match the size of tensor b (8)")

    work.forward = broken
    with pytest.raises(RuntimeError, match="tensor a"):
        over(work.loop(tmp_path))


@pytest.mark.parametrize("where", ["collate", "forward"])
def test_one_example_alone_that_does_not_fit_says_what_helps(tmp_path, where):
    work = Work([1] * 9, lengths=np.full(9, 10))
    original = getattr(work, where)

    def limited(*arguments):
        units = arguments[0] if where == "collate" else arguments[1]["kept"]
        if 8 in units:
            raise RuntimeError(CPU_IS_FULL)
        return original(*arguments)

    setattr(work, where, limited)
    with pytest.raises(EngineError, match=r"One example alone .* cpu.*engine\.device_map=auto.*override\.max_length"):
        over(work.loop(tmp_path), batch_size=3)
    assert len(stored(tmp_path)) == 6


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
