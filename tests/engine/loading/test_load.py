"""Models that a device map spreads: on a machine without GPUs, over memory and disk."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.builders import bert, save, sentences

from engine.job_making import assert_same_rows, events_of, job_on, predictions_of
from verify.engine.loading import load
from verify.engine.running import packed
from verify.engine.running.launch import run_jobs
from verify.errors import EngineError
from verify.store.runs import RunFolder

TEXTS = sentences(80)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(load, "_kept", {})


@pytest.fixture
def job(tmp_path):
    bert(tmp_path / "model", TEXTS, ["no", "yes"], hidden=64, layers=3)
    return job_on(
        tmp_path,
        "sequence-classification",
        {"text": TEXTS, "label": [i % 2 for i in range(80)]},
        {"text": "text", "label": "label"},
    )


def spread(job, **memory):
    return replace(job, run_folder=f"{job.run_folder}-spread", device_map="auto", max_memory=memory or None)


def placement(job) -> dict | None:
    return RunFolder(Path(job.run_folder)).info()["device_map"]


@pytest.mark.parametrize("memory", ["300KiB", "1KiB"])
def test_a_model_that_memory_does_not_hold_runs_from_disk_with_the_same_predictions(job, memory, monkeypatch):
    # packed weights, which a spread model has none of, round in another way on some processors
    monkeypatch.setattr(packed, "SMALLEST", math.inf)
    events_of(job)
    other = spread(job, cpu=memory)
    events_of(other)
    assert_same_rows(predictions_of(other), predictions_of(job))
    found = placement(other)
    assert placement(job) is None
    assert found["disk"] > 0
    assert ("cpu" in found) == (memory == "300KiB"), "what fits stays in memory"


def test_a_model_that_fits_is_not_spread(job):
    events_of(spread(job, cpu="1GiB"))
    assert placement(spread(job)) is None


def test_where_a_model_was_spread_is_part_of_the_record_and_no_file_of_it_is_left(job):
    half = torch.float16
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(job.model_folder, dtype=half)
    save(Path(job.model_folder), model)  # weights of another type cannot be read from the repository as they are
    others = [replace(spread(job, cpu="1KiB"), run_folder=f"{job.run_folder}-{i}") for i in range(2)]
    assert run_jobs(others, lambda event: None) == [None, None]
    assert all("disk" in placement(other) for other in others)
    assert not list(Path(job.run_folder).parent.rglob("offload"))
    log = (Path(others[0].run_folder) / "worker.log").read_text()
    assert log.count("verify.engine.loading.load: loading") == 1, "once for both jobs"


def test_what_a_device_map_cannot_do_is_one_paragraph(job):
    with pytest.raises(EngineError) as caught:
        events_of(spread(job, cpu="a lot"))
    assert "could not be built" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_takes_a_device_map(job, tmp_path, monkeypatch, capsys):
    from verify.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "model" / "README.md").write_text("# m\n")
    arguments = ["check", "./model", "task_path=[tasks]", "tasks=[mine]", "engine.device=cpu", "--json"]
    assert main([*arguments, "engine.device_map=auto", "engine.max_memory={cpu:300KiB}"]) == 3
    (measurement,) = json.loads(capsys.readouterr().out)["measurements"]
    assert measurement["provenance"]["device_map"]["disk"] > 0
    assert not list((tmp_path / "results").rglob("offload"))
