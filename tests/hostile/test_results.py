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

from hostile.harness import variants, verify
from hostile.kept_results import (
    CHECK,
    column,
    edit,
    is_marked,
    kept_verdicts,
    measured,
    rewritten,
    run_of,
    settled,
    shard,
)
from verify.store.files import place_of
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.store.seals import sealed


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
