"""Batches side by side: every one once, in order, several at a time, and none begun that the caller does not want."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from verify.engine.running.lanes import MOST_LANES, computed, lanes_for


@pytest.mark.parametrize(("threads", "lanes"), [(1, 1), (2, 2), (MOST_LANES, MOST_LANES), (64, MOST_LANES)])
def test_cores_are_shared_out_among_batches(threads: int, lanes: int) -> None:
    assert lanes_for(threads) == lanes


@pytest.mark.parametrize("lanes", [1, 2, 3])
def test_every_batch_comes_back_once_and_in_order(lanes: int) -> None:
    def compute(batch: int, inputs: int) -> int:
        time.sleep(0.002 * (batch % 3))
        return inputs + 1

    found = list(computed(iter(range(20)), lambda batch: 10 * batch, compute, lanes=lanes, threads=lanes))

    assert found == [(batch, 10 * batch + 1) for batch in range(20)]


def test_lanes_compute_at_the_same_time() -> None:
    both = threading.Barrier(2)

    def compute(batch: int, inputs: int) -> int:
        both.wait(timeout=20)  # breaks unless two batches are under way at once
        return batch

    assert [batch for batch, _ in computed(iter(range(6)), int, compute, lanes=2, threads=2)] == list(range(6))


def test_each_lane_has_its_share_of_the_threads_and_the_caller_keeps_its_own() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        shares = computed(iter(range(8)), int, lambda *_: torch.get_num_threads(), lanes=2, threads=4)
        assert {share for _, share in shares} == {2}
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_a_failure_in_a_lane_reaches_the_caller() -> None:
    def compute(batch: int, inputs: int) -> int:
        if batch == 3:
            raise MemoryError("no room")
        return batch

    with pytest.raises(MemoryError, match="no room"):
        list(computed(iter(range(10)), int, compute, lanes=2, threads=2))


def test_a_caller_that_stops_early_begins_no_more_batches() -> None:
    begun: list[int] = []

    def compute(batch: int, inputs: int) -> int:
        begun.append(batch)
        return batch

    for batch, _ in computed(iter(range(1000)), int, compute, lanes=2, threads=2):
        if batch == 5:
            break

    assert len(begun) < 20


@pytest.mark.parametrize("lanes", [1, 2])
def test_no_batch_begins_once_no_more_are_wanted(lanes: int) -> None:
    begun: list[int] = []

    def compute(batch: int, inputs: int) -> int:
        begun.append(batch)
        return batch

    found = [
        batch
        for batch, _ in computed(
            iter(range(1000)), int, compute, lanes=lanes, threads=lanes, wanted=lambda: len(begun) < 10
        )
    ]

    assert sorted(begun) == found == list(range(len(begun)))
    assert 10 <= len(begun) <= 10 + lanes
