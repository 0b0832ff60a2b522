import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from verify.engine.running.plan import blocks, complete_prefix, example_order, make_batches, share

lengths_of_examples = st.lists(st.integers(1, 300), max_size=200)


@given(lengths_of_examples, st.integers(1, 4096), st.none() | st.integers(1, 70))
def test_every_position_is_in_exactly_one_batch(lengths, budget, batch_size):
    batches = make_batches(lengths, token_budget=budget, batch_size=batch_size)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))


@given(lengths_of_examples, st.integers(1, 4096))
def test_no_batch_exceeds_the_budget_unless_one_example_does(lengths, budget):
    for batch in make_batches(lengths, token_budget=budget):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= budget or len(batch) == 1


@given(lengths_of_examples, st.integers(1, 70))
def test_a_batch_size_is_kept(lengths, batch_size):
    batches = make_batches(lengths, token_budget=1, batch_size=batch_size)
    assert all(len(batch) <= batch_size for batch in batches)
    assert len(batches) == -(-len(lengths) // batch_size)


def test_sorting_by_length_avoids_padding():
    lengths = np.random.default_rng(0).lognormal(3, 0.8, 2000).astype(int).clip(1, 200)
    batches = make_batches(lengths, token_budget=2048)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()
    unsorted = sum(lengths[i : i + 32].max() * 32 for i in range(0, 2000, 32))
    assert unsorted > 2 * lengths.sum()


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 20), st.integers(0, 20))
def test_no_other_batches_of_the_sorted_examples_cost_less(lengths, budget, overhead):
    def cost(batches):
        return sum(len(batch) * max(batch) + overhead for batch in batches)

    def cuts(ordered):
        if not ordered:
            yield []
        for size in range(1, len(ordered) + 1):
            if size == 1 or size * ordered[0] <= budget:
                yield from ([ordered[:size], *rest] for rest in cuts(ordered[size:]))

    batches = make_batches(lengths, token_budget=budget, overhead=overhead)
    ordered = [[lengths[i] for i in batch] for batch in batches]
    assert [length for batch in ordered for length in batch] == sorted(lengths, reverse=True)
    assert cost(ordered) == min(map(cost, cuts(sorted(lengths, reverse=True))))


def test_without_an_overhead_of_their_own_batches_are_few():
    lengths = [100] * 20 + [99] * 20 + [10] * 100
    assert [len(batch) for batch in make_batches(lengths, token_budget=1000)] == [10, 10, 10, 10, 100]
    assert [len(batch) for batch in make_batches([1] * 70, token_budget=32)] == [32, 32, 6]


@given(st.integers(1, 500), st.integers(0, 5), st.integers(1, 500))
def test_a_limit_is_the_beginning_of_the_same_permutation(population, seed, limit):
    order = example_order(population, seed)
    assert sorted(order) == list(range(population))
    assert example_order(population, seed, limit).tolist() == order[:limit].tolist()


def test_the_order_depends_on_the_seed():
    assert example_order(100, 0).tolist() != example_order(100, 1).tolist()


@given(st.integers(0, 30_000), st.booleans())
def test_blocks_cover_everything_once_and_in_order(count, small):
    covered = [i for block in blocks(count, small=small) for i in range(block.start, block.stop)]
    assert covered == list(range(count))
    if small and count:
        assert next(blocks(count, small=True)).stop <= 64


@given(st.lists(st.integers(1, 300), max_size=200), st.integers(1, 5))
def test_processes_share_the_examples_and_each_has_long_and_short_ones(costs, world):
    costs = np.array(costs, dtype=np.int64)
    parts = [share(costs, rank, world) for rank in range(world)]
    assert sorted(i for part in parts for i in part) == list(range(len(costs)))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    totals = [costs[part].sum() for part in parts]
    assert max(totals) - min(totals) <= costs.max(initial=0)


def test_only_the_examples_before_the_first_missing_one_are_a_fair_sample():
    order = np.array([3, 0, 2, 1])
    assert complete_prefix(order, np.array([0, 1, 3])) == 2
    assert complete_prefix(order, np.array([0, 1, 2])) == 0
    assert complete_prefix(order, np.arange(9)) == 4
