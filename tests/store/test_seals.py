import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from verify.errors import UsageError
from verify.store.files import read_sealed, write_json, write_sealed
from verify.store.seals import SECRET, SECRET_FILE, is_seal, seal

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user who has no secret yet."""
    monkeypatch.delenv(SECRET)
    monkeypatch.delenv(SECRET_FILE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config/verify/secret"


def test_the_secret_is_made_once_and_only_for_its_user(home):
    assert not is_seal("0" * 64, "a", b"b")
    assert not home.exists(), "looking makes none"
    given = seal("place", b"content")
    assert home.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.parent.iterdir()] == ["secret"]
    assert is_seal(given, "place", b"content")
    assert not is_seal(given, "places", b"content")
    assert not is_seal(given, "place", b"contents")


def test_processes_that_begin_at_once_end_with_one_secret(home):
    code = "from verify.store.seals import seal; print(seal('place', b'content'))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    several = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert len({one.communicate()[0] for one in several}) == 1


def test_a_secret_of_the_environment_goes_before_the_file(home, monkeypatch):
    own = seal("place", b"content")
    monkeypatch.setenv(SECRET, "ab" * 32)
    assert seal("place", b"content") != own
    assert not is_seal(own, "place", b"content")
    monkeypatch.setenv(SECRET, "secret words")
    with pytest.raises(UsageError, match=SECRET) as error:
        seal("place", b"content")
    assert "secret words" not in str(error.value)


@pytest.mark.parametrize("in_the_way", ["a file as the folder", "no secret in the file"])
def test_without_a_place_for_the_secret_nothing_fails_and_it_is_said(home, monkeypatch, caplog, in_the_way):
    if in_the_way == "a file as the folder":
        home.parents[1].write_text("")
    else:
        home.parent.mkdir(parents=True)
        home.write_text("too short")
    monkeypatch.setenv(SECRET, "")
    with caplog.at_level(logging.WARNING):
        given = seal("place", b"content")
        assert is_seal(given, "place", b"content"), "what this command has made it can read"
    assert SECRET_FILE in caplog.text
    assert os.environ[SECRET] not in caplog.text


def test_a_sealed_file_counts_in_its_place_as_it_was_written(tmp_path):
    file = tmp_path / "model/claims.json"
    write_sealed(file, {"b": 1.0, "a": [None, "Grüße \ud83d"], 3: float("inf")}, depth=2)
    assert read_sealed(file, depth=2) == {"b": 1.0, "a": [None, "Grüße \ud83d"], "3": float("inf")}
    found = json.loads(file.read_text())
    for changed in ({**found, "b": 2.0}, {**found, "more": 1}, {**found, "seal": None}, {**found, "seal": "0" * 64}):
        write_json(file, changed)
        assert read_sealed(file, depth=2) is None
    write_json(tmp_path / "other/claims.json", found)
    assert read_sealed(tmp_path / "other/claims.json", depth=2) is None
    (tmp_path / "model").rename(tmp_path / "old")
    assert read_sealed(tmp_path / "nowhere", depth=2) is None
