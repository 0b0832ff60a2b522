"""Entities against seqeval's own reading, word by word."""

import warnings

import pytest
import seqeval.scheme
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from metrics.families.tag_names import ODD, PREFIXES, tags_of
from verify.metrics.families.entities import lenient_entities, strict_entities


def rows_of(names):
    return st.lists(st.lists(st.sampled_from(names), max_size=9), max_size=5)


@pytest.mark.parametrize("scheme", sorted(PREFIXES))
@given(data=st.data())
def test_strict_entities_are_seqevals(scheme, data):
    rows, token = data.draw(rows_of(tags_of(scheme))), getattr(seqeval.scheme, scheme)
    expected = {entity.to_tuple() for row in seqeval.scheme.Entities(rows, token).entities for entity in row}
    assert strict_entities(rows, token) == expected


@pytest.mark.parametrize("scheme", sorted(PREFIXES))
@given(data=st.data())
def test_lenient_entities_are_seqevals_also_of_odd_tags(scheme, data):
    rows = data.draw(rows_of([*tags_of(scheme), *ODD]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = get_entities(rows)
    found = lenient_entities(rows)
    assert sorted(entity[1:] for entity in found) == sorted(expected)
    owner = [row for row, tags in enumerate(rows) for _ in (*tags, "O")]
    assert all(owner[last] == row for row, _, _, last in found)


def test_the_strict_reading_refuses_a_tag_that_the_scheme_has_no_place_for():
    with pytest.raises(ValueError, match="Invalid token"):
        strict_entities([["O", "E-PER"]], seqeval.scheme.IOB2)
    with pytest.raises(KeyError):
        strict_entities([["O"], ["NOUN"]], seqeval.scheme.IOB2)
