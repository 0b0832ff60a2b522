import json

from hypothesis import given
from hypothesis import strategies as st

from verify.foundation.content import content_key
from verify.types import DatasetSource


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
