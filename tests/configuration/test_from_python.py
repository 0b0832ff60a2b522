"""Settings given as Python values mean what the same settings mean on the command line."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.configuration.compose import compose_config
from verify.configuration.from_python import words_of
from verify.errors import UsageError


@pytest.mark.parametrize(
    ("given_settings", "words"),
    [
        ({"limit": 10, "budget": 0.5, "allow_pickle": True}, ["limit=10", "budget=0.5", "allow_pickle=true"]),
        ({"limit": np.int64(10), "budget": np.float32(0.5)}, ["limit=10", "budget=0.5"]),
        ({"allow_pickle": np.bool_(False), "limit": None}, ["allow_pickle=false", "limit=null"]),
        ({"results": "Prüfung = 1"}, ["results='Prüfung = 1'"]),
        ({"engine": {"device": "cpu"}, "policy": "strict"}, ["engine.device='cpu'", "policy='strict'"]),
        ({"policy": {"tolerance": 0.1, "name": "strict"}}, ["policy.tolerance=0.1", "policy='strict'"]),
        ({"policy.name": "strict"}, ["policy='strict'"]),
        ({"engine.max_memory": {0: "20GiB"}}, ["engine.max_memory={'0':'20GiB'}"]),
        ({"task_path": [Path("a b")]}, ["task_path=['a b']"]),
        ({"tasks": (name for name in ("a", "b"))}, ["tasks=['a','b']"]),
        ({"override": {"split": None}}, ["override.split=null"]),
    ],
)
def test_settings_are_spelled_as_the_command_line_takes_them(given_settings, words):
    assert words_of(given_settings) == words


@pytest.mark.parametrize("key", ["", "~limit", "+limit", "limit=3 #", "engine.", ".limit", "engine/device", "limit@x"])
def test_what_is_no_name_is_refused(key):
    with pytest.raises(UsageError, match="cannot be the name of a setting"):
        words_of({key: 3})


@pytest.mark.parametrize("key", ["model", "hydra", "hydra.run.dir", "defaults"])
def test_what_is_no_setting_is_refused(key):
    with pytest.raises(UsageError, match="there is no setting"):
        words_of({key: "x"})


@pytest.mark.parametrize("value", [object(), b"x", bytearray(b"x"), print, 1j, [b"x"], {"a": object()}])
def test_what_is_no_plain_value_is_refused(value):
    with pytest.raises(UsageError, match="is no setting"):
        words_of({"engine.slurm": value} if isinstance(value, dict) else {"results": value})


@settings(max_examples=30)
@given(st.text(min_size=1))
def test_any_text_arrives_as_it_is(text):
    config = compose_config("m", words_of({"claims": text, "task_path": [text]}))
    assert (config.claims, config.task_path) == (text, [text])
