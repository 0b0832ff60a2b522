"""The sections of the judge's benchmark on intervals and on rescoring, in tiny forms."""

import sys

import pytest
from builders import DEMO

sys.path.insert(0, str(DEMO.parent))

import judge_intervals
import judge_rescoring

from verify.metrics.registry import measure

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
