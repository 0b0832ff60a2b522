"""The table at the end of a sweep."""

import io
import json

import pytest
from helpers.claim_making import claim, measurement
from helpers.sweep_making import MATCH, broken, held, missed, sampled, swept
from rich.console import Console

from verify.errors import EngineError
from verify.judging.compare import judge
from verify.judging.tally import Tally
from verify.report.sweep_table import show_sweep, summary_of
from verify.sweeping.sweep_json import sweep_object
from verify.types import Unit

ALPHA = 0.05


def tally(*models, **fields):
    return Tally.of("mine", models, ALPHA, 3700.0, **fields)


def shown(found, width=160, terminal=False):
    stream = io.StringIO()
    show_sweep(Console(file=stream, width=width, force_terminal=terminal, color_system=None), found, "results/t.json")
    return stream.getvalue()


def test_a_row_says_which_verdicts_how_many_claims_and_what_is_furthest_off():
    text = shown(tally(swept("org/off", held(), missed(), missed("0.97")), swept("org/good", held())))
    (row,) = [line for line in text.splitlines() if "org/off" in line]
    for words in ("2 overstated, 1 reproduced", " 3 ", " 2 ", "12 s", "accuracy 0.97 on sst2: -6.00 pt"):
        assert words in row
    assert text.index("org/off") < text.index("org/good")


def test_percents_and_raw_numbers_are_off_in_their_own_unit():
    percent = judge(claim("95.0", unit=Unit.PERCENT, dataset="sst2"), MATCH, measurement({"accuracy": 0.91}))
    raw = judge(claim("0.25", "loss", Unit.RAW, dataset="sst2"), MATCH, measurement({"loss": 0.3123}))
    text = shown(tally(swept("org/a", percent), swept("org/b", raw)))
    assert "accuracy 95.0% on sst2: -4.00 pt" in text
    assert "loss 0.25 on sst2: +0.0623" in text


def test_failures_say_why():
    gone = swept("org/gone", error="There is no model org/gone on the Hub.", error_kind="HubError")
    text = shown(tally(gone, swept("org/broken", broken(EngineError("It ran out of memory.")))))
    assert "There is no model org/gone on the Hub." in text
    assert "It ran out of memory." in text
    assert "2 error" in text


def test_a_claim_that_the_sweep_leaves_open_is_said_plainly():
    models = [swept("org/weak", sampled(1 / ALPHA)), *(swept(f"org/{place}", held()) for place in range(40))]
    text = " ".join(shown(tally(*models), width=400).split())
    assert "org/weak, accuracy 0.95 on sst2: left open here." in text
    assert "says overstated, and the verdict stored with the model stays so" in text
    assert "all 41 claims that this sweep attempted" in text
    assert "(41 claims attempted, 0 flagged)" in text


def test_the_last_lines_count_what_was_attempted_and_flagged():
    found = summary_of(tally(swept("org/off", missed(), held())))
    assert found.startswith("mine: 1 model in 62 min: 1 overstated, 1 reproduced (2 claims attempted, 1 flagged")
    assert "false discovery rate of 5%" in found
    assert "interrupted" in summary_of(tally(swept("org/a", held()), is_complete=False))


def test_a_long_table_is_cut_in_a_terminal_only():
    models = [swept("org/off", missed()), *(swept(f"org/{place:03d}", held()) for place in range(200))]
    in_terminal = shown(tally(*models), terminal=True)
    assert len(in_terminal.splitlines()) < 62
    assert "org/off" in in_terminal
    (cut,) = [line for line in in_terminal.splitlines() if "and 151 more" in line]
    assert "151 reproduced" in cut
    assert "org/199" in shown(tally(*models))


@pytest.mark.parametrize("width", [30, 60, 80, 200])
def test_no_line_is_longer_than_the_terminal(width):
    found = tally(swept("organisation/" + "long-" * 20, missed()), swept("org/gone", error="no " * 200))
    text = shown(found, width=width)
    table = [line for line in text.splitlines() if "│" in line]
    assert table
    assert max(map(len, table)) <= width


def test_what_a_model_calls_itself_is_no_markup():
    assert "org/[red]x" in shown(tally(swept("org/[red]x", held())))


def test_an_empty_sweep_has_a_summary():
    assert "0 models" in shown(tally())


def test_the_object_for_programs_holds_everything():
    failed = swept("org/broken", broken(EngineError("It ran out of memory.")))
    gone = swept("org/gone", error="There is none.", error_kind="HubError")
    honest = [swept(f"org/{place}", held()) for place in range(40)]
    found = tally(swept("org/off", missed()), swept("org/weak", sampled(1 / ALPHA)), failed, gone, *honest)
    shown_to_programs = json.loads(json.dumps(sweep_object(found, 1), allow_nan=False))
    assert shown_to_programs["schema"] == "verify.sweep/1"
    assert (shown_to_programs["suite"], shown_to_programs["exit_code"]) == ("mine", 1)
    assert (shown_to_programs["attempted"], shown_to_programs["flagged"]) == (42, 1)
    rows = {row["model"]: row for row in shown_to_programs["models"]}
    assert len(rows) == 44
    assert rows["org/off"]["verdicts"] == {"overstated": 1}
    assert (rows["org/weak"]["verdicts"], rows["org/weak"]["not_settled"]) == ({"inconclusive": 1}, 1)
    assert rows["org/gone"]["error"] == "There is none."
    (flagged,) = shown_to_programs["flagged_claims"]
    assert (flagged["model"], flagged["kind"], flagged["claim"]["literal"]) == ("org/off", "overstated", "0.95")
    assert flagged["delta"] == pytest.approx(-0.04)
    control = shown_to_programs["false_discovery_control"]
    assert (control["alpha"], control["contradicted"], control["flagged"]) == (ALPHA, 2, 1)
    assert [one["model"] for one in control["not_settled"]] == ["org/weak"]
    assert {one["model"] for one in shown_to_programs["errors"]} == {"org/broken", "org/gone"}
