"""A sweep of small models through workers of this machine, as a user starts it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers.builders import DEMO, bert, model_index, sentences, write_parquet, write_task

from verify.sweeping.units import Unit
from verify.sweeping.whole import check_command

COUNT = 60
NAMES = ("good", "off", "pickled", "silent")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with models/, tasks/ and conf/: one honest card, one far off, one pickle, one without claims."""
    from engine.running.test_run import plain_loop

    folder, texts = tmp_path_factory.mktemp("sweep"), sentences(COUNT)
    data = write_parquet(folder / "rows.parquet", {"text": texts, "label": [i % 2 for i in range(COUNT)]})
    write_task(folder / "tasks", "mine", data, columns="{text: text, label: label}", more="labels: ['no', 'yes']\n")
    for name in NAMES:
        model, words = bert(folder / "models" / name, texts, ["no", "yes"])
        right = sum(int(one) == i % 2 for i, one in enumerate(plain_loop(model, words, texts).argmax(1)))
        stated = {"accuracy": "0.97" if name == "off" else f"{right / COUNT:.4f}"}
        card = "# A model\n" if name == "silent" else model_index(stated, dataset="mine")
        (folder / "models" / name / "README.md").write_text(card)
    weights = folder / "models/pickled/model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    (folder / "conf/suite").mkdir(parents=True)
    for suite, names in (("all", NAMES), ("honest", ("good",)), ("silent", ("silent",)), ("gone", ("good", "gone"))):
        listed = ", ".join(f"models/{name}" for name in names)
        (folder / f"conf/suite/{suite}.yaml").write_text(f"defaults: [schema]\nmodels: [{listed}]\n")
    return folder


def command(suite, results, *more):
    words = ["sweep", f"suite={suite}", "--config-dir", "conf", "task_path=[tasks]", f"results={results}"]
    return [sys.executable, "-m", "verify", *words, "engine.device=cpu", "sweep.workers=2", *more]


def environment():
    return {**os.environ, "PYTHONPATH": str(DEMO.parents[1]), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def swept(place, suite, results, *more):
    words = command(suite, results, *more)
    done = subprocess.run(words, cwd=place, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def rows(found):
    return {row["model"]: row for row in found["models"]}


@pytest.fixture(scope="module")
def first(place):
    """The suite of all models, swept once."""
    return swept(place, "all", "results", "--json")


def test_every_model_is_judged_and_the_flagged_one_comes_first(first, place):
    assert first.returncode == 1
    found = json.loads(first.stdout)
    assert (found["schema"], found["suite"], found["exit_code"]) == ("verify.sweep/1", "all", 1)
    assert [row["model"] for row in found["models"]] == ["off", "good", "pickled", "silent"]
    assert {name: row["verdicts"] for name, row in rows(found).items()} == {
        "off": {"overstated": 1},
        "good": {"reproduced": 1},
        "pickled": {"blocked": 1},
        "silent": {},
    }
    assert (found["attempted"], found["flagged"]) == (2, 1)
    (claim,) = found["flagged_claims"]
    assert (claim["model"], claim["claim"]["literal"]) == ("off", "0.97")
    assert json.loads((place / "results/sweeps/tables/all.json").read_text()) == found


def test_plain_lines_name_each_model_as_it_ends(first):
    for name in NAMES:
        assert sum(f"] {name}: " in line for line in first.stderr.splitlines()) == 1
    assert "[4 of 4]" in first.stderr


def test_the_same_command_again_runs_nothing_and_gives_the_same_table(first, place):
    again = swept(place, "all", "results", "--json", "sweep.workers=1")
    assert "] good: " not in again.stderr
    before, after = json.loads(first.stdout), json.loads(again.stdout)
    assert (after["models"], again.returncode) == (before["models"], 1)


def test_without_json_the_table_is_on_standard_output(first, place):
    done = swept(place, "all", "results")
    assert "1 overstated" in done.stdout
    assert "2 claims attempted, 1 flagged" in done.stdout


def test_verdicts_that_were_asked_for_in_another_way_are_not_this_sweeps(place):
    def found(results, *more):
        done = swept(place, "honest", results, "--json", *more)
        return done.returncode, rows(json.loads(done.stdout))["good"]["verdicts"]

    asked = found("apart")
    (verdict,) = json.loads((place / "apart/good/verdicts.json").read_text())["verdicts"]
    (place / "fix.yaml").write_text(f"- drop: {verdict['claim']['claim_id']}\n")
    assert asked == (0, {"reproduced": 1})
    assert found("apart", "claims=fix.yaml") == (3, {})
    started = time.time()
    assert found("apart") == asked
    assert found(place / "apart") == asked, "another way to write the folder"
    assert not [file for file in (place / "apart").glob("*/verdicts.json") if file.stat().st_mtime > started]


@pytest.mark.parametrize(
    ("kinds", "code"), [("overstated", 1), ("understated", 0), ("error", 0), ("error,blocked", 1), ("impossible", 0)]
)
def test_ci_fails_for_the_kinds_that_it_names(first, place, kinds, code):
    assert swept(place, "all", "results", "--fail-on", kinds).returncode == code


def test_exit_codes_are_those_of_a_check(place, first):
    assert swept(place, "honest", "results").returncode == 0
    assert swept(place, "silent", "results").returncode == 3
    gone = swept(place, "gone", "results", "--json")
    assert gone.returncode == 4
    assert rows(json.loads(gone.stdout))["good"]["verdicts"] == {"reproduced": 1}
    assert swept(place, "gone", "results", "--fail-on", "overstated").returncode == 0
    assert swept(place, "gone", "results", "--fail-on", "overstated,error").returncode == 4


def test_a_dry_run_runs_nothing(place):
    done = swept(place, "all", "nothing", "--dry-run", "--json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert (plan["schema"], plan["models"], plan["cells"]) == ("verify.plan/1", 4, 3)
    seconds = {one["model"]: sum(cell["seconds"] for cell in one["cells"]) for one in plan["planned"]}
    assert {model for model, taken in seconds.items() if taken} == {"good", "off"}, "the others cannot be loaded"
    assert not list((place / "nothing").glob("*/verdicts.json"))
    assert "4 models" in swept(place, "all", "nothing", "--dry-run").stdout


def test_multirun_prints_a_line_for_each_combination(first, place):
    done = swept(place, "honest", "results", "--json", "--multirun", "limit=20,30")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [rows(one)["good"]["verdicts"] for one in found] == [{"inconclusive": 1}] * 2
    assert len(list((place / "results/sweeps/tables").glob("honest.*.json"))) == 2
    several = swept(place, "honest,silent", "results", "--json", "--multirun")
    assert [json.loads(line)["suite"] for line in several.stdout.splitlines()] == ["honest", "silent"]


def test_an_interrupted_sweep_says_what_is_done_and_goes_on(place):
    words = command("all", "cut", "--json")
    running = subprocess.Popen(
        words,
        cwd=place,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not list(place.glob("cut/sweeps/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "the same command goes on from there" in err
    assert "Traceback" not in err
    cut = json.loads(out)
    assert not cut["complete"]
    assert cut["models"]
    whole = json.loads(swept(place, "all", "cut", "--json").stdout)
    assert whole["complete"]
    assert sorted(rows(whole)) == sorted(NAMES)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root reads whatever there is")
def test_a_folder_that_cannot_be_read_keeps_no_other_from_being_checked(place, tmp_path):
    as_anybody = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    for name in ("locked", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text("# A model\n")
    (tmp_path / "locked").chmod(0)
    try:
        words = command("folders", tmp_path / "results", f"suite.folders=[{tmp_path}/*]", "--json")
        done = subprocess.run(
            [*as_anybody, *words],
            cwd=place,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        (tmp_path / "locked").chmod(0o700)
    found = rows(json.loads(done.stdout))
    assert "cannot be read: Permission denied" in found[str(tmp_path / "locked")]["error"]
    assert found["open"]["error"] is None


def test_one_model_is_checked_again_with_the_settings_of_the_sweep():
    typed = ["suite=mine", "limit=50", "engine.device=cpu", "sweep.workers=2", "+suite.tasks=[a]", "engine=ray"]
    unit = Unit("org/model", "key", ("sst2", "imdb"))
    words = "'tasks=[sst2,imdb]' limit=50 engine.device=cpu --config-dir 'my conf'"
    assert check_command(unit, [*typed, "--config-dir", "my conf"]) == f"verify check org/model {words}"
    assert check_command(Unit("./m", "key"), []) == "verify check ./m"
    asked = ["tasks=[a]", "engine.address=h:1", "engine=cpu"]
    assert check_command(unit, asked) == "verify check org/model 'tasks=[a]' engine=cpu"
