import io

import pytest
from rich.console import Console

from verify.report import progress
from verify.report.progress import ProgressView


class Clock:
    now = 1000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


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
