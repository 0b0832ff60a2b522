"""The engine's benchmark in a tiny form: its rows are what their readers expect, and every prediction is its peer's."""

import pytest
from bench_engine import Measured, compared, rows_of

FIELDS = {"name", "peer", "ours", "theirs", "ratio", "unit", "runs", "equal"}


@pytest.mark.slow
def test_text_classification_gives_the_predictions_of_every_peer():
    name = "text classification"
    rows = list(rows_of({name: 40}, runs=1, device="cpu", threads=1))
    assert all(set(row) == FIELDS and row["runs"] == 1 and row["equal"] for row in rows)
    beside = [row for row in rows if row["peer"] is not None]
    assert {row["name"] for row in beside} == {name, f"{name}, adaptive precision"}
    for peer in ("transformers.pipeline", "evaluate.evaluator", "a plain loop sorted by length"):
        assert any(row["peer"].startswith(peer) for row in beside)
    assert any(
        row["peer"].endswith("its default") or row["peer"].startswith("transformers.pipeline, batch 1:")
        for row in beside
    )
    assert all(row["ratio"] == row["ours"] / row["theirs"] and row["unit"] == "examples/s" for row in beside)
    facts = {row["name"].removeprefix(f"{name}: "): row["ours"] for row in rows if row["peer"] is None}
    assert 0 <= facts["places of batches that are padding"] < 1
    assert facts["share of that limit reached"] > 0
    assert facts["tokens of an input, most"] > facts["tokens of an input, mean"] > facts["tokens of an input, median"]
    assert 0 < facts["rechecked in adaptive precision"] <= 1


def test_one_different_prediction_in_one_run_is_enough_to_differ():
    ours = Measured("ours", [10.0, 30.0, 20.0], [["a", "b"], ["a", "b"], ["a", "b"]])
    theirs = Measured("theirs", [2.0, 4.0, 3.0], [["a", "b"], ["a", "c"], ["a", "b"]])
    row = compared(ours, "theirs", theirs)
    assert row["equal"] is False
    assert (row["ours"], row["theirs"], row["runs"]) == (20.0, 3.0, 3)
    assert row["ratio"] == pytest.approx(20 / 3)
    assert compared(ours, "ours", ours)["equal"] is True
