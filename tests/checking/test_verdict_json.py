import json

import pytest
from helpers.claim_making import claim, measurement

from verify.checking.verdict_json import check_object
from verify.judging.compare import judge
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Score, Unit, Verdict, VerdictKind

MATCH = Match(load_registry()["sst2"], "validation", notes=("twice", "twice"))


def strict(found):
    """What a strict reader gets: no NaN, no Infinity, no object of Python's own."""
    return json.loads(json.dumps(found, allow_nan=False))


def exported(*verdicts, measurements=()):
    return strict(check_object("org/model", "abc", 1, verdicts, measurements))


def judged(literal="91.0", unit=Unit.PERCENT, score=0.90):
    return judge(claim(literal, unit=unit, dataset="glue"), MATCH, measurement({"accuracy": score}, result="r.json"))


def test_the_fields_that_other_programs_read():
    found = exported(judged())
    assert {"schema", "model", "revision", "exit_code", "verdicts", "missing"} <= set(found)
    assert (found["schema"], found["model"], found["revision"], found["exit_code"]) == (
        "verify.check/1",
        "org/model",
        "abc",
        1,
    )
    (one,) = found["verdicts"]
    asked = "kind claim measured delta interval n population evidence rule reason explanation result"
    assert set(asked.split()) <= set(one)
    assert (one["kind"], one["evidence"], one["n"], one["population"]) == ("overstated", "full", 1000, 1000)
    assert (one["measured"], one["delta"]) == pytest.approx((90.0, -1.0))
    assert one["interval"] == pytest.approx([90.95, 91.05])
    assert (one["explanation"], one["result"], one["notes"]) == (None, "r.json", ["twice"])


def test_the_claim_stands_as_verify_claims_prints_it():
    (one,) = exported(judged())["verdicts"]
    asked = "metric value literal unit interval task dataset config split settings subject where file line quote"
    assert {*asked.split(), "claim_id"} <= set(one["claim"])
    assert (one["claim"]["literal"], one["claim"]["value"], one["claim"]["unit"]) == ("91.0", 91.0, "percent")
    assert (one["claim"]["where"], one["claim"]["file"], one["claim"]["line"]) == ("model-index", "README.md", 7)


def test_what_is_open_is_listed_with_what_would_help():
    open_one = Verdict(VerdictKind.UNVERIFIABLE, claim(), "no task", "No task.", "Write one.")
    found = exported(judged(), open_one)
    (missing,) = found["missing"]
    assert missing == {"claim_id": open_one.claim.claim_id, "reason": "No task.", "next": "Write one."}
    assert found["verdicts"][1]["measured"] is None
    assert found["verdicts"][1]["evidence"] is None


def test_numbers_that_are_not_finite_become_null():
    one = Verdict(
        VerdictKind.ERROR,
        claim(settings={"share": float("nan")}),
        "failed",
        "It failed.",
        measured=float("inf"),
        explanation={"scores": (1.0, float("-inf"))},
    )
    found = exported(one, measurements=[measurement({"accuracy": Score(float("nan"), 5)})])
    assert found["verdicts"][0]["measured"] is None
    assert found["verdicts"][0]["claim"]["settings"]["share"] is None
    assert found["verdicts"][0]["explanation"] == {"scores": [1.0, None]}
    assert found["measurements"][0]["scores"]["accuracy"] == {"value": None, "n": 5, "count": None, "budget": 0.0}


def test_an_empty_result_is_an_object_too():
    found = exported()
    assert (found["verdicts"], found["missing"], found["measurements"]) == ([], [], [])
