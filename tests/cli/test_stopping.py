"""Runs that stop as soon as the policy's question is answered, and go on when more is asked."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import bert, model_index, sentences, write_parquet, write_task

from verify.cli.main import main

COUNT = 3000


@pytest.fixture(scope="module")
def subject(tmp_path_factory):
    """A folder with a model, a task called mine, and the model's number of right answers."""
    from engine.running.test_run import plain_loop

    folder = tmp_path_factory.mktemp("stopping")
    distinct = sentences(120)
    texts = [distinct[i % len(distinct)] for i in range(COUNT)]
    labels = np.random.default_rng(0).integers(2, size=COUNT).tolist()
    model, words = bert(folder / "model", distinct, ["no", "yes"])
    predicted = plain_loop(model, words, distinct).argmax(1)
    right = sum(int(predicted[i % len(distinct)]) == label for i, label in enumerate(labels))
    file = write_parquet(folder / "data.parquet", {"text": texts, "label": labels})
    write_task(folder / "tasks", "mine", file, columns="{text: text, label: label}", more="labels: ['no', 'yes']\n")
    return folder, right


@pytest.fixture
def check(subject, tmp_path, monkeypatch, capsys):
    """Run ``verify check`` with the claims given; results go to a fresh folder."""
    folder, _ = subject
    monkeypatch.chdir(tmp_path)

    def run(claims: dict[str, str], *arguments: str):
        (folder / "model" / "README.md").write_text(model_index(claims, dataset="mine"))
        main(["check", str(folder / "model"), f"task_path=[{folder / 'tasks'}]", *arguments, "--json"])
        printed = capsys.readouterr()
        return json.loads(printed.out), printed.err

    return run


def stored_rows(found) -> int:
    from verify.store.runs import PREDICTIONS, RunFolder

    return len(RunFolder(Path(found["verdicts"][0]["result"]).parents[1]).examples(PREDICTIONS))


def test_a_gross_difference_stops_the_run_and_strict_goes_on_from_there(check, subject):
    _, right = subject
    first, _ = check({"accuracy": "0.95"}, "engine.batch_size=16")
    (verdict,) = first["verdicts"]
    assert (verdict["kind"], verdict["evidence"]) == ("overstated", "sampled")
    assert verdict["n"] < COUNT / 2
    assert verdict["population"] == COUNT
    stored = stored_rows(first)

    again, err = check({"accuracy": "0.95"}, "engine.batch_size=16")
    assert again["verdicts"][0]["n"] == verdict["n"]
    assert stored_rows(again) == stored
    assert "loading the model" not in err

    (full,) = check({"accuracy": "0.95"}, "policy=strict", "policy.probe_share=0.1")[0]["verdicts"]
    assert (full["n"], full["evidence"]) == (COUNT, "full")
    assert full["measured"] == pytest.approx(right / COUNT)


def test_an_honest_claim_is_confirmed_on_the_whole_split(check, subject):
    _, right = subject
    (verdict,) = check({"accuracy": f"{right / COUNT:.4f}"})[0]["verdicts"]
    assert (verdict["kind"], verdict["evidence"], verdict["n"]) == ("reproduced", "full", COUNT)


def test_one_open_claim_keeps_the_run_going(check, subject):
    _, right = subject
    found, _ = check({"accuracy": f"{right / COUNT:.4f}", "f1": "0.99"})
    assert {verdict["n"] for verdict in found["verdicts"]} == {COUNT}
    assert found["verdicts"][0]["kind"] == "reproduced"


def test_screening_stops_once_a_claim_lies_within_the_margin(check, subject):
    _, right = subject
    (verdict,) = check({"accuracy": f"{right / COUNT:.4f}"}, "policy=screen", "policy.margin=0.06")[0]["verdicts"]
    assert (verdict["kind"], verdict["evidence"]) == ("consistent", "sampled")
    assert verdict["n"] < COUNT


def test_strict_never_stops(check):
    (verdict,) = check({"accuracy": "0.99"}, "policy=strict", "policy.probe_share=0")[0]["verdicts"]
    assert (verdict["n"], verdict["evidence"]) == (COUNT, "full")


def test_a_sample_that_was_asked_for_is_judged_as_one(check):
    (verdict,) = check({"accuracy": "0.99"}, "limit=300")[0]["verdicts"]
    assert (verdict["kind"], verdict["evidence"], verdict["n"] <= 300) == ("overstated", "sampled", True)
