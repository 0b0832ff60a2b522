import numpy as np
import pytest
from helpers.claim_making import claim, measurement

from verify.judging.cases import Trial
from verify.judging.compare import judge
from verify.judging.differences import cases, with_explanations
from verify.judging.explain import search
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.store.predictions import LabelPredictions
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.tasks.resolve import Resolved
from verify.types import Unit, VerdictKind

SST2 = load_registry()["sst2"]
MATCH = Match(SST2, "validation")
SCORES = {"accuracy": 0.7, "f1_binary": 0.65, "f1_macro": 0.69, "f1_weighted": 0.68}
HIGH, TRUE, LOW = claim("0.900"), claim("0.690", "f1_macro"), claim("0.600", "f1_weighted")
PREDICTIONS = LabelPredictions(np.arange(4), np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], np.array([0, 1, 1, 1]), (0, 1))


def found(claims, measured, predictions=PREDICTIONS, match=MATCH):
    resolved = Resolved(tuple(claims), (match,) * len(claims), epochs={"accuracy": (0.8, 0.9)})
    verdicts = [judge(one, match, measured) for one in claims]
    return verdicts, cases(verdicts, resolved, [measured], lambda *_: predictions)


def test_a_case_holds_every_claim_about_the_run_and_names_those_that_differ():
    _, made = found([HIGH, TRUE, LOW], measurement(SCORES))
    case = made["sst2", "validation"]
    assert case.claims == (HIGH, TRUE, LOW)
    assert case.differing == {HIGH.claim_id, LOW.claim_id}
    assert case.task == SST2
    assert case.settings == {"threshold": 0.5, **case.settings}
    assert case.rows["validation"] == 1000, "what was counted outdoes what the task states"
    assert case.rows["train"] == SST2.rows["train"]
    assert case.epochs == {"accuracy": (0.8, 0.9)}


@pytest.mark.parametrize(
    "fields",
    [
        {"measured": measurement(SCORES, n=200, population=1000)},
        {"measured": measurement(SCORES), "predictions": None},
        {"measured": measurement(SCORES), "match": Match(load_registry()["mrpc"], "validation", split_known=False)},
        {"measured": measurement({"accuracy": 0.9, "f1_macro": 0.69, "f1_weighted": 0.6})},
    ],
)
def test_nothing_is_searched_for_samples_lost_predictions_open_splits_and_claims_that_hold(fields):
    assert found([HIGH, TRUE, LOW], **fields)[1] == {}


def hypothesis(*values):
    def replay(case):
        for value in values:
            yield Trial("made up", f"set to {value}", {HIGH.claim_id: value})

    return Hypothesis("made up", "it was {setting}", None, replay)


def explained(claims, hypotheses, deeper=None):
    verdicts, made = found(claims, measurement(SCORES))
    searches = {key: search(case, hypotheses) for key, case in made.items()}
    return verdicts, with_explanations(verdicts, searches, deeper or {})


def test_only_the_claims_that_differ_become_explained():
    _, after = explained([HIGH, TRUE], [hypothesis(0.9001)])
    assert [one.kind for one in after] == [VerdictKind.EXPLAINED, VerdictKind.REPRODUCED]
    assert after[0].explanation["found"]["setting"] == "set to 0.9001"
    assert "it was set to 0.9001" in after[0].reason
    assert after[1].explanation is None


def test_where_nothing_fits_the_next_step_names_the_count_and_the_deeper_search():
    before, after = explained(
        [HIGH, TRUE], [hypothesis(0.8, 0.85)], {("sst2", "validation"): "verify explain x --rerun"}
    )
    assert (after[0].kind, after[0].reason) == (VerdictKind.OVERSTATED, before[0].reason)
    assert "2 other settings were tried" in after[0].next_step
    assert "verify explain x --rerun" in after[0].next_step
    assert [entry["value"] for entry in after[0].explanation["tried"]] == [0.8, 0.85]
    assert "--rerun" not in explained([HIGH], [hypothesis(0.8)])[1][0].next_step


def test_a_percentage_is_compared_in_its_own_unit():
    one = claim("90.0", unit=Unit.PERCENT)

    def replay(case):
        yield Trial("made up", "another", {one.claim_id: 0.9})

    _, (after,) = explained([one], [Hypothesis("made up", "it is {setting}", None, replay)])
    assert after.explanation["found"]["value"] == pytest.approx(90.0)
