"""precision=adaptive against float32, on models whose decisions are narrow ones."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.builders import DEMO, bert, save, sentences
from transformers import BertForSequenceClassification

from engine.job_making import (
    as_list,
    bring_to_ties,
    events_of,
    job_on,
    predictions_of,
    shards_of,
    totals,
)
from engine.kinds import test_token_classification as tagging
from verify.engine.running import adaptive
from verify.engine.running import loop as loop_module
from verify.engine.running import run as run_module
from verify.engine.running.adaptive import CALIBRATION, SAFETY, movements, run_adaptive
from verify.engine.running.launch import Worker
from verify.errors import EngineError
from verify.metrics.flips.budget import decisions
from verify.store.predictions import Family, LabelPredictions, TagPredictions
from verify.store.runs import DRAFT, PREDICTIONS, RunFolder
from verify.tasks.registry import load_registry

COUNT = 400
TEXTS = sentences(COUNT)
COLUMNS = {"text": "text", "label": "label"}
NAMES = ["bad", "neutral", "good"]
LABELS = [i % 3 for i in range(COUNT)]


def narrow(folder: Path, seed: int = 0, spread: float = 0.1, **options) -> BertForSequenceClassification:
    """A model of three classes that are nearly tied on every text, and in the mean of all texts just so."""
    model, words = bert(folder / "model", TEXTS, NAMES, **options)
    bring_to_ties(model.classifier, spread, seed)
    with torch.inference_mode():
        logits = model(**words(TEXTS, padding=True, return_tensors="pt")).logits
    model.classifier.bias.data = -logits.mean(dim=0)
    save(folder / "model", model)
    return model


def three_classes(folder: Path, **options):
    return job_on(
        folder,
        "sequence-classification",
        {"text": TEXTS, "label": LABELS},
        COLUMNS,
        more=f"labels: {json.dumps(NAMES)}\n",
        **{"probe_share": 0.0, **options},
    )


def both(job):
    """The job's predictions in exact and in adaptive precision, and the job of the latter."""
    exact = replace(job, run_folder=f"{job.run_folder}-exact")
    adapted = replace(job, precision="adaptive")
    events_of(exact)
    events_of(adapted)
    return predictions_of(exact), predictions_of(adapted), adapted


def certificate_of(job) -> dict:
    return RunFolder(Path(job.run_folder)).info()["certificate"]


def assert_certified(job) -> dict:
    """Everything that the certificate says, worked out again from what is stored; returns the certificate."""
    draft, final = predictions_of(job, DRAFT), predictions_of(job)
    assert draft.example.tolist() == final.example.tolist()
    ran = np.array([(one != other).any() for one, other in zip(draft.logits, final.logits, strict=True)])
    difference = draft.logits.astype(np.float64) - final.logits
    moved = np.ptp(difference, axis=1) if isinstance(draft, LabelPredictions) else np.abs(difference).max(axis=1)
    said = certificate_of(job)
    assert said["compared"] == ran.sum() >= min(CALIBRATION, len(final))
    assert said["rechecked"] == pytest.approx(ran.sum() / len(final))
    assert said["largest"] == pytest.approx(moved.max())
    assert said["bound"] == pytest.approx(SAFETY * moved.max())
    assert said["changed"] == (decisions(draft) != decisions(final)).sum()
    assert ran[draft.margins() <= said["bound"]].all(), "every narrow decision was made in float32"
    return said


@pytest.mark.parametrize("seed", range(5))
def test_narrow_decisions_are_those_of_float32(tmp_path, seed):
    narrow(tmp_path, seed)
    exact, adapted, job = both(three_classes(tmp_path, seed=seed))
    assert (decisions(adapted) == decisions(exact)).all()
    said = assert_certified(job)
    assert said["changed"] > 0, "bfloat16 alone would have decided some of them otherwise"
    assert said["rechecked"] < 1
    assert exact.reference.tolist() == adapted.reference.tolist()


def test_where_decisions_are_clear_only_some_are_made_in_float32(tmp_path):
    bert(tmp_path / "model", TEXTS, NAMES)
    exact, adapted, job = both(three_classes(tmp_path))
    assert (decisions(adapted) == decisions(exact)).all()
    assert CALIBRATION / COUNT <= assert_certified(job)["rechecked"] < 0.6


@pytest.mark.parametrize("is_quick", [True, False])
def test_a_device_that_is_slow_at_bfloat16_is_named(tmp_path, monkeypatch, is_quick):
    monkeypatch.setattr(adaptive, "computes_bfloat16", lambda: is_quick)
    bert(tmp_path / "model", TEXTS, NAMES, hidden=64)
    exact, adapted, job = both(three_classes(tmp_path))
    assert (decisions(adapted) == decisions(exact)).all()
    notes = RunFolder(Path(job.run_folder)).info()["notes"]
    assert any("no instructions for bfloat16" in note for note in notes) == (not is_quick)


@pytest.mark.parametrize("seed", range(3))
def test_sets_of_labels_are_those_of_float32(tmp_path, seed):
    model, _ = bert(tmp_path / "model", TEXTS, NAMES)
    bring_to_ties(model.classifier, 0.0, seed)
    model.classifier.weight.data *= torch.tensor([[0.02], [-0.05], [0.1]])
    model.config.problem_type = "multi_label_classification"
    save(tmp_path / "model", model)
    labels = [[name for place, name in enumerate(NAMES) if (i >> place) % 2] for i in range(COUNT)]
    job = job_on(
        tmp_path,
        "sequence-classification",
        {"text": TEXTS, "label": labels},
        COLUMNS,
        more=f"labels: {json.dumps(NAMES)}\n",
        probe_share=0.0,
        seed=seed,
    )
    exact, adapted, job = both(job)
    assert adapted.family is Family.MULTI_LABEL
    assert (exact.predicted() == adapted.predicted()).all()
    assert assert_certified(job)["rechecked"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_tags_are_those_of_float32(tmp_path, seed):
    words = [text.split() for text in sentences(COUNT, seed=seed)]
    tags = [[(len(word) + place) % 5 for place, word in enumerate(row)] for row in words]
    model, _ = tagging.bert(tmp_path / "model", [" ".join(row) for row in words])
    bring_to_ties(model.classifier, 0.3, seed)
    save(tmp_path / "model", model)
    job = job_on(
        tmp_path,
        "token-classification",
        {"words": words, "tags": tags},
        tagging.COLUMNS,
        more=f"labels: {json.dumps(list(tagging.TAGS))}\n",
        probe_share=0.0,
        seed=seed,
    )
    exact, adapted, job = both(job)
    assert [as_list(row) for row in adapted.tags] == [as_list(row) for row in exact.tags]
    said, draft = certificate_of(job), predictions_of(job, DRAFT)
    assert 0 < said["largest"] < said["bound"] == SAFETY * said["largest"]
    assert said["rechecked"] <= 1
    assert said["changed"] == sum(list(a) != list(b) for a, b in zip(draft.tags, exact.tags, strict=True))


def test_images_are_those_of_float32(tmp_path):
    task = load_registry([str(DEMO / "tasks")])["digits"]
    job = replace(three_classes(tmp_path), task=task, split="test", model_folder=str(DEMO / "digits-vit"))
    exact, adapted, job = both(job)
    assert (decisions(adapted) == decisions(exact)).all()
    assert assert_certified(job)["rechecked"] < 1


def test_a_small_set_is_run_in_float32_as_a_whole(tmp_path):
    narrow(tmp_path)
    exact, adapted, job = both(three_classes(tmp_path, limit=60))
    np.testing.assert_allclose(adapted.logits, exact.logits, atol=1e-5)
    assert assert_certified(job)["rechecked"] == 1


def interrupted(monkeypatch, after: int) -> None:
    """From now on the model fails after so many batches."""
    forward, calls = BertForSequenceClassification.forward, []

    def failing(self, *arguments, **inputs):
        calls.append(1)
        if len(calls) > after:
            raise RuntimeError("the plug was pulled")
        return forward(self, *arguments, **inputs)

    monkeypatch.setattr(BertForSequenceClassification, "forward", failing)


@pytest.mark.parametrize("after", [1, 4, 8, 9, 12])
def test_a_run_that_was_cut_off_goes_on_with_what_it_has(tmp_path, monkeypatch, after):
    narrow(tmp_path)
    job = replace(three_classes(tmp_path), precision="adaptive", batch_size=50)
    interrupted(monkeypatch, after)
    with pytest.raises(RuntimeError, match="plug"):
        events_of(job)
    monkeypatch.undo()
    drafted, kept = shards_of(job, DRAFT), len(RunFolder(Path(job.run_folder)).examples(DRAFT))
    exactly = len(RunFolder(Path(job.run_folder)).examples(PREDICTIONS))
    assert drafted
    assert kept == 50 * min(after, 8), "the draft takes 8 batches"
    assert (exactly > 0) == (after > 8)
    events = events_of(replace(job, batch_size=None))
    assert totals(events, DRAFT) == [COUNT - kept]
    assert drafted <= shards_of(job, DRAFT)
    exact = replace(three_classes(tmp_path, run="whole"))
    events_of(exact)
    assert (decisions(predictions_of(job)) == decisions(predictions_of(exact))).all()
    assert_certified(job)


def test_a_finished_run_costs_nothing_again(tmp_path):
    narrow(tmp_path)
    job = replace(three_classes(tmp_path), precision="adaptive")
    events_of(job)
    said, before = certificate_of(job), shards_of(job)
    events = events_of(job)
    assert [*totals(events, DRAFT), *totals(events, PREDICTIONS)] == [0]
    assert certificate_of(job) == said
    assert shards_of(job) == before


def test_decisions_taken_over_under_a_smaller_bound_are_made_again_under_a_larger_one(tmp_path, monkeypatch):
    narrow(tmp_path)
    job = replace(three_classes(tmp_path), precision="adaptive")
    monkeypatch.setattr(adaptive, "SAFETY", 0.05)
    events_of(replace(job, limit=300))
    early = certificate_of(job)
    monkeypatch.undo()
    events_of(job)
    said = assert_certified(job)
    assert said["bound"] > 10 * early["bound"]
    exact = three_classes(tmp_path, run="whole")
    events_of(exact)
    assert (decisions(predictions_of(job)) == decisions(predictions_of(exact))).all()
    assert predictions_of(job).example.tolist() == list(range(COUNT))


def test_the_time_allowed_gives_whole_portions(tmp_path, monkeypatch):
    narrow(tmp_path)
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    forward = BertForSequenceClassification.forward

    def slow(self, *arguments, **inputs):
        clock.now += 1.0
        return forward(self, *arguments, **inputs)

    monkeypatch.setattr(loop_module, "time", clock)
    monkeypatch.setattr(run_module, "time", clock)
    monkeypatch.setattr(BertForSequenceClassification, "forward", slow)
    monkeypatch.setattr(adaptive, "FIRST_PORTION", 150)
    job = replace(three_classes(tmp_path), precision="adaptive", batch_size=50)
    events_of(replace(job, budget=11.0))
    done = set(predictions_of(job).example.tolist())
    order = np.random.default_rng(0).permutation(COUNT)
    assert set(order[:150].tolist()) <= done
    assert len(done) < COUNT
    assert certificate_of(job)["compared"] >= CALIBRATION
    with pytest.raises(EngineError, match=r"budget=0\.05 minutes ran out"):
        events_of(replace(job, budget=3.0, run_folder=str(tmp_path / "short")))
    events_of(job)
    exact = three_classes(tmp_path, run="whole")
    events_of(exact)
    assert (decisions(predictions_of(job)) == decisions(predictions_of(exact))).all()
    assert_certified(job)


def test_two_processes_give_the_predictions_of_float32(tmp_path):
    narrow(tmp_path)
    job = replace(three_classes(tmp_path), precision="adaptive", processes=2)
    assert Worker([job]).follow(lambda event: None) == {0: None}
    exact = three_classes(tmp_path, run="whole")
    events_of(exact)
    found = predictions_of(job)
    assert found.example.tolist() == list(range(COUNT))
    assert (decisions(found) == decisions(predictions_of(exact))).all()
    assert_certified(job)
    assert RunFolder(Path(job.run_folder)).info()["processes"] == 2


def test_a_number_has_no_decision_to_check(tmp_path):
    bert(tmp_path / "model", TEXTS, None)
    job = job_on(
        tmp_path,
        "sequence-classification",
        {"text": TEXTS, "label": [i / 7 for i in range(COUNT)]},
        COLUMNS,
        precision="adaptive",
    )
    with pytest.raises(EngineError) as caught:
        events_of(job)
    assert "engine.precision=adaptive needs predictions that are decisions" in str(caught.value)
    assert "engine.dtype=bfloat16" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not shards_of(job, DRAFT)


@pytest.mark.parametrize("family", [Family.SIMILARITY, Family.LIKELIHOOD, Family.REGRESSION])
def test_families_of_numbers_are_refused(family):
    loop = SimpleNamespace(prepared=SimpleNamespace(family=family))
    with pytest.raises(EngineError, match="decisions"):
        run_adaptive(loop, None, lambda event: None)


def test_how_far_tags_moved_is_the_farthest_of_any_word():
    def tags(names, margins):
        return TagPredictions(np.array([4, 7]), names, [["A", "B"], ["A"]], margins)

    low = tags([["A", "B"], ["A"]], [[1.0, 5.0], [0.2]])
    high = tags([["A", "B"], ["B"]], [[1.5, 3.0], [0.1]])
    np.testing.assert_allclose(movements(low, high), [2.0, 0.3])


def test_how_far_classes_moved_bounds_the_change_of_every_margin():
    chance = np.random.default_rng(0)
    low, high = (
        LabelPredictions(np.arange(50), chance.normal(size=(50, 4)).astype(np.float32), np.zeros(50), (0, 1, 2, 3))
        for _ in range(2)
    )
    moved = movements(low, high)
    for one, other in [(0, 1), (0, 2), (1, 3), (2, 3)]:
        gap = [each.logits[:, one].astype(float) - each.logits[:, other] for each in (low, high)]
        assert (np.abs(gap[0] - gap[1]) <= moved + 1e-12).all()
