"""The sections of the judge's benchmark on intervals and on rescoring, in tiny forms."""

import json
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.judge import intervals as judge_intervals
from benchmarks.judge import rescoring as judge_rescoring

from verify.engine.running.plan import example_order
from verify.metrics.registry import measure
from verify.store.predictions import Family

FIELDS = {"name", "peer", "ours", "theirs", "ratio", "unit", "runs", "equal"}


@pytest.mark.slow
def test_intervals_agree_with_those_of_every_peer():
    rows = list(judge_intervals.beside_peers(200, 300, runs=1))
    assert len(rows) == len({row["peer"] for row in rows}) == 3
    for row in rows:
        assert set(row) == FIELDS
        assert row["equal"], row["peer"]
        assert row["ratio"] == row["ours"] / row["theirs"]


def test_every_form_of_metric_has_an_interval():
    for what, metric, run in judge_intervals.forms(120):
        assert judge_intervals.interval(run, metric, {}, repetitions=50) is not None, what


def test_an_end_that_is_elsewhere_is_not_near():
    assert judge_intervals.near((0.80, 0.90), (0.801, 0.899), 2000)
    assert not judge_intervals.near((0.80, 0.90), (0.815, 0.90), 2000)
    assert not judge_intervals.near((0.80, 0.92), (0.80, 0.90), 2000)


@pytest.mark.parametrize("name", judge_rescoring.RUNS)
def test_the_runs_to_rescore_have_every_score_of_their_family(name):
    run = judge_rescoring.RUNS[name](200)
    scores, notes = measure(run)
    assert len(run) == 200
    assert len(scores) >= 4
    assert not notes
    assert all(seconds > 0 for seconds in judge_rescoring.rescored(run))


@pytest.mark.parametrize("name", judge_rescoring.RUNS)
def test_a_verdict_by_judge_is_the_same_the_first_time_and_later(name, tmp_path):
    results = judge_rescoring.left_by_a_check(judge_rescoring.RUNS[name](200), judge_rescoring.OFF, tmp_path)
    found = []
    for _ in range(2):
        assert all(seconds > 0 for seconds in judge_rescoring.judged(results))
        found.append(json.loads((results / "verdicts.json").read_text()))
        assert {one["kind"] for one in found[-1]["verdicts"]} <= {"overstated", "understated", "explained"}
        assert any(one["explanation"] for one in found[-1]["verdicts"])
    assert [one["verdicts"] for one in found] == [found[0]["verdicts"]] * 2


TEXTS = [Family.SUMMARIES, Family.TRANSLATIONS, Family.TRANSCRIPTS]


@pytest.mark.parametrize("family", TEXTS)
@pytest.mark.parametrize("population", [120, 300])
def test_a_later_verdict_on_texts_compares_none_of_them_again(family, population, tmp_path, monkeypatch):
    """Of a whole split, whose claims are searched too, and of a part of one, whose claims are tested."""
    run = judge_rescoring.texts(120, family, 8)
    run = replace(run, example=np.sort(example_order(population, 0, 120)))
    results = judge_rescoring.left_by_a_check(run, judge_rescoring.OFF, tmp_path, population)
    judge_rescoring.judged(results)
    before = json.loads((results / "verdicts.json").read_text())["verdicts"]

    def compared(*texts, **options):
        raise AssertionError("texts are compared again")

    monkeypatch.setattr("verify.metrics.families.text.rouge_scores", compared)
    monkeypatch.setattr("verify.metrics.families.text._segments", compared)
    monkeypatch.setattr("verify.metrics.families.text._bleu_counts", compared)
    monkeypatch.setattr("verify.metrics.families.speech._COUNTS", {"words": compared, "characters": compared})
    judge_rescoring.judged(results)
    assert json.loads((results / "verdicts.json").read_text())["verdicts"] == before
    monkeypatch.setattr("verify.metrics.stored.SCORER_VERSION", 999)
    with pytest.raises(AssertionError, match="compared again"):
        judge_rescoring.judged(results)
