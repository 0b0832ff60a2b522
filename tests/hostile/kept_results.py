"""Kept results of the demo, of an earlier version and made here, and ways to change what is stored."""

import hashlib
import json
from pathlib import Path

import pyarrow.parquet as pq

from verify.store.runs import PREDICTIONS

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/results-0.1.0"
DEMO = ROOT / "scripts/demo"
TASKS = f"task_path=[{DEMO / 'tasks'}]"
CHECK = ("check", str(DEMO / "digits-vit"), TASKS, "engine.device=cpu", "policy.probe_share=0.02", "policy.stop=never")


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
