import io
import logging
import sys

import pytest
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from verify.report.clean import LONGEST, clean
from verify.report.console import CleanConsole, console_on, foreign
from verify.report.progress import ProgressView
from verify.report.streams import clean_streams, raw_of

BAD = "m\x1b]52;c;eA==\x07\u202ex\x9b"


def terminal(width=80, **how):
    return CleanConsole(
        file=io.StringIO(),
        force_terminal=True,
        color_system="standard",
        width=width,
        highlight=False,
        emoji=False,
        **how,
    )


def written(console):
    return console.file.getvalue()


def test_styles_of_ours_stay_and_foreign_characters_do_not_act():
    console = terminal()
    console.print(f"[red]{escape(BAD)}[/red]")
    assert written(console) == f"\x1b[31m{clean(BAD)}\x1b[0m\n"


def test_cells_titles_and_heads_of_tables_are_cleaned_before_they_are_measured():
    table = Table(title=escape(BAD))
    table.add_column(escape(BAD))
    table.add_column("why", overflow="fold")
    table.add_row(foreign(BAD), escape(BAD))
    console = CleanConsole(file=io.StringIO(), width=120)
    console.print(table)
    lines = written(console).splitlines()
    assert written(console).count(clean(BAD)) == 4
    assert "\x1b" not in written(console)
    assert "\u202e" not in written(console)
    assert len({len(line) for line in lines[1:]}) == 1, "the borders stand below each other"


def test_markup_links_and_emoji_codes_of_strangers_are_text():
    console = terminal()
    console.print(escape("[red]x[/red] [link=http://example.org]y[/link] :smile: [/]"))
    assert written(console) == "[red]x[/red] [link=http://example.org]y[/link] :smile: [/]\n"


def test_no_link_and_nothing_concealed_comes_out_even_if_somebody_forgets_to_escape():
    console = terminal()
    console.print("[link=http://example.org]y[/link] [conceal]z[/conceal]")
    console.print(Text("raw \x1b[31m"))
    assert "\x1b" not in written(console)
    assert "y z" in written(console)


def test_what_others_print_during_a_live_view_is_cleaned():
    console = terminal()
    with Live("view", console=console, refresh_per_second=1, transient=True):
        sys.stdout.write("text\x1b]52;c;eA==\x07\x1b]8;;http://example.org\x1b\\link\x1b]8;;\x1b\\\u202e\n")
    assert "\x1b]52" not in written(console)
    assert "\x1b]8" not in written(console)
    assert "\u202e" not in written(console)


def test_a_very_long_text_is_cut_for_people():
    console = terminal()
    console.print(escape("[x]" * 1_000_000))
    assert len(written(console)) < 3 * LONGEST
    assert "characters)" in written(console)


def test_a_progress_bar_shows_a_cleaned_title():
    console = terminal(width=120)
    with ProgressView([BAD], console) as view:
        view.emit({"event": "stage", "stage": "loading"})
        view._bar.refresh()
    assert r"m\u001b]52" in written(console)
    assert "\x1b]52" not in written(console)
    assert "\u202e" not in written(console)
    assert "\x9b" not in written(console)


def test_whatever_is_printed_during_a_command_is_cleaned(capsys):
    before = sys.stdout, sys.stderr
    with clean_streams():
        print(BAD)
        print(BAD, file=sys.stderr)
        logging.getLogger("nobody.handles").warning(BAD)
        sys.stderr.writelines([BAD])
        console_on(stderr=True).print(escape(BAD))
    assert (sys.stdout, sys.stderr) == before
    for stream in capsys.readouterr():
        assert clean(BAD) in stream
        assert not {"\x1b", "\u202e", "\x9b", "\x07"} & set(stream)


def test_bars_of_libraries_may_go_back_to_the_beginning_of_the_line(capsys):
    with clean_streams():
        sys.stderr.write("\r 50% a\x1b[2J\rb")
        sys.stderr.write("\x1b[A")
        sys.stderr.write("\x1b[A\x1b[2J")
    assert capsys.readouterr().err == "\r 50% a\\u001b[2J\\u000db\x1b[A\\u001b[A\\u001b[2J"


def test_streams_are_restored_after_an_error_and_its_trace_is_cleaned(capsys, monkeypatch):
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = sys.stdout
    with pytest.raises(ValueError, match="m") as raised, clean_streams():
        raise ValueError(BAD)
    assert sys.stdout is before
    sys.excepthook(raised.type, raised.value, raised.tb)
    assert clean(BAD) in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_characters_shows_their_escapes(encoding, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    with clean_streams():
        console_on().print("→ 模型 \ud800")
        print("→")
        sys.stdout.flush()
    assert written.getvalue().decode(encoding) == "\\u2192 \\u6a21\\u578b \\ud800\n\\u2192\n"


def test_a_console_writes_below_the_stream_that_cleans():
    with clean_streams():
        assert console_on().file is raw_of(sys.stdout)
        assert raw_of(raw_of(sys.stdout)) is raw_of(sys.stdout)
