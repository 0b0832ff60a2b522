"""Stored verdicts as a data frame: all of them, or an error that names the file."""

import json
import os

import pandas
import pytest
from helpers.builders import DEMO

import verify
from verify.errors import StoreError

GOLDEN = DEMO.parents[1] / "tests/golden"


def test_results_are_the_frame_of_the_report(place):
    last = verify.judge("results/digits-vit", policy={"tolerance": 0.02}).to_frame()
    pandas.testing.assert_frame_equal(verify.load_results("results"), last)
    pandas.testing.assert_frame_equal(verify.load_results("results/digits-vit"), last)


def entry(report, **changes):
    found = json.loads(json.dumps(report.to_dict()))
    verdict = found["verdicts"][0]
    for name, value in changes.items():
        (verdict["claim"] if name in ("literal", "line") else verdict if name in verdict else found)[name] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "fine"},
        {"measured": "0.9"},
        {"measured": {"a": 1}},
        {"n": 1.5},
        {"n": 2**70},
        {"literal": 0.9},
        {"line": "19"},
        {"reason": None},
        {"claim": None},
        {"verdicts": {}},
        {"verdicts": [7]},
        {"schema": "verify.check/9"},
        {"model": 1},
    ],
)
def test_verdicts_of_another_shape_are_an_error(report, tmp_path, changes):
    file = tmp_path / "m/verdicts.json"
    file.parent.mkdir()
    file.write_text(entry(report))
    assert len(verify.load_results(tmp_path)) == 6
    file.write_text(entry(report, **changes))
    with pytest.raises(StoreError, match=r"m/verdicts\.json holds no verdicts .* verify judge"):
        verify.load_results(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\x00"])
def test_what_is_no_object_is_an_error(tmp_path, text):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/verdicts.json").write_text(text)
    with pytest.raises(StoreError, match=r"verdicts\.json"):
        verify.load_results(tmp_path)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(tmp_path):
    (tmp_path / "m").mkdir()
    os.mkfifo(tmp_path / "m/verdicts.json")
    with pytest.raises(StoreError, match="no file"):
        verify.load_results(tmp_path)


def test_results_of_an_earlier_version_are_read():
    frame = verify.load_results(GOLDEN / "results-0.1.0")
    stored = json.loads((GOLDEN / "results-0.1.0/digits-vit/verdicts.json").read_text())
    assert frame.kind.tolist() == [one["kind"] for one in stored["verdicts"]]
