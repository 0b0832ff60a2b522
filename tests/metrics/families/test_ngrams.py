from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.metrics.families.ngrams import shared_ngrams

TEXT = st.lists(st.integers(0, 3), max_size=8)
ROWS = st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), max_size=5)


def by_counting(text, references, order):
    """Of every n-gram its count in the text, but at most the largest count in a reference."""

    def counts(words):
        return Counter(tuple(words[at : at + order]) for at in range(len(words) - order + 1))

    most = Counter()
    for one in references:
        most |= counts(one)
    return (counts(text) & most).total()


@given(ROWS, st.integers(0, 5))
@settings(max_examples=200, deadline=None)
def test_shared_ngrams_are_those_counted_one_by_one(rows, orders):
    most = max((len(several) for _, several in rows), default=1)
    streams = [[several[place] if place < len(several) else None for _, several in rows] for place in range(most)]
    found = shared_ngrams([text for text, _ in rows], streams, orders)
    expected = [[by_counting(text, several, order) for order in range(1, orders + 1)] for text, several in rows]
    assert found.shape == (len(rows), orders)
    assert found.tolist() == expected


def test_large_numbers_of_words_stay_apart():
    """Keys of long n-grams over many words would not fit into 64 bits if they were products."""
    size, orders = 1 << 20, 6
    words = np.random.default_rng(0).choice(size, 3000, replace=False).tolist()
    other = [*words[:1500], *reversed(words[1500:])]
    found = shared_ngrams([words, [size]], [[other, [size]]], orders)
    assert found[0].tolist() == [3000, *(1500 - order + 1 for order in range(2, orders + 1))]
    assert found[1].tolist() == [1, *[0] * (orders - 1)]
