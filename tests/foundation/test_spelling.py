import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.foundation import spelling
from verify.foundation.spelling import suggestion


def test_the_documented_example():
    assert doctest.testmod(spelling).failed == 0


@pytest.mark.parametrize(("typed", "meant"), [("SST2", "sst2"), ("acuracy", "Accuracy"), ("strict ", "strict")])
def test_the_nearest_word_is_found_whatever_its_case(typed, meant):
    words = ["sst2", "Accuracy", "strict"]
    assert suggestion(typed, words) == f'Did you mean "{meant}"? Allowed: Accuracy, sst2, strict.'


def test_nothing_near_gives_the_list_alone():
    assert suggestion("xyz", ["b", "a", "a"]) == "Allowed: a, b."
    assert suggestion("xyz", []) == "Allowed: (none)."


@given(st.text(max_size=20), st.lists(st.text(max_size=8), max_size=5))
def test_every_allowed_word_is_listed(word, allowed):
    assert suggestion(word, allowed).endswith(f"Allowed: {', '.join(sorted(set(allowed))) or '(none)'}.")
