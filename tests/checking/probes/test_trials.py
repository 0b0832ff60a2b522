"""What the search by further runs does: its order and end, what it keeps, and claims that nothing explains."""

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.builders import sentences

from checking.probes.reruns import (
    COLUMNS,
    LABELLED,
    TEXTS,
    Place,
    classifier,
    decisions,
    mostly,
    outcome,
    scores,
)
from verify.errors import HubError
from verify.hub import models, revisions
from verify.hub.safety import ModelRepository
from verify.judging.cases import Trial
from verify.judging.explain import search
from verify.judging.hypotheses.hypothesis import Hypothesis


@pytest.fixture(scope="module")
def unrelated(tmp_path_factory, engine):
    """A place, and a case whose claims have nothing to do with its model."""
    place = Place(tmp_path_factory.mktemp("unrelated"))
    model, words = classifier(place)
    labels = mostly(decisions(model, words, TEXTS), wrong=0.3)
    data = {"validation": {"text": TEXTS, "label": labels}, "train": {"text": TEXTS[:50], "label": labels[:50]}}
    task = place.task("sequence-classification", data, COLUMNS, more=LABELLED)
    return place, place.case(task, {"accuracy": 0.9123, "f1_macro": 0.8517})


def test_numbers_of_another_model_stay_unexplained_and_everything_that_was_tried_is_told(unrelated):
    place, case = unrelated
    case = replace(case, measurement=replace(case.measurement, flips=1))
    attempts, found = outcome(place, case)
    assert found.best is None
    tried = Counter(one.hypothesis.name for one in attempts)
    assert tried["number format"] == 2
    assert tried["another split"] == tried["batches of one"] == 1
    assert tried["length of the input"] >= 3
    assert not tried["side of truncation"], "nothing was cut"
    assert [one.hypothesis.weight for one in attempts] == sorted(one.hypothesis.weight for one in attempts)[::-1]
    assert 0 < found.chance < 0.5, "paid trials count for the chance of a coincidence"
    alone = next(one for one in attempts if one.hypothesis.name == "batches of one")
    accuracy = next(one.claim_id for one in case.claims if one.metric == "accuracy")
    assert alone.trial.values[accuracy] == pytest.approx(case.measurement.scores["accuracy"].value)
    longest = [one.variant.cut_at for one in attempts if (one.variant.cut_at or 0) > 64]
    assert not longest, "limits that cut nothing are not run: no text has more than 64 tokens"


def test_what_was_run_before_is_answered_from_the_store(unrelated, engine):
    place, case = unrelated
    first, _ = outcome(place, case)
    runs = len(engine.runs)
    again, _ = outcome(place, case)
    assert len(engine.runs) == runs
    assert [one.trial.setting for one in again] == [one.trial.setting for one in first]


def test_without_time_nothing_is_begun(unrelated, engine):
    place, case = unrelated
    runs = len(engine.runs)
    assert outcome(place, case, minutes=0.0)[0] == ()
    assert len(engine.runs) == runs


def test_time_that_runs_out_leaves_what_was_tried(unrelated, monkeypatch):
    place, case = unrelated
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr("verify.checking.probes.trials.time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    attempts, _ = outcome(place, case, minutes=3.0)
    assert 1 <= len(attempts) <= 4


def test_a_hub_that_cannot_be_asked_ends_nothing_but_the_search_for_revisions(unrelated, monkeypatch):
    place, case = unrelated
    expected, _ = outcome(place, case)

    def refused(model, revision):
        raise HubError("no access")

    monkeypatch.setattr(revisions, "earlier_revisions", refused)
    attempts, _ = outcome(place, case, subject=replace(place.subject, revision="b" * 40))
    assert [one.trial.setting for one in attempts] == [one.trial.setting for one in expected]


def test_paid_trials_stand_beside_replays(unrelated):
    place, case = unrelated
    attempts, alone = outcome(place, case)
    nearby = {one.claim_id: one.value - 0.03 for one in case.claims}
    replayed = Hypothesis("replayed", "it is {setting}", None, lambda case: [Trial("replayed", "so", nearby)])
    both = search(case, [replayed], [one.paid for one in attempts])
    assert len(both.tried) == len(attempts) + 1
    assert both.chance > alone.chance


@pytest.mark.slow
def test_a_run_ends_once_its_first_examples_rule_the_claim_out(place):
    texts = [text for seed in range(4) for text in sentences(160, seed=seed)]
    model, words = classifier(place, texts, hidden=16, layers=1)
    labels = mostly(decisions(model, words, texts), wrong=0.4)
    task = place.task(
        "sequence-classification", {"validation": {"text": texts, "label": labels}}, COLUMNS, more=LABELLED
    )
    case = place.case(task, {"accuracy": 0.9931})
    attempts, found = outcome(place, case)
    assert found.best is None
    stopped = [one for one in attempts if one.problem is None and one.n < one.population]
    assert len(stopped) >= 3
    assert all(one.population == len(texts) and one.n < len(texts) for one in stopped)
    for one in stopped:
        (value,) = one.trial.values.values()
        assert one.trial.setting == f"{one.variant.setting} (as a part of the examples shows)"
        if one.variant.cut_at in (16, 32):
            truth = np.mean(np.array(decisions(model, words, texts, max_length=one.variant.cut_at)) == labels)
            assert value == pytest.approx(truth, abs=0.08), "it holds the value that is expected of the whole"


@pytest.mark.slow
def test_an_earlier_state_of_the_repository_comes_last(place, tmp_path, monkeypatch):
    before = Place(tmp_path / "before")
    older, words = classifier(before, hidden=16)
    decided = decisions(older, words, TEXTS)
    labels = mostly(decided)
    classifier(place)
    task = place.task(
        "sequence-classification", {"validation": {"text": TEXTS, "label": labels}}, COLUMNS, more=LABELLED
    )
    case = place.case(task, scores(labels, decided))
    subject = replace(place.subject, revision="b" * 40)
    commits = ["c" * 40, "a" * 40]

    def on_hub(name, commit):
        assert (name, commit) == (subject.model, commits.pop(0))
        if commit[0] == "c":
            raise HubError("The files of this commit are gone.")
        files = tuple(sorted(file.name for file in before.model.iterdir()))
        return ModelRepository(name, commit, before.model, files, is_local=True)

    local = place.subject
    known = [revisions.Earlier(commit, "2024-05-06") for commit in commits]
    monkeypatch.setattr(revisions, "earlier_revisions", lambda model, revision: known)
    monkeypatch.setattr(models, "on_hub", on_hub)
    attempts, found = outcome(place, case, subject=replace(local, revision="b" * 40))
    assert found.best is not None
    assert [one.hypothesis.name for one in attempts[-2:]] == ["earlier revision"] * 2
    assert attempts[-2].problem == "The files of this commit are gone."
    assert attempts[-1].trial is found.best.trial
    assert attempts[-1].trial.setting == "aaaaaaaaaaaa of 2024-05-06"
    assert "earlier revision" not in {one.hypothesis.name for one in attempts[:-2]}
