"""``verify judge`` on what real checks left behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.trained import Place, check, kinds, run
from verify.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path("results/model")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place")).build()


@pytest.fixture
def place(made, monkeypatch):
    """The folder as the working folder, with a card that raises the accuracy by one point and is right otherwise."""
    monkeypatch.chdir(made.folder)
    scores = made.scores()
    made.claim({"accuracy": f"{scores['accuracy'] + 0.01:.4f}", "f1_macro": f"{scores['f1_macro']:.4f}"})
    return made


@pytest.fixture
def checked(place, capsys):
    """What a check of the card printed; only the first one in this file runs the model."""
    code, found, _ = check(capsys)
    assert code == 1
    return found


def test_the_same_policy_gives_what_the_check_gave(checked, capsys):
    before = json.loads((RESULTS / "verdicts.json").read_text())
    code, found, err = run(capsys, "judge", str(RESULTS), "policy.stop=never")
    assert (code, found) == (1, checked)
    assert json.loads((RESULTS / "verdicts.json").read_text()) == before
    assert "2 claims: 1 overstated, 1 reproduced" in err


def test_another_policy_changes_the_verdict_without_torch_and_without_the_model(place, checked, capsys):
    shutil.move("model", "elsewhere")
    shutil.move("data.parquet", "elsewhere.parquet")
    try:
        program = (
            "import sys, time\nstart = time.monotonic()\nfrom verify.cli.main import main\n"
            "code = main(['judge', 'results/model', 'policy.tolerance=0.02', '--json'])\n"
            "loaded = {'torch', 'transformers', 'datasets', 'huggingface_hub'} & set(sys.modules)\n"
            "print(code, sorted(loaded), time.monotonic() - start, file=sys.stderr)"
        )
        environment = {name: os.environ[name] for name in ("PATH", "VERIFY_SECRET")} | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
        )
    finally:
        shutil.move("elsewhere", "model")
        shutil.move("elsewhere.parquet", "data.parquet")
    code, loaded, seconds = re.fullmatch(r"(\d) (\[.*\]) (\S+)", done.stderr.splitlines()[-1]).groups()
    assert (code, loaded) == ("0", "[]")
    assert float(seconds) < 5, "it starts at once, even on a busy machine"
    found = json.loads(done.stdout)
    assert kinds(found) == {"accuracy": "reproduced", "f1_macro": "reproduced"}
    assert json.loads((RESULTS / "verdicts.json").read_text()) == found
    interval, wider = (one["verdicts"][0]["interval"] for one in (checked, found))
    assert wider == pytest.approx([interval[0] - 0.02, interval[1] + 0.02])


def test_every_form_of_result_finds_the_same_claims(checked, capsys):
    measured = checked["verdicts"][0]["result"]
    forms = [RESULTS, RESULTS / "verdicts.json", RESULTS / "claims.json", Path(measured).parents[1], measured]
    for form in map(str, forms):
        assert run(capsys, "judge", form, "policy.stop=never")[:2] == (1, checked), form


def test_results_may_be_moved_and_judged_elsewhere(checked, capsys, tmp_path, monkeypatch):
    shutil.copytree("results/model", tmp_path / "copied")
    monkeypatch.chdir(tmp_path)
    code, found, _ = run(capsys, "judge", "copied", "policy.tolerance=0.02")
    assert (code, kinds(found)["accuracy"]) == (0, "reproduced")
    assert found["verdicts"][0]["result"].startswith("copied/")


def test_a_new_scorer_scores_the_stored_predictions_again(checked, capsys, monkeypatch):
    monkeypatch.setattr("verify.checking.identity.SCORER_VERSION", 999)
    code, found, _ = run(capsys, "judge", str(RESULTS), "policy.stop=never")
    assert code == 1
    before, after = checked["verdicts"][0], found["verdicts"][0]
    assert after["result"] != before["result"]
    assert (after["measured"], after["interval"]) == (before["measured"], before["interval"])
    assert run(capsys, "judge", after["result"], "policy.stop=never")[1]["verdicts"] == found["verdicts"]


def test_a_changed_task_file_counts_where_it_changes_scoring_alone(checked, capsys):
    task = Path("tasks/moods.yaml")
    text = task.read_text()
    try:
        task.write_text(text + "metrics: [accuracy, f1]\nrows: {validation: 240}\n")
        _, found, err = run(capsys, "judge", str(RESULTS), "policy.stop=never")
        assert found["verdicts"][0]["result"] != checked["verdicts"][0]["result"]
        assert "has changed" not in err
        task.write_text(text.replace("angry, calm", "calm, angry"))
        _, found, err = run(capsys, "judge", str(RESULTS), "policy.stop=never")
        assert found["verdicts"] == checked["verdicts"]
        assert "has changed in what is run" in " ".join(err.split())
        task.unlink()
        assert run(capsys, "judge", str(RESULTS), "policy.stop=never")[1]["verdicts"] == checked["verdicts"]
    finally:
        task.write_text(text)


def test_a_policy_that_asks_for_more_second_runs_says_what_is_missing(checked, capsys):
    code, found, err = run(capsys, "judge", str(RESULTS), "policy=strict")
    assert (code, kinds(found)) == (1, kinds(checked))
    assert "100% of the examples run a second time; 10% did" in " ".join(err.split())
    kept = {file.name for file in RESULTS.glob("*/*/measurements/*.json")}
    assert Path(found["verdicts"][0]["result"]).name in kept
    assert found["verdicts"][0]["probed"] == 24


def test_several_results_are_one_object_a_line_and_the_worst_code(checked, capsys, tmp_path):
    shutil.copytree("results/model", tmp_path / "one")
    shutil.copytree("results/model", tmp_path / "two")
    code = main(["judge", str(tmp_path / "one"), "policy.stop=never", str(tmp_path / "two"), "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [json.loads(line)["verdicts"][0]["kind"] for line in lines] == ["overstated", "overstated"]


def test_what_failed_in_the_check_is_told_again(place, checked, capsys):
    task = Path("tasks/gone.yaml")
    task.write_text(Path("tasks/moods.yaml").read_text().replace("data.parquet", "nowhere.parquet"))
    try:
        card = Path("model/README.md").read_text()
        data = "    dataset: {type: gone, name: gone}\n    metrics: [{type: accuracy, value: 0.5}]\n"
        more = f"  - task: {{type: any}}\n{data}"
        Path("model/README.md").write_text(card.replace("  results:\n", f"  results:\n{more}"))
        _, before, _ = check(capsys)
        code, found, _ = run(capsys, "judge", str(RESULTS), "policy.stop=never")
        assert (code, found["verdicts"]) == (1, before["verdicts"])
        assert "error" in [verdict["kind"] for verdict in found["verdicts"]]
    finally:
        task.unlink()


def test_a_run_that_was_deleted_is_an_error_that_says_how_to_get_it_back(checked, capsys, tmp_path):
    shutil.copytree("results/model", tmp_path / "model")
    shutil.rmtree(next((tmp_path / "model").glob("moods.validation/*")))
    code, found, _ = run(capsys, "judge", str(tmp_path / "model"), "policy.stop=never")
    assert code == 4
    assert set(kinds(found).values()) == {"error"}
    assert "verify check ./model" in found["verdicts"][0]["reason"]


def spoiled(tmp_path, name):
    """A copy of the results with one thing wrong; what to name as RESULT."""
    folder = Path(shutil.copytree("results/model", tmp_path / "model"))
    record = json.loads((folder / "claims.json").read_text())
    measured = next(folder.glob("*/*/measurements/*.json"))
    if name == "no record":
        (folder / "claims.json").unlink()
    elif name == "half a record":
        (folder / "claims.json").write_bytes((folder / "claims.json").read_bytes()[:500])
    elif name == "old record":
        (folder / "claims.json").write_text(json.dumps(record | {"schema": "verify.record/0"}))
    elif name == "changed record":
        record["claims"][0]["value"] = "high"
        (folder / "claims.json").write_text(json.dumps(record))
    elif name == "path outside":
        record["cells"][0]["run"] = "../../elsewhere"
        (folder / "claims.json").write_text(json.dumps(record))
    elif name == "other measurement":
        shutil.copy(measured, measured.parent / "0123456789abcdef.json")
        return measured.parent / "0123456789abcdef.json"
    elif name == "other run":
        return shutil.copytree(measured.parents[1], measured.parents[2] / "0123456789abcdef")
    elif name == "other file":
        (tmp_path / "notes.json").write_text('{"verdicts": []}')
        return tmp_path / "notes.json"
    elif name == "empty folder":
        (tmp_path / "empty").mkdir()
        return tmp_path / "empty"
    elif name == "nothing":
        return tmp_path / "nothing"
    return folder


@pytest.mark.parametrize("verb", ["judge", "explain"])
@pytest.mark.parametrize(
    ("name", "exit_code", "words"),
    [
        ("no record", 4, "in which a check leaves the claims"),
        ("half a record", 4, "cannot be read as JSON"),
        ("old record", 4, "verify.record/0"),
        ("changed record", 4, "claims[0].value must be a number"),
        ("path outside", 4, "leads outside the folder"),
        ("other measurement", 2, "measured on other rows"),
        ("other run", 2, "belongs to another run"),
        ("other file", 2, "is no result of a check"),
        ("empty folder", 2, "is no result of a check"),
        ("nothing", 2, "There is no"),
    ],
)
def test_what_cannot_be_judged_is_one_paragraph(checked, capsys, tmp_path, verb, name, exit_code, words):
    before = {file: file.read_bytes() for file in Path("results").rglob("*.json")}
    code = main([verb, str(spoiled(tmp_path, name)), "--json"])
    printed = capsys.readouterr()
    assert (code, printed.out) == (exit_code, "")
    (line,) = printed.err.strip().splitlines()
    assert line.startswith("verify: ")
    assert words in line
    assert {file: file.read_bytes() for file in Path("results").rglob("*.json")} == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Name a result"),
        (["results/model", "limit=5"], "limit=5"),
        (["results/model", "engine.device=cpu"], "verify check"),
        (["results/model", "policy=strikt"], '"strict"'),
        (["results/model", "policy.tolerance=2"], "policy.tolerance=2"),
    ],
)
def test_settings_that_change_nothing_are_refused(checked, capsys, arguments, words):
    assert main(["judge", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_a_model_without_claims_is_judged_too(place, capsys):
    Path("model/README.md").write_text("# A model\n")
    assert check(capsys)[0] == 3
    code = main(["judge", str(RESULTS)])
    assert code == 3
    assert "makes no claim" in capsys.readouterr().out
