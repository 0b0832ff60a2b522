"""Reports that go through a file: whole, in order, once, whatever the storage does."""

import itertools
import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.errors import StoreError
from verify.sweeping import progress_file
from verify.sweeping.progress_file import Reader, Writer, create, is_there

EVENTS = st.lists(
    st.fixed_dictionaries({"event": st.sampled_from(["stage", "start", "opened"]), "said": st.text(max_size=20)}),
    max_size=12,
)


def rows(done, total=100):
    return {"event": "rows", "done": done, "total": total}


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "sweeps" / "progress" / "key.jsonl"
    create(file)
    return file


@given(EVENTS, EVENTS)
def test_what_is_written_is_read_once_and_in_order(tmp_path_factory, first, second):
    file = tmp_path_factory.mktemp("progress") / "key.jsonl"
    create(file)
    writer, reader = Writer(file), Reader(file)
    for events in (first, second):
        for event in events:
            writer.emit(event)
        assert reader.events() == events
        assert reader.events() == []


@given(EVENTS, st.lists(st.integers(0, 400), max_size=8))
def test_a_line_is_read_when_it_is_whole_wherever_it_was_cut(tmp_path_factory, events, cuts):
    file = tmp_path_factory.mktemp("progress") / "key.jsonl"
    create(file)
    whole = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode()
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    reader, found = Reader(file), []
    for begin, end in itertools.pairwise(places):
        with file.open("ab") as stream:
            stream.write(whole[begin:end])
        found += reader.events()
    assert found == events


def test_a_line_that_is_no_event_is_passed_over(file):
    with file.open("a") as stream:
        stream.write('{"event": "sta{"event": "start"}\n[1, 2]\n\n{"event": "start", "rows": 7}\n')
    assert Reader(file).events() == [{"event": "start", "rows": 7}]


def test_events_of_rows_are_thinned_out_but_for_the_last(file):
    writer = Writer(file)
    for done in range(1, 101):
        writer.emit(rows(done))
    writer.emit({"event": "end"})
    assert Reader(file).events() == [rows(1), rows(100), {"event": "end"}]


def test_rows_are_told_again_after_a_while(file, monkeypatch):
    monkeypatch.setattr(progress_file, "BETWEEN_ROWS", 0.05)
    writer = Writer(file)
    writer.emit(rows(1))
    writer.emit(rows(2))
    time.sleep(0.1)
    writer.emit(rows(3))
    assert Reader(file).events() == [rows(1), rows(3)]


def test_reports_that_cannot_be_written_or_read_stop_nobody(tmp_path):
    missing = tmp_path / "missing" / "key.jsonl"
    Writer(missing).emit({"event": "start"})
    reader = Reader(missing)
    assert reader.events() == []
    reader.remove()
    create(missing)
    Writer(missing).emit({"event": "start"})
    assert reader.events() == [{"event": "start"}]
    reader.remove()
    assert not missing.exists()
    Writer(missing).emit({"event": "start"})
    assert not missing.exists(), "a sweep that is over leaves nothing"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "sweeps").write_text("")
    with pytest.raises(StoreError, match="sweeps"):
        create(tmp_path / "sweeps" / "progress" / "key.jsonl")


def test_a_file_that_another_machine_has_made_may_come_late(tmp_path):
    late = tmp_path / "late"
    assert not is_there(late, patience=0.0)
    threading.Timer(0.3, late.touch).start()
    begun = time.monotonic()
    assert is_there(late, patience=20.0)
    assert time.monotonic() - begun < 10
