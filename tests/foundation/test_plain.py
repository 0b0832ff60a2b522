import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.foundation.plain import UnreadableError, from_plain
from verify.types import Interval, Setting, Source, Unit


@dataclass(frozen=True)
class Inner:
    name: str
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Outer:
    unit: Unit
    inner: Inner | None
    named: Mapping[str, Inner]
    setting: Setting
    count: int
    rows: Mapping[str, int] = field(default_factory=dict)


TEXTS = st.text(max_size=8)
INNER = st.builds(Inner, TEXTS, st.lists(st.floats(allow_nan=False), max_size=3).map(tuple))
SETTINGS = st.one_of(TEXTS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none())
OUTER = st.builds(
    Outer,
    st.sampled_from(Unit),
    st.none() | INNER,
    st.dictionaries(TEXTS, INNER, max_size=3),
    SETTINGS,
    st.integers(),
    st.dictionaries(TEXTS, st.integers(), max_size=3),
)


@given(OUTER)
def test_what_json_carries_comes_back_with_its_types(made):
    found = from_plain(Outer, json.loads(json.dumps(asdict(made))))
    assert found == made
    assert (type(found.setting), type(found.unit)) == (type(made.setting), Unit)


GOOD = {"unit": "raw", "inner": None, "named": {}, "setting": 1, "count": 2}


def test_a_whole_number_may_stand_for_a_decimal_one_and_nothing_else_is_converted():
    found = from_plain(Interval, {"low": 0, "high": 1.5})
    assert (found, type(found.low)) == (Interval(0.0, 1.5), float)
    with pytest.raises(UnreadableError, match=r"it\.count must be a whole number"):
        from_plain(Outer, GOOD | {"count": 2.0})
    with pytest.raises(UnreadableError, match=r"it\.count must be a whole number"):
        from_plain(Outer, GOOD | {"count": True})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"unit": "pounds"}, "it.unit must be one of fraction, percent, raw"),
        ({"unit": ["raw"]}, "it.unit must be one of"),
        ({"inner": {"name": 1}}, "it.inner.name must be a text"),
        ({"inner": {"name": "a", "values": [0.5, "b"]}}, "it.inner.values[1] must be a number"),
        ({"inner": {"name": "a", "values": 0.5}}, "it.inner.values must be a list"),
        ({"inner": {}}, "it.inner lacks the key name"),
        ({"inner": "a"}, "it.inner must be a mapping"),
        ({"named": {"x": None}}, "it.named.x must be a mapping"),
        ({"setting": [1]}, "it.setting has none of the shapes"),
        ({"more": 1}, "it has the unknown key more"),
    ],
)
def test_what_does_not_fit_is_named_by_its_place(changed, words):
    with pytest.raises(UnreadableError) as found:
        from_plain(Outer, GOOD | changed)
    assert words in str(found.value)


def test_a_missing_key_without_a_default_is_named():
    assert from_plain(Outer, GOOD).rows == {}
    with pytest.raises(UnreadableError, match="it lacks the key unit"):
        from_plain(Outer, {name: value for name, value in GOOD.items() if name != "unit"})
    with pytest.raises(UnreadableError, match="a source must be one of"):
        from_plain(Source, None, "a source")
