"""``verify explain``, and the search that ``verify check`` makes by itself, on a real model and cards that err."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import write_parquet

from cli.trained import TEXTS, Place, check, kinds, run
from verify.cli.main import main
from verify.engine.running.run import run as run_job

ROOT = Path(__file__).resolve().parents[2]
RESULTS = "results/model"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("place")).build()


@pytest.fixture
def place(made, monkeypatch):
    monkeypatch.chdir(made.folder)
    return made


def printed(scores, decimals=4):
    return {name: f"{value:.{decimals}f}" for name, value in scores.items()}


def verdict_on(found, metric):
    return next(verdict for verdict in found["verdicts"] if verdict["claim"]["metric"] == metric)


def test_an_honest_card_is_reproduced_and_there_is_nothing_to_explain(place, capsys):
    place.claim(printed(place.scores()))
    code, found, _ = check(capsys)
    assert (code, set(kinds(found).values())) == (0, {"reproduced"})
    assert main(["explain", RESULTS]) == 0
    assert "nothing to explain" in capsys.readouterr().out


def test_a_swapped_label_order_is_found_by_the_check_itself(place, capsys):
    swapped = np.array([1, 0, 2])[place.predicted]
    place.claim(printed(place.scores(swapped)))
    code, found, err = check(capsys)
    assert code == 1
    assert kinds(found) == {"accuracy": "explained", "f1_macro": "explained", "f1_weighted": "explained"}
    one = verdict_on(found, "accuracy")
    assert one["explanation"]["found"]["setting"] == "angry and calm exchanged"
    assert one["explanation"]["found"]["value"] == pytest.approx(place.scores(swapped)["accuracy"])
    assert one["explanation"]["chance"] <= 0.05
    assert "angry and calm exchanged" in one["reason"]
    assert one["measured"] == pytest.approx(place.scores()["accuracy"]), "what was measured stays beside it"
    assert "angry and calm exchanged" in " ".join(err.split())


def test_macro_quoted_as_weighted_is_explained_and_the_true_number_is_not_touched(place, capsys):
    scores = place.scores()
    assert abs(scores["f1_macro"] - scores["f1_weighted"]) > 0.02, "more than flips excuse"
    place.claim(printed({"accuracy": scores["accuracy"], "f1_weighted": scores["f1_macro"]}))
    _, found, _ = check(capsys)
    assert kinds(found) == {"accuracy": "reproduced", "f1_weighted": "explained"}
    assert "macro" in verdict_on(found, "f1_weighted")["explanation"]["found"]["setting"]


def test_a_fraction_with_a_percent_sign_is_explained(place, capsys):
    place.claim({"accuracy": f"'{place.scores()['accuracy']:.4f}%'"})
    _, found, _ = check(capsys)
    (one,) = found["verdicts"]
    assert (one["claim"]["unit"], one["kind"]) == ("percent", "explained"), one["reason"]
    assert "100" in one["explanation"]["found"]["setting"] + one["reason"]


def test_a_raised_number_stays_overstated_and_everything_that_was_tried_is_listed(place, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    scores = place.scores()
    place.claim(printed({name: value + 0.0231 for name, value in scores.items()}))
    code, found, _ = check(capsys)
    assert (code, set(kinds(found).values())) == (1, {"overstated"})
    one = verdict_on(found, "accuracy")
    assert one["explanation"]["found"] is None
    assert "verify explain results/model --rerun" in one["next"]
    assert main(["explain", RESULTS]) == 1
    text = capsys.readouterr().out
    tried = one["explanation"]["tried"]
    assert len(tried) >= 5
    assert f"none of the {len(tried)} that were tried" in " ".join(text.split())
    shown = "".join(character for character in text if character not in "│ \n")
    for entry in tried:
        if entry["value"] is not None:
            assert f"{entry['value']:.4f}" in text
        assert entry["setting"].replace(" ", "") in shown


def test_explain_gives_programs_what_the_check_gave_and_keeps_it(place, capsys):
    place.claim(printed(place.scores(np.array([2, 1, 0])[place.predicted])))
    before = check(capsys)[1]
    code, found, _ = run(capsys, "explain", RESULTS, "policy.stop=never")
    assert (code, found["verdicts"]) == (1, before["verdicts"])
    assert json.loads(Path(RESULTS, "verdicts.json").read_text()) == found
    assert {"hypothesis", "version", "setting", "value", "fits"} == set(found["verdicts"][0]["explanation"]["tried"][0])


def test_a_search_of_stored_predictions_needs_neither_torch_nor_the_model(place, capsys):
    place.claim(printed(place.scores(np.array([1, 0, 2])[place.predicted])))
    check(capsys)
    shutil.move("model", "elsewhere")
    try:
        program = (
            "import sys\nfrom verify.cli.main import main\ncode = main(['explain', 'results/model', '--json'])\n"
            "print(code, sorted({'torch', 'transformers', 'datasets'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT)}
        )
    finally:
        shutil.move("elsewhere", "model")
    assert done.stderr.splitlines()[-1] == "1 []"
    assert set(kinds(json.loads(done.stdout)).values()) == {"explained"}


@pytest.fixture
def in_this_process(monkeypatch):
    """Run the engine here, which saves starting it for every setting; the settings that were run, in order."""
    tried = []

    def run_jobs(jobs, emit):
        for number, job in enumerate(jobs):
            tried.append(job.split)
            run_job(job, lambda event, number=number: emit({"job": number, **event}))
        return [None] * len(jobs)

    monkeypatch.setattr("verify.engine.running.launch.run_jobs", run_jobs)
    return tried


@pytest.fixture
def other_split(place):
    """Numbers of another split quoted as this one's: the argument that finds the task, and the claims."""
    chance = np.random.default_rng(1)
    labels = np.where(chance.random(len(TEXTS)) < 0.6, place.predicted, chance.integers(0, 3, len(TEXTS)))
    file = write_parquet(place.folder / "other.parquet", {"text": TEXTS, "label": labels.tolist()})
    text = Path("tasks/moods.yaml").read_text()
    Path("two").mkdir(exist_ok=True)
    Path("two/moods.yaml").write_text(text.replace("data_files: {", f"data_files: {{test: {file}, "))
    place.claim(printed(replace(place, labels=labels).scores()))
    yield "task_path=[two]"
    shutil.rmtree("two")


def test_numbers_of_another_split_are_explained_by_a_rerun_that_is_asked_for(
    place, other_split, in_this_process, capsys
):
    _, found, _ = run(capsys, "check", "./model", other_split, "engine.device=cpu", "policy.stop=never")
    assert set(kinds(found).values()) <= {"overstated", "understated"}
    assert in_this_process == ["validation"], "a check tries nothing that costs a run"
    settings = (RESULTS, "--rerun", "budget=5", "engine.device=cpu", "policy.stop=never")
    code, found, _ = run(capsys, "explain", *settings)
    assert (code, set(kinds(found).values())) == (1, {"explained"})
    assert in_this_process[1:] == ["test"], "nothing more is run than it takes"
    assert verdict_on(found, "accuracy")["explanation"]["found"]["setting"] == "the split test"
    shutil.move("model", "elsewhere")
    try:
        for again in (("judge", RESULTS, "policy.stop=never"), ("explain", *settings)):
            assert run(capsys, *again)[1]["verdicts"] == found["verdicts"], "what was paid for is kept"
    finally:
        shutil.move("elsewhere", "model")
    (trials,) = Path(RESULTS).rglob("trials.json")
    trials.write_text(trials.read_text()[:-30])
    code, found, err = run(capsys, "judge", RESULTS, "policy.stop=never")
    assert (code, found) == (4, None)
    assert "trials.json is damaged" in err
    run(capsys, "check", "./model", other_split, "engine.device=cpu", "policy.stop=never")
    assert set(kinds(run(capsys, "judge", RESULTS, "policy.stop=never")[1]).values()).isdisjoint({"explained"})


def test_another_model_is_not_rerun_in_the_place_of_the_one_that_was_measured(
    place, other_split, in_this_process, capsys
):
    run(capsys, "check", "./model", other_split, "engine.device=cpu", "policy.stop=never")
    config = Path("model/config.json")
    kept = config.read_text()
    try:
        config.write_text(json.dumps(json.loads(kept) | {"layer_norm_eps": 0.1}))
        assert main(["explain", RESULTS, "--rerun", "engine.device=cpu"]) == 4
    finally:
        config.write_text(kept)
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "are not those that were measured" in line


def test_a_sample_is_not_searched_and_says_what_would_be(place, capsys, tmp_path):
    place.claim({"accuracy": "0.1000"})
    results = f"results={tmp_path}"
    code, found, _ = run(
        capsys, "check", "./model", "task_path=[tasks]", "engine.device=cpu", "limit=200", "policy=screen", results
    )
    (one,) = found["verdicts"]
    assert (code, one["kind"], one["explanation"]) == (1, "understated", None)
    assert main(["explain", str(tmp_path / "model"), "policy=screen"]) == 1
    text = " ".join(capsys.readouterr().out.split())
    assert re.search(r"was not searched: \d+ of 240 examples were run", text)
    assert "policy=strict" in text


def test_lost_predictions_are_told(place, capsys, tmp_path):
    place.claim({"accuracy": "0.1000"})
    check(capsys)
    folder = Path(shutil.copytree(RESULTS, tmp_path / "model"))
    for file in folder.rglob("predictions/*.parquet"):
        file.unlink()
    assert main(["explain", str(folder), "policy.stop=never"]) == 1
    assert "no longer stored" in " ".join(capsys.readouterr().out.split())
