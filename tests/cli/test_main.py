"""The command line as a user meets it: help, errors, and what it does not import."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builders import DEMO

from verify.cli.main import main

HEAVY = ("torch", "transformers", "datasets", "accelerate", "evaluate", "sklearn", "scipy", "pandas")


def imported_by(code: str) -> set[str]:
    """The top-level modules that a fresh Python has loaded after ``code``."""
    program = f"{code}\nimport sys, json\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import verify",
        "from verify.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
        "from verify.cli.main import main\ntry: main(['check', '--help'])\nexcept SystemExit: pass",
        "from verify.cli.main import main\ntry: main(['sweep', '--help'])\nexcept SystemExit: pass",
        "from verify.cli.main import main\nmain(['sweep', 'suite=sentiment', '--cfg'])",
        "from verify.cli.main import main\nmain(['judge', 'nowhere'])",
        "from verify.cli.main import main\nmain(['explain', 'nowhere'])",
        f"from verify.cli.main import main\nmain(['claims', {str(DEMO / 'digits-vit')!r}])",
        "from verify.cli.main import main\nmain(['tasks', 'list'])",
        f"from verify.cli.main import main\nmain(['check', {str(DEMO / 'digits-vit')!r}, '--cfg'])",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    assert not imported_by(code).intersection(HEAVY)


def test_help_teaches_verbs_and_exit_codes(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for word in (
        "check",
        "sweep",
        "judge",
        "explain",
        "claims",
        "tasks",
        "exit codes",
        "at least one claim does not hold",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], ["Name a model", "ORG/NAME"]),
        (["check", "./nowhere"], ["no folder ./nowhere"]),
        (["check", "x/y", "polcy=strict"], ["polcy=strict", '"policy"']),
        (["check", "x/y", "limit=many"], ["limit=many", "whole number"]),
        (["check", "x/y", "engine.device=gpu"], ["engine.device=gpu", "cuda"]),
        (["check", str(DEMO / "digits-vit"), "tasks=[mnits]"], ["mnits", '"mnist"']),
        (["check", str(DEMO / "digits-vit"), "task_path=[nowhere]"], ["nowhere is not a folder"]),
        (["check", "x/y", "z/w"], ["z/w", "key=value"]),
        (["check", "x/y", "--multirun", "policy=default,strikt"], ["policy=strikt", '"strict"']),
        (["sweep"], ["Name a suite", "suite=NAME"]),
        (["sweep", "org/model"], ["org/model", "verify check MODEL"]),
        (["sweep", "suite=sentimnet"], ["suite=sentimnet", '"sentiment"']),
        (["sweep", "suite=sentiment", "sweep.wrokers=2"], ["sweep.wrokers", '"workers"']),
        (["sweep", "suite=sentiment", "--fail-on", "overstatd"], ["--fail-on overstatd", '"overstated"']),
        (["sweep", "suite=sentiment", "--fail-on", ","], ["--fail-on", "overstated"]),
        (["judge"], ["Name a result", "results/ORG--MODEL"]),
        (["judge", "nowhere"], ["There is no nowhere", "verdicts.json"]),
        (["judge", "x", "limit=5"], ["limit=5", "verify check"]),
        (["explain", "x", "budget=5"], ["budget=5", "--rerun"]),
        (["explain", "x", "--rerun", "limit=5"], ["limit=5", "verify check"]),
        (["explain", "x", "policy=strikt"], ["policy=strikt", '"strict"']),
        (["claims", "./nowhere"], ["nowhere"]),
        (["claims", "a", "b"], ["'b'", "key=value"]),
        (["claims", str(DEMO / "digits-vit"), "claims=nowhere.yaml"], ["nowhere.yaml", "claims=FILE"]),
        (["tasks", "show", "sst3"], ["sst3", '"sst2"']),
    ],
)
def test_a_mistake_is_one_paragraph_that_helps(arguments, words, capsys):
    code = main(arguments)
    printed = capsys.readouterr()
    assert code in (2, 4)
    assert printed.out == ""
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("verify: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("arguments", [["chekc"], ["check", "--jsn"], ["claims"], []])
def test_an_unknown_word_or_option_is_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: verify" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["judge", "explain"])
def test_the_help_of_a_verb_on_results_teaches_by_examples(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.count(f"  verify {verb} results/") >= 4
    for word in ("RESULT", "examples:", "exit codes:", "--json"):
        assert word in text


def test_the_help_of_a_sweep_teaches_by_examples(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["sweep", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.count("  verify sweep suite=") >= 6
    for word in ("--dry-run", "--fail-on", "--json", "--multirun", "sweep.workers=4", "engine=ray", "130  interrupted"):
        assert word in text


def test_options_may_stand_anywhere(capsys):
    assert main(["check", "--cfg", "x/y", "policy=strict"]) == 0
    first = capsys.readouterr().out
    assert main(["check", "x/y", "--cfg", "policy=strict"]) == 0
    assert capsys.readouterr().out == first
    assert "probe_share: 1.0" in first
    assert "model: x/y" in first


def test_a_model_folder_may_have_an_equals_sign_in_its_name(tmp_path, capsys):
    folder = tmp_path / "step=1"
    folder.mkdir()
    (folder / "README.md").write_text("# nothing\n")
    assert main(["check", str(folder), f"results={tmp_path / 'r'}"]) == 3
    assert "makes no claim" in capsys.readouterr().out


def test_interrupting_ends_at_once_and_says_that_nothing_is_lost(tmp_path):
    import signal
    import time

    command = [sys.executable, "-m", "verify", "check", str(DEMO / "digits-vit"), f"task_path=[{DEMO / 'tasks'}]"]
    running = subprocess.Popen(
        [*command, f"results={tmp_path}"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("*/*/*/worker.log")) and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "Traceback" not in err
    assert "the same command goes on from there" in err


def test_claims_name_file_and_line(capsys):
    assert main(["claims", str(DEMO / "digits-vit"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    lines = Path(DEMO / "digits-vit" / "README.md").read_text().splitlines()
    assert {claim["metric"] for claim in found["claims"]} == {
        "accuracy",
        "f1_macro",
        "precision_macro",
        "recall_macro",
    }
    for claim in found["claims"]:
        assert claim["literal"] in lines[claim["line"] - 1]


def test_a_character_that_no_encoding_has_is_printed_as_its_escape(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/README.md").write_text(
        "---\nmodel-index:\n- name: m\n  results:\n  - task: {type: any}\n"
        '    dataset: {type: "half \\ud83d", name: "half \\ud83d"}\n    metrics: [{type: accuracy, value: 0.91}]\n---\n'
    )
    for verb in (["claims", "./m"], ["check", "./m"], ["claims", "./m", "--json"], ["check", "./m", "--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "verify", *verb],
            cwd=tmp_path,
            capture_output=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(DEMO.parents[1])},
        )
        assert done.returncode == (3 if verb[0] == "check" else 0), done.stderr
        assert b"half \\ud83d" in done.stdout
    (verdict,) = json.loads(done.stdout)["verdicts"]
    assert verdict["claim"]["dataset"] == "half \ud83d"


def test_the_version_is_that_of_the_package(capsys):
    import verify

    with pytest.raises(SystemExit):
        main(["--version"])
    assert re.fullmatch(rf"verify {re.escape(verify.__version__)}\n", capsys.readouterr().out)
