import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.engine.plan import example_order, make_batches, smallest_margins

lengths_of_examples = st.lists(st.integers(1, 300), max_size=200)


@given(lengths_of_examples, st.integers(1, 4096), st.none() | st.integers(1, 70), st.integers(1, 64))
def test_every_position_is_in_exactly_one_batch(lengths, budget, batch_size, block):
    batches = make_batches(lengths, token_budget=budget, batch_size=batch_size, block=block)
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


@given(st.integers(1, 500), st.integers(0, 5), st.integers(1, 500))
def test_a_limit_is_the_beginning_of_the_same_permutation(population, seed, limit):
    order = example_order(population, seed)
    assert sorted(order) == list(range(population))
    assert example_order(population, seed, limit).tolist() == order[:limit].tolist()


def test_the_order_depends_on_the_seed():
    assert example_order(100, 0).tolist() != example_order(100, 1).tolist()


def test_smallest_margins_are_those_of_the_two_largest_logits():
    logits = np.array([[5.0, 0.0, 4.9], [1.0, 9.0, 0.0], [3.0, 3.0, 3.0], [0.0, 0.2, 4.0]], dtype=np.float32)
    assert smallest_margins(logits, 2).tolist() == [0, 2]
    assert smallest_margins(logits, 99).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 5])
def test_smallest_margins_gives_as_many_as_asked(count):
    assert len(smallest_margins(np.eye(10, dtype=np.float32), count)) == count
