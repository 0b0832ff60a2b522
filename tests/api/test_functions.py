"""The verbs as Python functions, on the demo's model: nothing printed, everything returned or raised."""

import doctest
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import DEMO

import verify
from verify.api import functions
from verify.api.reports import Report
from verify.configuration.from_python import words_of
from verify.errors import HubError, StoreError, UsageError

SIX = ("check", "read_claims", "judge", "explain", "sweep", "load_results")
TASKS = str(DEMO / "tasks")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the demo's model, in which the functions are called."""
    folder = tmp_path_factory.mktemp("api")
    shutil.copytree(DEMO / "digits-vit", folder / "digits-vit")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def report(place):
    events = []
    found = verify.check("digits-vit", task_path=[TASKS], progress=events.append, engine={"device": "cpu"})
    return found, events


def test_all_six_are_callable_before_and_after_a_check(report):
    code = (
        f"import verify, sys\nassert all(callable(getattr(verify, name)) for name in {SIX})\n"
        "assert not {'torch', 'transformers', 'pandas', 'hydra'} & set(sys.modules)\n"
        "import verify.checking.pipeline, verify.judging.explain, verify.sweeping.run, verify.cli.main\n"
        f"assert all(callable(getattr(verify, name)) for name in {SIX})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(callable(getattr(verify, name)) for name in SIX)


def test_importing_costs_nothing_heavy():
    code = "import verify, sys; print(len([m for m in sys.modules if m.startswith('verify')]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_check_gives_the_verdicts_that_the_command_line_prints(report):
    found, _ = report
    assert found.exit_code == 1
    assert found.holds is False
    verdicts = {row.claimed: row.kind for row in found.to_frame().itertuples()}
    assert verdicts == json.loads((DEMO / "expected.json").read_text())
    assert found.to_dict()["schema"] == "verify.check/1"
    assert "1 overstated" in repr(found)


def test_a_check_prints_nothing_and_leaves_the_import_path(place, report, capfd):
    path, environment = list(sys.path), dict(os.environ)
    verify.check("digits-vit", task_path=[TASKS])
    assert capfd.readouterr() == ("", "")
    assert sys.path == path
    assert dict(os.environ) == environment


def test_progress_receives_the_events_of_each_cell(report):
    _, events = report
    assert {(event["model"], event["task"], event["split"]) for event in events} == {("digits-vit", "digits", "test")}
    assert {"stage", "block", "end"} <= {event["event"] for event in events}


def test_stored_results_are_judged_and_explained_again(report):
    judged = verify.judge("results/digits-vit", policy={"tolerance": 0.02})
    assert judged.to_frame().kind.tolist().count("reproduced") == 4
    strict = verify.judge("results/digits-vit", policy="strict")
    assert any("second" in note for note in strict.notes)
    explained = verify.explain("results/digits-vit")
    assert explained.to_dict()["verdicts"] == verify.judge("results/digits-vit").to_dict()["verdicts"]


def test_results_are_a_frame_with_a_row_for_each_claim(report):
    frame = verify.load_results("results")
    assert len(frame) == len(report[0].verdicts)
    assert list(frame.columns) == list(report[0].to_frame().columns)
    assert set(frame.model) == {"digits-vit"}


def test_a_sweep_over_a_list_of_models(place, report):
    events = []
    one = {"model": "digits-vit", "tasks": ["digits"]}
    found = verify.sweep([one], task_path=[TASKS], sweep={"workers": 1}, progress=events.append)
    assert found.exit_code == 1
    assert found.to_dict()["schema"] == "verify.sweep/1"
    assert found.to_frame().kind.tolist() == report[0].to_frame().kind.tolist()
    assert events[-1]["event"] == "ended"


def test_claims_are_read_without_running_anything(place):
    found = verify.read_claims("digits-vit", task_path=[TASKS])
    assert len(found) == 6
    assert found.to_frame().resolved_task.dropna().unique().tolist() == ["digits"]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: verify.check("digits-vit", limt=3), UsageError, "limit"),
        (lambda: verify.check("digits-vit", policy="strickt"), UsageError, "strict"),
        (lambda: verify.check("digits-vit", engine={"devise": "cpu"}), UsageError, "device"),
        (lambda: verify.check("digits-vit", limit=object()), UsageError, "no setting"),
        (lambda: verify.check("digits-vit", tasks=["digitz"], task_path=[TASKS]), UsageError, "digits"),
        (lambda: verify.check("./nowhere"), HubError, "nowhere"),
        (lambda: verify.judge("nowhere"), UsageError, "nowhere"),
        (lambda: verify.judge("results/digits-vit", limit=3), UsageError, "policy, task_path"),
        (lambda: verify.explain("results/digits-vit", engine={"device": "cpu"}), UsageError, "engine"),
        (lambda: verify.sweep("nowhere"), UsageError, "suite"),
        (lambda: verify.load_results("nowhere"), UsageError, "nowhere"),
    ],
)
def test_errors_are_exceptions_that_say_what_to_do(place, report, call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_damaged_verdicts_are_an_error(tmp_path):
    for number, text in enumerate(('{"model": 1}', "[]", "{", '{"model": "m", "revision": null, "verdicts": [7]}')):
        file = tmp_path / str(number) / "m" / "verdicts.json"
        file.parent.mkdir(parents=True)
        file.write_text(text)
        with pytest.raises(StoreError, match=r"verdicts\.json"):
            verify.load_results(tmp_path / str(number))


def test_a_notebook_shows_a_table_without_markup_of_others(report):
    found, _ = report
    hostile = "<script>alert(1)</script>\x1b]52;c;eA==\x07\u202e"
    verdicts = tuple(replace(one, reason=hostile, task=hostile) for one in found.verdicts)
    page = Report(replace(found.outcome, model=hostile, verdicts=verdicts), (hostile,))._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert not set(page) & {"\x1b", "\x07", "\u202e"}
    assert "<table" in found._repr_html_()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"limit": 10, "budget": 0.5, "allow_pickle": True}, ["limit=10", "budget=0.5", "allow_pickle=true"]),
        ({"results": "Prüfung = 1"}, ["results='Prüfung = 1'"]),
        ({"engine": {"device": "cpu"}, "policy": "strict"}, ["engine.device='cpu'", "policy='strict'"]),
        ({"engine.max_memory": {0: "20GiB"}}, ["engine.max_memory={'0':'20GiB'}"]),
        ({"task_path": [Path("a b")]}, ["task_path=['a b']"]),
        ({"override": {"split": None}}, ["override.split=null"]),
    ],
)
def test_settings_are_spelled_as_the_command_line_takes_them(settings, words):
    assert words_of(settings) == words


def test_the_examples_in_the_documentation_work():
    found = doctest.testmod(functions)
    assert found.attempted >= 4
    assert found.failed == 0
