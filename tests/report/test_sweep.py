"""What a sweep shows while it runs."""

import io
import time as real_time

import pytest
from rich.console import Console

from verify.report import sweep
from verify.report.sweep import Expected, SweepView, duration
from verify.sweeping.units import OPENED, Died, Ended, Finished, Happened, Unit


def opened(name, *cells, worker="worker 1"):
    cells = [list(cell) for cell in cells or (("sst2", "validation"),)]
    return Happened(Unit(name, name), worker, {"event": OPENED, "model": name, "cells": cells})


def rows(name, done, total=100, cell=0, rank=0, of="predictions", worker="worker 1"):
    event = {"event": "rows", "pass": of, "rank": rank, "done": done, "total": total, "cell": cell}
    return Happened(Unit(name, name), worker, event)


def ended(name, code=0, worker="worker 1", error=None, settled=True):
    finished = Finished(name, name, name, None if error else "f", code, settled, 12.0, error, "HubError")
    return Ended(Unit(name, name), worker, finished)


def expecting(**seconds):
    return {name: Expected(1, of) for name, of in seconds.items()}


def plain(expected, settled=0):
    stream = io.StringIO()
    return SweepView(expected, settled, Console(file=stream, width=60)), stream


def drawn(view, width=100, height=20):
    stream = io.StringIO()
    Console(file=stream, width=width, height=height).print(view.renderable())
    return stream.getvalue().splitlines()


def test_without_a_terminal_each_finished_model_is_one_line(clock):
    view, stream = plain(expecting(a=1, b=1, c=1), settled=2)
    for name, code in (("a", 0), ("b", 1)):
        view.follow(opened(name))
        view.follow(rows(name, 50))
        view.follow(ended(name, code))
    view.follow(ended("c", 4, error="There is no model c on the Hub: look at its name.", settled=False))
    assert stream.getvalue().splitlines() == [
        "[3 of 5] a: every claim that could be settled holds (12 s)",
        "[4 of 5] b: at least one claim does not hold (12 s)",
        "[5 of 5] c: There is no model c on the Hub: look at its name.",
    ]


def test_a_worker_that_died_is_named_with_its_cell(clock):
    view, stream = plain(expecting(a=1))
    view.follow(opened("a"))
    view.follow(Died(Unit("a", "a"), "worker 1", "The worker process ended with signal 9.", "sst2/validation"))
    assert stream.getvalue().splitlines() == ["[0 of 1] a on sst2/validation: The worker process ended with signal 9."]
    assert "0 running" in view.counts()


def test_a_heartbeat_comes_at_most_every_half_minute(clock):
    view, stream = plain(expecting(a=1, b=1))
    view.follow(opened("a"))
    for _ in range(100):
        clock.now += 1
        view.heartbeat()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("0 of 2 cells done, 1 running, 0 failed, 30 s so far")


def test_the_heartbeat_goes_on_while_no_worker_says_anything(monkeypatch):
    monkeypatch.setattr(sweep, "SECONDS_BETWEEN_LINES", 0.1)
    view, stream = plain(expecting(a=1))
    with view:
        deadline = real_time.monotonic() + 10
        while not stream.getvalue() and real_time.monotonic() < deadline:
            real_time.sleep(0.05)
    assert "0 of 1 cells done" in stream.getvalue()


def test_examples_per_second_are_those_of_the_last_minute_of_all_workers(clock):
    view, _ = plain(expecting(a=1, b=1))
    view.follow(opened("a"))
    view.follow(opened("b", worker="worker 2"))
    clock.now += 10
    view.follow(rows("a", 60))
    view.follow(rows("b", 40, worker="worker 2"))
    view.follow(rows("b", 100, of="probe", worker="worker 2"))
    assert "10 examples/s" in view.counts()
    clock.now += 61
    assert "examples/s" not in view.counts()


def test_the_time_left_follows_from_what_was_expected_not_from_how_many_are_done(clock):
    view, _ = plain(expecting(a=10, b=10, c=80))
    assert "left" not in view.counts()
    clock.now += 20
    view.follow(ended("a"))
    assert "about 180 s" not in view.counts()
    assert "about 3 min left" in view.counts()
    view.follow(opened("c"))
    view.follow(rows("c", 50))
    assert "about 20 s left" in view.counts()  # 50 of 100 expected seconds are done


def test_cells_are_counted_as_models_are_opened_and_done(clock):
    view, _ = plain({"a": Expected(1, 1.0), "b": Expected(3, 1.0)})
    view.follow(opened("a", ("sst2", "validation"), ("mnist", "test")))
    assert view.counts().startswith("0 of 5 cells done, 1 running")
    view.follow(ended("a"))
    view.follow(ended("a"))
    assert view.counts().startswith("2 of 5 cells done, 0 running")


def test_the_view_has_a_bar_and_a_line_for_each_worker(clock):
    view, _ = plain(expecting(a=1, b=1))
    view.follow(opened("org/a", ("sst2", "validation"), ("mnist", "test")))
    view.follow(rows("org/a", 50, cell=1))
    loading = {"event": "stage", "stage": "loading the model", "cell": 0}
    view.follow(opened("org/b", worker="worker 2"))
    view.follow(Happened(Unit("org/b", "org/b"), "worker 2", loading))
    lines = drawn(view)
    assert "0/" in lines[0]
    assert "2 running" in lines[1]
    for line, words in zip(
        lines[2:4],
        (
            ("worker 1", "org/a", "mnist/test", "examples 50 of 100", "75%"),
            ("worker 2", "org/b", "sst2/validation", "loading the model", "0%"),
        ),
        strict=True,
    ):
        for word in words:
            assert word in line


@pytest.mark.parametrize("height", [5, 8, 24])
def test_many_workers_do_not_make_the_view_higher_than_the_terminal(clock, height):
    view, _ = plain({})
    for place in range(100):
        clock.now += 1
        view.follow(opened(f"org/model-{place}", worker=f"node:{place}"))
    console = Console(file=io.StringIO(), width=100, height=height, force_terminal=True)
    view._console = console
    lines = drawn(view, height=height)
    assert len(lines) <= height
    shown = sum("node:" in line for line in lines)
    assert lines[-1].strip() == f"and {100 - shown} more"
    assert "node:0 " in "".join(lines), "the longest at work come first"


def test_the_rows_of_a_model_that_is_begun_again_are_not_taken_back(clock):
    view, _ = plain(expecting(a=1))
    view.follow(opened("a"))
    view.follow(rows("a", 80))
    view.follow(Died(Unit("a", "a"), "worker 1", "It ended.", "sst2/validation"))
    view.follow(opened("a"))
    view.follow(rows("a", 10))
    view.follow(ended("a"))
    assert view.counts().startswith("1 of 1 cells done, 0 running, 0 failed")


def test_a_terminal_gets_a_view_that_goes_away():
    stream = io.StringIO()
    console = Console(file=stream, width=80, height=20, force_terminal=True)
    with SweepView(expecting(a=1), 0, console) as view:
        view.follow(opened("a"))
        view.follow(ended("a", 4, error="It is gone.", settled=False))
    assert "a: It is gone." in stream.getvalue()
    assert "\x1b[2K" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5340, "89 min"), (12000, "3 h 20 min")]
)
def test_times_are_said_as_people_do(seconds, words):
    assert duration(seconds) == words
