import json
import math
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from helpers.claim_making import measurement
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import StoreError
from verify.store.files import DamagedError, write_json
from verify.store.predictions import LabelPredictions
from verify.store.runs import PREDICTIONS, PROBE, RunFolder, slug
from verify.types import Score

ROOT = Path(__file__).parents[2]


def rows(*examples, width=3):
    example = np.array(examples, np.int64)
    logits = np.arange(len(example) * width, dtype=np.float32).reshape(-1, width) + example[:, None] * 100
    return {"example": example, "logits": logits, "reference": example % 2}


def append_some(path, start):
    for first in range(start, 200, 40):
        RunFolder(Path(path)).append(PREDICTIONS, LabelPredictions, rows(*range(first, first + 10)))


def test_the_place_of_a_run_follows_from_what_is_run(tmp_path):
    one = RunFolder.for_run(tmp_path, "org/model", "sst2", "validation", {"dtype": "float32", "model": {"a": "1"}})
    same = RunFolder.for_run(tmp_path, "org/model", "sst2", "validation", {"model": {"a": "1"}, "dtype": "float32"})
    other = RunFolder.for_run(tmp_path, "org/model", "sst2", "validation", {"model": {"a": "2"}, "dtype": "float32"})
    assert one.path == same.path
    assert one.path != other.path
    assert one.path.parent == tmp_path / "org--model" / "sst2.validation" == other.path.parent


def test_an_empty_folder_holds_nothing(tmp_path):
    folder = RunFolder(tmp_path / "run")
    assert (folder.info(), folder.rows(PREDICTIONS), folder.predictions(PREDICTIONS)) == (None, None, None)
    assert folder.measurement({}) is None
    assert not folder.path.exists()


def test_rows_come_back_sorted_and_as_they_were(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append(PREDICTIONS, LabelPredictions, rows(5, 2))
    folder.append(PREDICTIONS, LabelPredictions, rows(9, 0))
    folder.append(PROBE, LabelPredictions, rows(2))
    folder.write_info({"family": "classification", "label_of_logit": [1, 0, -1]})
    found = folder.predictions(PREDICTIONS)
    assert found.example.tolist() == [0, 2, 5, 9]
    assert found.reference.tolist() == [0, 0, 1, 1]
    assert found.logits.tolist() == [[3, 4, 5], [203, 204, 205], [500, 501, 502], [900, 901, 902]]
    assert found.logits.dtype == np.float32
    assert found.label_of_logit == (1, 0, -1)
    assert folder.predictions(PREDICTIONS, np.array([9, 2, 7])).example.tolist() == [2, 9]
    assert folder.rows(PROBE)["example"].to_pylist() == [2]


def test_a_regression_keeps_its_targets(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append(PREDICTIONS, LabelPredictions, {**rows(1, 0, width=1), "reference": np.array([2.5, -1.25])})
    folder.write_info({"family": "regression", "label_of_logit": None})
    found = folder.predictions(PREDICTIONS)
    assert found.is_regression
    assert (found.reference.tolist(), found.logits.shape) == ([-1.25, 2.5], (2, 1))


def test_rows_that_were_run_twice_count_once(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append(PREDICTIONS, LabelPredictions, rows(1, 2, 3))
    folder.append(PREDICTIONS, LabelPredictions, rows(3, 2, 4))
    folder.append(PREDICTIONS, LabelPredictions, rows(1, 2, 3))
    assert folder.rows(PREDICTIONS)["example"].to_pylist() == [1, 2, 3, 4]


def test_several_processes_append_at_once(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(append_some, [str(tmp_path)] * 4, [0, 10, 20, 30]))
    found = RunFolder(tmp_path).rows(PREDICTIONS)
    assert found["example"].to_pylist() == list(range(200))
    assert not list(tmp_path.rglob(".writing-*"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "rename", "empty", "half-written"])
def test_a_damaged_shard_is_ignored_and_the_others_count(tmp_path, damage):
    folder = RunFolder(tmp_path)
    folder.append(PREDICTIONS, LabelPredictions, rows(1, 2))
    (shard,) = (tmp_path / PREDICTIONS).iterdir()
    folder.append(PREDICTIONS, LabelPredictions, rows(3))
    content = bytearray(shard.read_bytes())
    if damage == "truncate":
        shard.write_bytes(content[:-10])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        shard.write_bytes(content)
    elif damage == "rename":
        shard.rename(shard.with_stem("0" * 64))
    elif damage == "empty":
        shard.write_bytes(b"")
    else:
        shard.rename(shard.with_name(".writing-abc"))
    assert folder.rows(PREDICTIONS)["example"].to_pylist() == [3]


def test_statistics_come_back_under_their_key_and_those_that_are_damaged_do_not(tmp_path):
    folder = RunFolder(tmp_path)
    assert list(folder.statistics("key")) == []
    folder.add_statistics("key", [b"\x00" * 16, b"a\x00" * 8], np.array([[1.0, 0.1], [2.0, -0.0]]))
    folder.add_statistics("key", [b"b" * 16], np.array([[3.0, np.inf]]))
    folder.add_statistics("other", [b"c" * 16], np.array([[4.0]]))
    found = {}
    for digests, rows_kept in folder.statistics("key"):
        found |= dict(zip(digests, rows_kept.tolist(), strict=True))
    assert found == {b"\x00" * 16: [1, 0.1], b"a\x00" * 8: [2, -0.0], b"b" * 16: [3, np.inf]}
    for file in (tmp_path / "statistics/key").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    (tmp_path / "statistics/other" / f"{'0' * 64}.parquet").mkdir()
    assert list(folder.statistics("key")) == []
    assert len(list(folder.statistics("other"))) <= 1, "a folder in the way is no error"


def test_a_shard_that_cannot_be_read_is_run_again_and_an_error_in_what_was_received(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_info({"family": "classification", "label_of_logit": [0, 1, 2], "population": 9, "notes": []})
    (tmp_path / PREDICTIONS / f"{'0' * 64}.parquet").mkdir(parents=True)
    assert folder.rows(PREDICTIONS) is None
    with pytest.raises(DamagedError, match=r"parquet cannot be read: Is a directory"):
        RunFolder(tmp_path, received=True).rows(PREDICTIONS)


def test_a_file_where_a_folder_should_be_is_an_error_that_says_what_to_do(tmp_path):
    (tmp_path / "results").write_text("in the way")
    folder = RunFolder.for_run(tmp_path / "results", "m", "t", "s", {})
    for write in (lambda: folder.append(PREDICTIONS, LabelPredictions, rows(1)), lambda: folder.write_info({})):
        with pytest.raises(StoreError, match=r"cannot be written.*results=FOLDER"):
            write()
    assert folder.info() is None


def test_a_full_disk_is_an_error_and_leaves_the_old_file_whole(tmp_path):
    """The limit on a file's size stands in for a disk that fills up while a file is written."""
    file = tmp_path / "verdicts.json"
    write_json(file, {"old": True})
    script = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from verify.errors import StoreError\n"
        "from verify.store.runs import write_json\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    write_json(Path(sys.argv[1]), {'new': 'x' * 100_000})\n"
        "except StoreError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script, str(file)], capture_output=True, text=True, cwd=ROOT)
    assert "results folder cannot be written" in run.stdout, run.stderr
    assert "Free some space" in run.stdout
    assert json.loads(file.read_text()) == {"old": True}
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts.json"]


def test_a_write_replaces_the_whole_file(tmp_path):
    file = tmp_path / "deep" / "down" / "verdicts.json"
    write_json(file, {"text": "long " * 100})
    write_json(file, {"text": "Grüße", "n": np.int64(3), "share": np.float32(0.5)})
    assert json.loads(file.read_text(encoding="utf-8")) == {"text": "Grüße", "n": 3, "share": 0.5}
    assert [path.name for path in file.parent.iterdir()] == ["verdicts.json"]


def test_measurements_come_back_as_they_were(tmp_path):
    made = measurement(
        {"accuracy": Score(0.91, 872, 793, 0.0023), "loss": Score(0.31, 872)},
        n=872,
        flips=1,
        provenance={"device": "cpu", "versions": {"numpy": "2"}, "data_labels": None},
        notes=("a", "b"),
    )
    folder = RunFolder(tmp_path)
    folder.write_measurement({"scorer": 1, "limit": None}, made)
    assert folder.measurement({"limit": None, "scorer": 1}) == made
    assert folder.measurement({"limit": None, "scorer": 2}) is None
    assert math.isclose(folder.measurement({"scorer": 1, "limit": None}).scores["accuracy"].budget, 0.0023)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 2}', '{"schema": 1, "scores": {"a": 1}}']
)
def test_an_unreadable_measurement_counts_as_none(tmp_path, content):
    folder = RunFolder(tmp_path)
    folder.write_measurement({}, measurement({"accuracy": 0.5}))
    folder.measurement_file({}).write_text(content)
    assert folder.measurement({}) is None


def test_a_measurement_of_another_shape_counts_as_none(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_measurement({}, measurement({"accuracy": 0.5}))
    stored = json.loads(folder.measurement_file({}).read_text())
    for key in ("task", "scores", "notes", "n"):
        other = {name: value for name, value in stored.items() if name != key}
        folder.measurement_file({}).write_text(json.dumps(other))
        assert folder.measurement({}) is None, key
    folder.measurement_file({}).write_text(json.dumps({**stored, "unheard_of": 1}))
    assert folder.measurement({}) is None


def test_a_measurement_keeps_no_path_of_its_own(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_measurement({}, replace(measurement({"accuracy": 0.5}), result=None))
    assert str(tmp_path) not in folder.measurement_file({}).read_text()


@pytest.mark.parametrize("name", ["sst2", "ag_news", "validation_matched", "bert-base-uncased", "v1.5"])
def test_an_ordinary_name_is_its_own_slug(name):
    assert slug(name) == name
    assert slug(f"org/{name}") == f"org--{name}"


NAMES = st.one_of(
    st.text(),
    st.text("ab-/._0", max_size=6),
    st.text("abcdef0123-/", min_size=8, max_size=12),
    st.text("x", min_size=95),
)


@given(NAMES)
def test_a_slug_is_one_visible_file_name_inside_its_folder(name):
    found = slug(name)
    assert Path("root", found).resolve().parent == Path("root").resolve()
    assert found.isascii()
    assert not found.startswith(".")
    assert 0 < len(found) < 100


@given(st.lists(NAMES, unique=True, max_size=8))
def test_distinct_names_have_distinct_slugs(names):
    assert len({slug(name) for name in names}) == len(names)


@given(NAMES)
def test_a_slug_taken_as_a_name_does_not_meet_its_origin(name):
    assert slug(name) == name or slug(slug(name)) != slug(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("a/b", "a--b"), ("a-/b", "a/-b"), ("é", "è"), ("a b", "a_b"), ("..", "."), ("x" * 99, "x" * 100)],
)
def test_names_that_look_alike_on_disk_stay_apart(one, other):
    assert slug(one) != slug(other)
