import io

import pytest
from rich.console import Console

from verify.report.progress import ProgressView


def rows(done, rank=0, total=100, of="predictions"):
    return {"event": "rows", "pass": of, "rank": rank, "done": done, "total": total}


def test_plain_lines_at_intervals_where_there_is_no_terminal(clock):
    stream = io.StringIO()
    with ProgressView(["org/model on sst2"], Console(file=stream, width=200)) as view:
        view.emit({"event": "stage", "stage": "loading the model"})
        for done in range(10, 101, 10):
            clock.now += 4
            view.emit(rows(done))
        view.emit({"event": "stage", "stage": "scoring"})
    assert stream.getvalue().splitlines() == [
        "org/model on sst2: loading the model (0 s)",
        "org/model on sst2: examples 30 of 100 (12 s)",
        "org/model on sst2: examples 60 of 100 (24 s)",
        "org/model on sst2: examples 90 of 100 (36 s)",
        "org/model on sst2: scoring (40 s)",
    ]


def test_the_rows_of_all_processes_are_added_up(clock):
    stream = io.StringIO()
    with ProgressView(["m"], Console(file=stream, width=200)) as view:
        view.emit(rows(10, rank=0, total=50))
        clock.now += 20
        view.emit(rows(30, rank=1, total=50))
        clock.now += 20
        view.emit(rows(5, rank=0, total=8, of="probe"))
    assert [line.partition(" (")[0] for line in stream.getvalue().splitlines()] == [
        "m: examples 10 of 50",
        "m: examples 40 of 100",
        "m: second configuration 5 of 8",
    ]


def test_a_terminal_gets_a_bar_that_goes_away():
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    with ProgressView(["org/model on sst2"], console) as view:
        view.emit({"event": "stage", "stage": "loading"})
        view.emit(rows(40))
        view._bar.refresh()
    text = stream.getvalue()
    assert "org/model on sst2: examples" in text
    assert "40/100" in text
    assert "━" in text
    assert text.endswith("\x1b[2K")


def test_a_bar_is_cleared_when_the_run_fails():
    stream = io.StringIO()
    console = Console(file=stream, width=100, force_terminal=True)
    with pytest.raises(KeyboardInterrupt), ProgressView(["m"], console):
        raise KeyboardInterrupt
    assert "\x1b[?25h" in stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_markup_in_a_name_is_shown_as_it_stands(terminal):
    stream = io.StringIO()
    with ProgressView(["./my[red]model[/b] on x"], Console(file=stream, width=200, force_terminal=terminal)) as view:
        view.emit({"event": "stage", "stage": "loading [v1]"})
        if terminal:
            view._bar.refresh()
    assert "./my[red]model[/b] on x: loading [v1]" in stream.getvalue()


def test_an_empty_pass_says_nothing():
    stream = io.StringIO()
    with ProgressView(["m"], Console(file=stream)) as view:
        view.emit(rows(0, total=0))
    assert stream.getvalue() == ""


ESTIMATE = {
    "event": "estimate",
    "pass": "predictions",
    "rank": 0,
    "examples": 12_345,
    "tokens": 1_234_567,
    "seconds": 75.0,
    "memory": 1_640_000_000,
}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "about 0 s"), (75.0, "about 75 s"), (130.0, "about 2 minutes"), (7260.0, "121 minutes")],
)
def test_the_estimate_is_one_line_with_its_units(clock, seconds, words):
    stream = io.StringIO()
    with ProgressView(["org/model on sst2"], Console(file=stream, width=200)) as view:
        view.emit({**ESTIMATE, "seconds": seconds})
        view.emit(rows(5))
    first, second = stream.getvalue().splitlines()
    assert first.startswith("org/model on sst2: examples: 12,345 examples, 1,234,567 tokens, about ")
    assert first.endswith("1.6 GB of memory")
    assert words in first
    assert second.startswith("org/model on sst2: examples 5 of 100")


@pytest.mark.parametrize(
    ("kind", "words"), [("draft", "low precision: "), ("probe", "second configuration: "), ("other", "other: ")]
)
def test_the_estimate_says_of_which_pass_it_is(clock, kind, words):
    stream = io.StringIO()
    with ProgressView(["m"], Console(file=stream, width=200)) as view:
        view.emit({**ESTIMATE, "pass": kind})
    assert stream.getvalue().startswith(f"m: {words}")


def test_an_estimate_stays_on_a_terminal(clock):
    stream = io.StringIO()
    with ProgressView(["m"], Console(file=stream, width=200, force_terminal=True)) as view:
        view.emit(rows(4))
        view.emit(ESTIMATE)
        view.emit(rows(9))
    assert "12,345 examples" in stream.getvalue()


def test_each_measurement_has_its_own_title_and_counts(clock):
    stream = io.StringIO()
    with ProgressView(["m on a", "m on b"], Console(file=stream, width=200)) as view:
        view.emit({"cell": 0, **rows(100)})
        clock.now += 20
        view.emit({"cell": 1, **rows(3)})
        view.emit({"cell": 1, **ESTIMATE})
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("m on a: examples 100 of 100")
    assert lines[1].startswith("m on b: examples 3 of 100")
    assert lines[2].startswith("m on b: examples: 12,345 examples")
