import json

import pytest
from claim_making import claim, measurement
from hypothesis import given
from hypothesis import strategies as st

from verify.types import DatasetSource, Interval, Unit, VerdictKind, content_key


def test_a_content_key_is_stable_across_versions():
    """Stored results are found by these keys, so they must never change."""
    assert content_key({"b": [1, 2.5, None], "a": "é"}) == content_key({"a": "é", "b": [1, 2.5, None]})
    assert content_key({"a": 1}) == "015abd7f5cc57a2d"
    assert content_key(["é", "情"]) == "654d9c844c4c9bfe"
    assert content_key(DatasetSource("glue")) == content_key(
        {"path": "glue", "name": None, "split": "test", "revision": None, "data_files": None}
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
)


@given(JSON)
def test_a_content_key_survives_a_file(value):
    assert content_key(json.loads(json.dumps(value))) == content_key(value)


@given(st.lists(st.text(), unique=True))
def test_content_keys_tell_values_apart(values):
    assert len({content_key(value) for value in values}) == len(values)


def test_a_claim_id_follows_the_number_and_its_subject_and_not_the_place():
    one = claim("0.91", dataset="imdb")
    assert one.claim_id == claim("0.91", dataset="imdb", notes=("read",), date="2020").claim_id
    assert len({one.claim_id, claim("0.910", dataset="imdb").claim_id, claim("0.91", dataset="sst2").claim_id}) == 3
    assert len(claim("0.91", dataset="\ud800").claim_id) == 16


def test_scales_and_intervals():
    assert (claim("91", unit=Unit.PERCENT).scale, claim("0.9").scale, claim("2", unit=Unit.RAW).scale) == (100, 1, 1)
    assert Interval(1.0, 2.0).widened(0.5) == Interval(0.5, 2.5)


@pytest.mark.parametrize(
    ("kinds", "holds"),
    [
        (["reproduced", "consistent"], True),
        (["overstated", "understated", "explained", "impossible"], False),
        (["underspecified", "inconclusive", "unverifiable", "blocked", "error"], None),
    ],
)
def test_what_a_verdict_says_about_its_claim(kinds, holds):
    assert [VerdictKind(kind).holds for kind in kinds] == [holds] * len(kinds)


def test_a_measurement_is_full_when_every_example_ran():
    assert measurement({}, n=10).is_full
    assert not measurement({}, n=10, population=11).is_full
