"""What a worker makes of a unit, in this process, against the command that checks one model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sweeping.placing import Place, timeless
from verify.cli.check import run as check
from verify.engine.loading import load
from verify.errors import HubError, StoreError
from verify.sweeping.units import OPENED
from verify.sweeping.workers.here import run_here
from verify.sweeping.workers.work import config_of, finish, opened_unit
from verify.tasks.registry import load_registry


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    place = Place(tmp_path_factory.mktemp("place")).build()
    place.card("small", "short", "long")
    return place


def worked(place, unit, config, run=run_here):
    events = []
    opened = opened_unit(unit, config, load_registry(config.task_path))
    return finish(unit, opened, config, events.append, run), events


def verdicts(config, model="small"):
    found = json.loads((Path(config.results) / model / "verdicts.json").read_text())
    return [{name: value for name, value in one.items() if name != "result"} for one in found["verdicts"]]


def test_a_unit_gets_the_verdicts_that_a_check_gives(place, capsys):
    config = place.config("unit")
    finished, events = worked(place, place.unit("small"), config)
    assert (finished.model, finished.folder) == ("small", str(place.folder / "unit/small"))
    assert (finished.settled, finished.error) == (True, None)
    assert events[0] == {
        "event": OPENED,
        "model": "small",
        "cells": [["short", "validation"], ["long", "validation"]],
    }
    assert {event["cell"] for event in events[1:]} == {0, 1}
    alone = replace(place.config("alone"), model=str(place.folder / "small"))
    assert check(alone, as_json=True) == finished.exit_code
    capsys.readouterr()
    assert verdicts(config) == verdicts(alone)


def test_a_second_time_nothing_is_run(place):
    config = place.config("again", "limit=20")
    first, _ = worked(place, place.unit("small"), config)
    second, events = worked(place, place.unit("small"), config)
    assert [event["event"] for event in events] == [OPENED]
    assert timeless(second) == timeless(first)


def test_a_cell_that_is_given_up_is_an_error_and_the_other_is_measured(place):
    config = place.config("given-up", "limit=20")
    given_up = {"long/validation": "The worker process ended. Its last words: Killed"}
    unit = place.unit("small", given_up=given_up, retry="verify check small limit=20")
    finished, events = worked(place, unit, config)
    kinds = {one["claim"]["dataset"]: (one["kind"], one["reason"]) for one in verdicts(config)}
    assert [one["next"] for one in verdicts(config) if one["kind"] == "error"] == [f"To try again: {unit.retry}"]
    assert kinds["long"][0] == "error"
    assert "Its last words: Killed" in kinds["long"][1]
    assert kinds["short"][0] != "error"
    assert not finished.settled
    assert {event["cell"] for event in events if event["event"] == "rows"} == {0}


def test_a_cell_that_is_given_up_and_comes_first_does_not_move_the_events_of_the_other(place):
    config = place.config("given-up-first", "limit=20")
    unit = place.unit("small", given_up={"short/validation": "It died."})
    _, events = worked(place, unit, config)
    assert {event["cell"] for event in events if event["event"] == "rows"} == {1}


def test_a_model_that_cannot_be_had_is_finished_with_its_error(place):
    finished, events = worked(place, place.unit("nowhere"), place.config("nowhere"))
    assert (finished.error_kind, finished.folder, finished.settled) == (HubError.__name__, None, False)
    assert events == []


def test_results_that_cannot_be_written_are_an_error_of_the_unit(place):
    (place.folder / "in-the-way").write_text("")
    finished, _ = worked(place, place.unit("small"), place.config("in-the-way", "limit=20"))
    assert finished.error_kind == StoreError.__name__
    assert "cannot be written" in finished.error


def test_tasks_that_are_asked_for_are_the_only_ones(place):
    config = place.config("asked", "limit=20")
    _, events = worked(place, place.unit("small", ["long"]), config)
    assert events[0]["cells"] == [["long", "validation"]]


def test_an_attempt_uses_a_quarter_of_the_batch_and_many_devices_a_map(place):
    config = place.config("c", "engine.batch_size=6")
    again = config_of(place.unit("small", attempt=1), config)
    assert (again.engine.token_share, again.engine.batch_size) == (0.25, 1)
    assert config_of(place.unit("small", attempt=9), config).engine.batch_size == 1
    on_gpus = place.config("g", "engine.device=auto")
    assert config_of(place.unit("small", devices=2), on_gpus).engine.device_map == "auto"
    assert config_of(place.unit("small", devices=2), config).engine.device_map is None
    assert config_of(place.unit("small"), config) == config


def test_smaller_batches_give_the_same_verdicts(place):
    whole, smaller = place.config("whole"), place.config("smaller")
    worked(place, place.unit("small"), whole)
    _, events = worked(place, place.unit("small", attempt=3), smaller)
    assert verdicts(whole) == verdicts(smaller)
    assert sum(event["event"] == "rows" for event in events) > 10


def test_the_model_is_given_up_between_units_and_jobs_that_fail_do_not_stop_others(place):
    config = place.config("kept", "limit=20")
    runs = []

    def remember(jobs, emit):
        runs.append(jobs)
        return run_here([replace(jobs[0], model_folder="/nowhere"), *jobs[1:]], emit)

    worked(place, place.unit("small"), config, remember)
    assert len(runs[0]) == 2
    assert not load._kept
    assert {one["kind"] == "error" for one in verdicts(config)} == {True, False}


def test_jobs_of_several_processes_get_workers_of_their_own(place, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "verify.sweeping.workers.here.run_jobs", lambda jobs, emit: asked.append(jobs) or [None] * len(jobs)
    )
    config = place.config("several", "limit=20", "engine.processes=2")
    worked(place, place.unit("small"), config)
    assert [job.processes for job in asked[0]] == [2, 2]
