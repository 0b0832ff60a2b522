"""Results that are damaged, by accident or by somebody: one clear error, and nothing told."""

import os

import numpy as np
import pyarrow as pa
import pytest
from cli.trained import run

from hostile.harness import variants, verify
from hostile.kept_results import CHECK, column, edit, kept_verdicts, measured, rewritten, run_of, settled, shard
from verify.cli.main import main

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
