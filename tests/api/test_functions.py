"""The verbs as Python functions, on the demo's model: nothing printed, everything returned or raised."""

import doctest
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builders import DEMO

import verify
from verify.api import functions
from verify.errors import HubError, StoreError, UsageError

SIX = ("check", "read_claims", "judge", "explain", "sweep", "load_results")
SETTINGS = {"task_path": ["tasks"]}
ONE = {"model": "digits-vit", "tasks": ["digits"]}


def test_all_six_are_callable_before_and_after_a_check(report):
    code = (
        f"import verify, sys\nassert all(callable(getattr(verify, name)) for name in {SIX})\n"
        "assert not {'torch', 'transformers', 'pandas', 'hydra'} & set(sys.modules)\n"
        "import verify.checking.pipeline, verify.judging.explain, verify.sweeping.run, verify.cli.main\n"
        f"assert all(callable(getattr(verify, name)) for name in {SIX})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(callable(getattr(verify, name)) for name in SIX)
    assert set(SIX) <= set(dir(verify))


def test_importing_costs_nothing_heavy():
    code = "import verify, sys; print(len([m for m in sys.modules if m.startswith('verify')]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_there_is_nothing_else():
    with pytest.raises(AttributeError, match="chek"):
        verify.chek  # noqa: B018 (the name is looked up)


def test_a_check_gives_the_verdicts_that_the_command_line_prints(report):
    assert report.exit_code == 1
    assert report.holds is False
    verdicts = {row.claimed: row.kind for row in report.to_frame().itertuples()}
    assert verdicts == json.loads((DEMO / "expected.json").read_text())
    printed = subprocess.run(
        [sys.executable, "-m", "verify", "check", "digits-vit", "task_path=[tasks]", "--json"],
        env={**os.environ, "PYTHONPATH": str(DEMO.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.to_dict()["verdicts"] == json.loads(printed.stdout)["verdicts"]
    assert report.exit_code == printed.returncode


def test_progress_receives_the_events_of_each_cell(checked):
    about = {(event["model"], event["task"], event["split"]) for event in checked.events}
    assert about == {("digits-vit", "digits", "test")}
    assert {"stage", "block", "end"} <= {event["event"] for event in checked.events}


def test_tasks_are_named_alone_or_in_any_list(report):
    for tasks in ("digits", ["digits"], iter(("digits",))):
        found = verify.check("digits-vit", tasks=tasks, **SETTINGS)
        assert found.to_frame().kind.tolist() == report.to_frame().kind.tolist()


def test_what_failed_names_the_command_that_tries_again(place, tmp_path):
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy/loose.yaml").write_text("defaults: [schema]\nname: loose\ntolerance: 0.02\n")
    record = place / "kept/digits-vit/claims.json"
    verify.check("digits-vit", policy="loose", config_dir=tmp_path, results="kept", limit=3, **SETTINGS)
    (command,) = [value for key, value in json.loads(record.read_text()).items() if key == "retry"]
    assert command.startswith("verify check digits-vit ")
    assert f"--config-dir {tmp_path}" in command


def test_stored_results_are_judged_and_explained_again(report):
    judged = verify.judge("results/digits-vit", policy={"tolerance": 0.02})
    assert judged.to_frame().kind.tolist().count("reproduced") == 4
    strict = verify.judge("results/digits-vit", policy="strict")
    assert any("second" in note for note in strict.notes)
    explained = verify.explain("results/digits-vit")
    assert explained.to_dict()["verdicts"] == verify.judge("results/digits-vit").to_dict()["verdicts"]


def test_a_policy_is_chosen_by_name_among_its_parts(report):
    found = verify.judge("results/digits-vit", policy={"tolerance": 0.02, "name": "strict"})
    assert found.to_frame().kind.tolist().count("reproduced") == 4
    assert any("The policy strict asks" in note for note in found.notes)


def test_a_sweep_over_a_list_of_models(report):
    events = []
    found = verify.sweep([ONE, Path("nowhere")], sweep={"workers": 1}, progress=events.append, **SETTINGS)
    assert found.exit_code == 1
    assert found.to_dict()["schema"] == "verify.sweep/1"
    frame = found.to_frame()
    assert sorted(frame[frame.model == "digits-vit"].kind) == sorted(report.to_frame().kind)
    assert frame[frame.model == "nowhere"].kind.tolist() == ["error"]
    assert "ended" in {event["event"] for event in events}


def test_claims_are_read_without_running_anything(place):
    found = verify.read_claims("digits-vit", **SETTINGS)
    assert len(found) == 6
    assert found.to_frame().resolved_task.dropna().unique().tolist() == ["digits"]
    shown = found.to_dict()["claims"]
    found.to_dict()["claims"].clear()
    assert found.to_dict()["claims"] == shown


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: verify.check("digits-vit", limt=3), UsageError, '"limit"'),
        (lambda: verify.check("digits-vit", policy="strickt"), UsageError, "strict"),
        (lambda: verify.check("digits-vit", policy={"name": "strickt"}), UsageError, "strict"),
        (lambda: verify.check("digits-vit", engine={"devise": "cpu"}), UsageError, '"device"'),
        (lambda: verify.check("digits-vit", limit=object()), UsageError, "no setting"),
        (lambda: verify.check("digits-vit", seed=None), UsageError, "seed: must have a value"),
        (lambda: verify.check("digits-vit", tasks=["digitz"], task_path=["tasks"]), UsageError, "digits"),
        (lambda: verify.check("digits-vit", suite="sentiment"), UsageError, r"verify\.sweep"),
        (lambda: verify.check("digits-vit", **{"sweep.workers": 2}), UsageError, r"verify\.sweep"),
        (lambda: verify.check("digits-vit", **{"hydra.run.dir": "x"}), UsageError, "no setting 'hydra'"),
        (lambda: verify.check("digits-vit", progress=3), UsageError, "progress"),
        (lambda: verify.check("digits-vit", config_dir="nowhere"), UsageError, "nowhere"),
        (lambda: verify.check(None), UsageError, "NoneType"),
        (lambda: verify.check(b"digits-vit"), UsageError, "no model"),
        (lambda: verify.check("./nowhere"), HubError, "nowhere"),
        (lambda: verify.read_claims(""), UsageError, "'' names no model"),
        (lambda: verify.judge("nowhere"), UsageError, "nowhere"),
        (lambda: verify.judge("results/digits-vit", limit=3), UsageError, "policy, task_path"),
        (lambda: verify.explain("results/digits-vit", engine={"device": "cpu"}), UsageError, "rerun=True"),
        (lambda: verify.explain("results/digits-vit", rerun=True, limit=3), UsageError, "engine, budget"),
        (lambda: verify.sweep("nowhere"), UsageError, "suite"),
        (lambda: verify.sweep(""), UsageError, "no such suite"),
        (lambda: verify.sweep(3), UsageError, "no suite"),
        (lambda: verify.sweep([3]), UsageError, r"suite\.models\[0\]: 3 is no model"),
        (lambda: verify.sweep("list"), UsageError, "standard input"),
        (lambda: verify.load_results("nowhere"), UsageError, "nowhere"),
        (lambda: verify.load_results(3), UsageError, "int names no"),
    ],
)
def test_errors_are_exceptions_that_say_what_to_do(report, call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_results_whose_record_is_gone_are_an_error(tmp_path):
    (tmp_path / "verdicts.json").write_text("{}")
    with pytest.raises(StoreError, match=r"claims\.json"):
        verify.judge(tmp_path)


def test_the_examples_in_the_documentation_work(report):
    found = doctest.testmod(functions)
    assert found.attempted >= 12
    assert found.failed == 0
