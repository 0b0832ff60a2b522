"""All claims of a sweep counted at once."""

import json

import pytest
from helpers.sweep_making import broken, held, missed, sampled, swept
from hypothesis import given
from hypothesis import strategies as st

from verify.checking.verdict_json import check_object
from verify.errors import EngineError
from verify.judging.many import flagged, needed
from verify.judging.tally import Judged, Tally, counted
from verify.types import VerdictKind

ALPHA = 0.05


def test_flagged_models_come_first_then_those_that_failed_then_the_rest_by_name():
    models = [
        swept("org/b", held()),
        swept("org/a", held()),
        swept("org/failed", broken(EngineError("out of memory"))),
        swept("org/off", missed(), held()),
        swept("org/gone", error="There is no such model.", error_kind="HubError"),
        swept("org/far-off", missed(), missed("0.96")),
    ]
    found = Tally.of("mine", models, ALPHA)
    assert [model.model for model in found.models] == [
        "org/far-off",
        "org/off",
        "org/failed",
        "org/gone",
        "org/a",
        "org/b",
    ]
    assert (found.attempted, found.flagged) == (6, 3)
    assert found.kinds == {VerdictKind.OVERSTATED: 3, VerdictKind.REPRODUCED: 3, VerdictKind.ERROR: 2}


def test_weak_evidence_does_not_stand_among_many_claims():
    """One claim contradicted at level 0.05 stands alone, and not among 40 honest ones."""
    weak = swept("org/weak", sampled(1 / ALPHA))
    alone = Tally.of("mine", [weak], ALPHA)
    assert (alone.flagged, alone.not_settled) == (1, [])
    among = Tally.of("mine", [weak, *(swept(f"org/{place}", held()) for place in range(40))], ALPHA)
    assert (among.attempted, among.flagged) == (41, 0)
    ((model, verdict),) = among.not_settled
    assert (model.model, verdict.own_kind, verdict.kind) == ("org/weak", "overstated", "inconclusive")
    assert among.kinds == {VerdictKind.INCONCLUSIVE: 1, VerdictKind.REPRODUCED: 40}


def test_strong_evidence_stands_and_full_reruns_make_room_for_weak_evidence():
    honest = [swept(f"org/{place}", held()) for place in range(38)]
    strong = swept("org/strong", sampled(41 / ALPHA))
    assert Tally.of("mine", [strong, *honest], ALPHA).flagged == 1
    weak = swept("org/weak", sampled(41 / (3 * ALPHA)))
    assert Tally.of("mine", [weak, *honest], ALPHA).flagged == 0
    others = [swept("org/off", missed()), swept("org/off-too", missed())]
    with_others = Tally.of("mine", [weak, *others, *honest], ALPHA)
    assert (with_others.attempted, with_others.flagged) == (41, 3)


def test_a_full_rerun_always_stands():
    models = [swept("org/off", missed()), *(swept(f"org/{place}", held()) for place in range(500))]
    assert Tally.of("mine", models, 0.001).flagged == 1


def test_evidence_that_its_own_verdict_does_not_use_makes_no_room():
    open_still = swept("org/open", sampled(1e9, answer=None))
    weak = swept("org/weak", sampled(1 / ALPHA))
    assert Tally.of("mine", [open_still, weak], ALPHA).flagged == 0


def test_a_sample_stored_without_its_evidence_has_the_least_that_contradicts():
    (entry,) = check_object("m", None, 1, [sampled(1e9)])["verdicts"]
    assert Judged.read(entry).e_value(ALPHA) == 1e9
    assert Judged.read({**entry, "e_value": None}).e_value(ALPHA) == needed(1, ALPHA)


def test_infinite_evidence_of_a_sample_is_stored_as_a_number():
    (entry,) = json.loads(json.dumps(check_object("m", None, 1, [sampled(float("inf"))])))["verdicts"]
    assert Judged.read(entry).e_value(ALPHA) > 1e300


def test_a_model_that_is_named_twice_is_counted_once():
    assert Tally.of("mine", [swept("org/a", missed()), swept("org/a", missed())], ALPHA).flagged == 1
    gone = swept("org/gone", error="no", error_kind="HubError")
    assert len(Tally.of("mine", [gone, gone], ALPHA).models) == 2


def test_a_model_that_is_refused_is_no_error():
    refused = swept("org/a", error="It would run code.", error_kind="BlockedError")
    assert Tally.of("mine", [refused], ALPHA).kinds == {VerdictKind.BLOCKED: 1}


@given(
    st.lists(st.lists(st.sampled_from([None, 0.5, 20, 100, 400, 1e4]), max_size=4), min_size=1, max_size=5),
    st.sampled_from([0.01, 0.05]),
)
def test_what_stands_is_what_the_procedure_flags(e_values, alpha):
    """Against e-BH on the bare numbers; None stands for a full rerun that contradicts."""
    models = [
        swept(f"org/{place}", *(missed() if one is None else sampled(one) for one in ones))
        for place, ones in enumerate(e_values)
    ]
    numbers = {
        f"{place} {number}": float("inf") if one is None else one
        for place, ones in enumerate(e_values)
        for number, one in enumerate(ones)
    }
    expected = flagged(numbers, alpha)
    found = {
        f"{place} {number}"
        for place, model in enumerate(counted(models, alpha))
        for number, verdict in enumerate(model.verdicts)
        if verdict.kind.holds is False
    }
    assert found == expected


@pytest.mark.parametrize("entry", [{}, {"kind": "unheard of", "evidence": None}, {"kind": "error"}])
def test_what_is_no_verdict_is_said_to_be_none(entry):
    with pytest.raises((KeyError, ValueError)):
        Judged.read(entry)
