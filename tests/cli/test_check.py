"""``verify check`` from its command line to its exit code, on real models in local folders."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.builders import DEMO, bert, model_index, sentences, write_parquet, write_task

from verify.cli.main import main

TEXTS = sentences(120)
LABELS = [i % 2 for i in range(120)]


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Run ``verify check`` in an empty folder; returns the exit code, the JSON object and what went to stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str):
        code = main(["check", *arguments, "--json"])
        printed = capsys.readouterr()
        return code, json.loads(printed.out) if printed.out else None, printed.err

    return run


@pytest.fixture
def pairs(tmp_path: Path):
    """A model folder, its number of right answers on a task called mine, and the argument that finds the task."""
    from engine.running.test_run import plain_loop

    model, words = bert(tmp_path / "model", TEXTS, ["no", "yes"])
    right = int((plain_loop(model, words, TEXTS).argmax(1) == LABELS).sum())
    file = write_parquet(tmp_path / "data.parquet", {"text": TEXTS, "label": LABELS})
    write_task(tmp_path / "tasks", "mine", file, columns="{text: text, label: label}", more="labels: ['no', 'yes']\n")
    return tmp_path / "model", right, "task_path=[tasks]"


def card(model: Path, text: str) -> None:
    (model / "README.md").write_text(text)


def kinds(found) -> dict[str, str]:
    return {verdict["claim"]["literal"]: verdict["kind"] for verdict in found["verdicts"]}


def test_the_demo_is_judged_as_its_maker_knows(check):
    code, found, err = check(str(DEMO / "digits-vit"), f"task_path=[{DEMO / 'tasks'}]")
    assert code == found["exit_code"] == 1
    assert kinds(found) == json.loads((DEMO / "expected.json").read_text())
    inflated = next(verdict for verdict in found["verdicts"] if verdict["kind"] == "overstated")
    assert inflated["delta"] == pytest.approx(-0.01, abs=5e-5)
    assert inflated["claim"]["file"] == "README.md"
    lines = (DEMO / "digits-vit" / "README.md").read_text().splitlines()
    assert inflated["claim"]["literal"] in lines[inflated["claim"]["line"] - 1]
    assert "1 overstated, 1 impossible, 3 reproduced, 1 unverifiable" in err
    assert Path("results/digits-vit/verdicts.json").is_file()


def test_the_same_command_again_answers_from_the_store(check, pairs, monkeypatch):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    first = check(str(model), path)
    assert first[0] == 0

    def no_worker(*_):
        raise AssertionError("the engine was started")

    monkeypatch.setattr("verify.engine.running.launch.Worker.__init__", no_worker)
    again = check(str(model), path)
    assert again[:2] == first[:2]
    looser = check(str(model), path, "policy.tolerance=0.02")
    interval, wider = (found["verdicts"][0]["interval"] for found in (first[1], looser[1]))
    assert wider[0] == pytest.approx(interval[0] - 0.02)
    assert wider[1] == pytest.approx(interval[1] + 0.02)


def test_a_changed_tolerance_changes_the_verdict_without_inference(check, pairs, monkeypatch):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120 + 0.1:.4f}"}, dataset="mine"))
    assert kinds(check(str(model), path)[1]) == {f"{right / 120 + 0.1:.4f}": "overstated"}
    monkeypatch.setattr("verify.engine.running.launch.Worker.__init__", None)
    code, found, _ = check(str(model), path, "policy.tolerance=0.11")
    assert code == 0
    assert found["verdicts"][0]["rule"] == "within rounding and numerical noise"


def test_a_new_scorer_version_scores_stored_predictions_again(check, pairs, monkeypatch):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    check(str(model), path)
    monkeypatch.setattr("verify.engine.running.launch.Worker.__init__", None)
    monkeypatch.setattr("verify.checking.identity.SCORER_VERSION", 999)
    code, found, _ = check(str(model), path)
    assert code == 0
    assert len(list(Path("results").glob("model/*/*/measurements/*.json"))) == 2
    assert found["verdicts"][0]["measured"] == pytest.approx(right / 120)


def test_other_weights_are_another_run(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    first = check(str(model), path)[1]["verdicts"][0]["result"]
    shutil.copy(model / "README.md", "kept.md")
    bert(model, TEXTS, ["no", "yes"], layers=1)
    second = check(str(model), path)[1]["verdicts"][0]["result"]
    assert Path(first).parents[1] != Path(second).parents[1]


def test_a_sample_settles_nothing_and_the_full_run_goes_on_from_it(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    code, found, _ = check(str(model), path, "limit=50")
    assert code == 3
    assert kinds(found).popitem()[1] == "inconclusive"
    assert found["verdicts"][0]["n"] == 50
    assert re.search(r"About \d+ more examples would settle it", found["missing"][0]["next"])
    assert check(str(model), path)[0] == 0
    assert len(list(Path("results").glob("model/*/*"))) == 1


def test_a_claim_without_a_task_says_what_is_missing(check, pairs):
    model, _, path = pairs
    card(model, model_index({"accuracy": 0.9}, dataset="another"))
    code, found, _ = check(str(model), path)
    assert code == 3
    assert kinds(found) == {"0.9": "unverifiable"}
    assert found["missing"][0]["reason"] == "No task describes the data set another."
    assert "task_path=[FOLDER]" in found["missing"][0]["next"]


def test_a_split_that_the_data_lack_is_unverifiable_and_named(check, pairs):
    model, _, path = pairs
    card(model, model_index({"accuracy": 0.9}, dataset="mine", split="test"))
    code, found, _ = check(str(model), path)
    assert code == 3
    assert kinds(found) == {"0.9": "unverifiable"}
    assert "names no split 'test'" in found["missing"][0]["reason"]
    assert "validation" in found["missing"][0]["reason"]


def test_an_impossible_number_costs_no_inference(check, pairs):
    model, _, path = pairs
    task = Path("tasks/mine.yaml")
    task.write_text(task.read_text() + "rows: {validation: 120}\n")
    card(model, model_index({"accuracy": "0.4125"}, dataset="mine"))
    code, found, err = check(str(model), path)
    assert code == 1
    assert kinds(found) == {"0.4125": "impossible"}
    assert found["verdicts"][0]["evidence"] == "arithmetic"
    assert "before anything is run" in err
    assert not list(Path("results").glob("model/*/*/worker.log"))


def test_where_the_split_is_run_anyway_the_size_says_more_than_that_a_number_is_impossible(check, pairs):
    model, right, path = pairs
    task = Path("tasks/mine.yaml")
    task.write_text(task.read_text() + "rows: {validation: 120}\n")
    far, near, true = (f"{value:.5f}" for value in (right / 120 + 0.1004, right / 120 + 0.0004, right / 120))
    entries = "".join(f"    - {{type: accuracy, value: {value}}}\n" for value in (far, near, true))
    text = model_index({"accuracy": 0}, dataset="mine").replace("    - {type: accuracy, value: 0}\n", entries)
    card(model, text)
    code, found, _ = check(str(model), path)
    assert code == 1
    assert kinds(found) == {far: "overstated", near: "impossible", true: "reproduced"}
    overstated, impossible, _ = found["verdicts"]
    assert overstated["delta"] == pytest.approx(-0.1004, abs=1e-5)
    assert "cannot be one run" in overstated["notes"][0]
    assert impossible["measured"] == pytest.approx(right / 120)


def test_a_card_without_claims_settles_nothing(check, pairs):
    model, _, path = pairs
    card(model, "# A model\nIt is good.\n")
    code, found, err = check(str(model), path)
    assert (code, found["verdicts"]) == (3, [])
    assert "makes no claim" in err


def test_a_task_asked_for_by_name_is_measured_without_a_claim(check, pairs):
    model, right, path = pairs
    card(model, "# A model\n")
    code, found, _ = check(str(model), path, "tasks=[mine]")
    assert code == 3
    assert found["measurements"][0]["scores"]["accuracy"] == {
        "value": pytest.approx(right / 120),
        "n": 120,
        "count": right,
        "budget": pytest.approx(found["measurements"][0]["scores"]["accuracy"]["budget"]),
    }


def test_pickled_weights_are_blocked_and_never_loaded(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    code, found, _ = check(str(model), path)
    assert code == 3
    assert found["verdicts"][0]["kind"] == "blocked"
    assert "safetensors" in found["verdicts"][0]["reason"]
    assert not list(Path("results").glob("model/*/*/worker.log"))


def test_remote_code_is_blocked(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    code, found, _ = check(str(model), path)
    assert code == 3
    assert found["verdicts"][0]["kind"] == "blocked"
    assert "auto_map" in found["verdicts"][0]["reason"]


def test_a_run_that_fails_is_an_error_with_the_command_that_retries(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    (model / "tokenizer.json").write_text("{")
    code, found, _ = check(str(model), path)
    assert code == 4
    assert found["verdicts"][0]["kind"] == "error"
    assert found["verdicts"][0]["next"] == f"To try again: {shlex.join(['verify', 'check', str(model), path])}"


def test_one_bad_task_does_not_spoil_the_other(check, pairs):
    model, right, path = pairs
    write_task(Path("tasks"), "gone", Path("nowhere.parquet"), columns="{text: text, label: label}")
    good = model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine")
    entry = "  - task: {type: text-classification}\n    dataset: {type: gone, name: gone, split: validation}\n"
    card(
        model,
        good.replace("  results:\n", f"  results:\n{entry}    metrics:\n    - {{type: accuracy, value: 0.777}}\n"),
    )
    code, found, _ = check(str(model), path)
    assert code == 4
    assert kinds(found) == {"0.777": "error", f"{right / 120:.4f}": "reproduced"}


def test_classes_of_another_order_are_aligned_by_name(check, pairs):
    model, right, path = pairs
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "YES", "1": "NO"}, "label2id": {"YES": 0, "NO": 1}}
    (model / "config.json").write_text(json.dumps(config))
    card(model, model_index({"accuracy": f"{(120 - right) / 120:.4f}"}, dataset="mine"))
    code, found, _ = check(str(model), path)
    assert code == 0
    assert any("orders them differently" in note for note in found["verdicts"][0]["notes"])


def test_a_fallback_to_the_order_of_classes_is_stated(check, pairs):
    model, right, path = pairs
    config = json.loads((model / "config.json").read_text())
    config |= {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (model / "config.json").write_text(json.dumps(config))
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    _, found, err = check(str(model), path)
    assert any("aligned by order" in note for note in found["verdicts"][0]["notes"])
    assert "aligned by order" in re.sub(r"\s+", " ", err)


def test_a_metric_of_the_users_own_is_an_evaluate_module(check, pairs):
    model, right, path = pairs
    Path("errors").mkdir()
    Path("errors/errors.py").write_text(
        "import datasets\nimport evaluate\n\n\n"
        "class Errors(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        number = datasets.Value('int64')\n"
        "        features = datasets.Features({'predictions': number, 'references': number})\n"
        "        return evaluate.MetricInfo(description='', citation='', features=features)\n\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'error_rate': sum(p != r for p, r in zip(predictions, references)) / len(references)}\n"
    )
    task = Path("tasks/mine.yaml")
    task.write_text(task.read_text() + f"metrics: [accuracy, 'evaluate:{Path('errors').resolve()}']\n")
    card(model, "# A model\n")
    _, found, _ = check(str(model), path, "tasks=[mine]")
    assert found["measurements"][0]["scores"]["error_rate"]["value"] == pytest.approx(1 - right / 120)


def test_one_yaml_file_of_five_keys_and_no_python_makes_a_task(check, pairs):
    model, right, _ = pairs
    Path("mine").mkdir()
    Path("rows.csv").write_text(
        "body,stars\n" + "".join(f"{t},{label}\n" for t, label in zip(TEXTS, LABELS, strict=True))
    )
    Path("mine/reviews.yaml").write_text(
        "kind: sequence-classification\n"
        "dataset: {path: csv, split: test, data_files: {test: ../rows.csv}}\n"
        "columns: {text: body, label: stars}\n"
        "metrics: [accuracy]\n"
        "aliases: [my reviews]\n"
    )
    card(model, model_index({"accuracy": f"{right / 120:.3f}"}, dataset="my-reviews", split="test"))
    code, found, _ = check(str(model), "task_path=[mine]")
    assert (code, kinds(found)) == (0, {f"{right / 120:.3f}": "reproduced"})


def test_a_results_folder_that_cannot_be_made_is_an_error(check, pairs):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    Path("file").write_text("")
    code, _, err = check(str(model), path, "results=file")
    assert code == 4
    assert "results=FOLDER" in re.sub(r"\s+", " ", err)


def test_a_suite_checks_every_model_and_goes_on_after_one_that_is_missing(check, pairs, capsys):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    Path("conf/suite").mkdir(parents=True)
    Path("conf/suite/two.yaml").write_text(f"defaults: [schema]\nmodels: [./missing, {model}]\n")
    code = main(["check", "suite=two", path, "--config-dir", "conf", "--json"])
    printed = capsys.readouterr()
    assert code == 4
    assert "There is no folder ./missing" in re.sub(r"\s+", " ", printed.err)
    assert json.loads(printed.out)["verdicts"][0]["kind"] == "reproduced"


def test_a_multirun_runs_every_combination_and_leaves_no_folder(check, pairs, capsys):
    model, right, path = pairs
    card(model, model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    before = set(Path().iterdir())
    code = main(["check", str(model), path, "limit=30,60", "--multirun", "--json"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 3
    assert [json.loads(line)["verdicts"][0]["n"] for line in lines] == [30, 60]
    assert set(Path().iterdir()) - before == {Path("results")}
