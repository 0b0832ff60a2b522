import io
from dataclasses import replace

import pytest
from helpers.claim_making import claim, measurement
from rich.console import Console

from verify.judging.compare import judge
from verify.report.explanations import show_explanations
from verify.tasks.match import Match
from verify.tasks.registry import load_registry
from verify.types import Unit

MATCH = Match(load_registry()["sst2"], "validation")
TRIED = [
    {"hypothesis": "averaging", "version": 1, "setting": "macro", "value": 81.234, "fits": False},
    {"hypothesis": "label order", "version": 1, "setting": "[no] and yes exchanged", "value": 90.96, "fits": True},
    {"hypothesis": "averaging", "version": 1, "setting": "micro", "value": 90.1, "fits": False},
    {"hypothesis": "tokens", "version": 1, "setting": "none of it", "value": None, "fits": False},
]


def verdict(found=TRIED[1], certain=True, chance=0.0123):
    made = judge(claim("91.0", unit=Unit.PERCENT, dataset="glue"), MATCH, measurement({"accuracy": 0.7}))
    return replace(made, explanation={"found": found, "certain": certain, "chance": chance, "tried": TRIED})


def shown(*verdicts, width=140):
    stream = io.StringIO()
    show_explanations(Console(file=stream, width=width, highlight=False), verdicts)
    return stream.getvalue()


def test_the_sentence_the_setting_the_chance_and_all_that_was_tried():
    text = shown(verdict(), width=300)
    assert "1. accuracy 91.0%, glue (README.md:7)" in text
    assert "The card says 91.0; all 1000 examples" in text
    assert "Found: label order, [no] and yes exchanged." in text
    assert "one of the 4 settings that were tried is 1.23%" in text
    rows = [line for line in text.splitlines() if line.startswith("│")]
    assert [row.split("│")[2].strip() for row in rows] == ["[no] and yes exchanged", "micro", "macro", "none of it"]
    assert [row.split("│")[3].strip() for row in rows] == ["90.96%", "90.10%", "81.23%", "–"]
    assert [row.split("│")[4].strip() for row in rows] == ["yes", "", "", ""]


def test_what_is_not_certain_is_called_possible_and_what_is_not_found_is_said():
    assert "Possible, and not certain: label order" in shown(verdict(certain=False, chance=0.2))
    assert "none of the 4 that were tried gives the card's numbers" in shown(verdict(found=None, certain=False))


def test_verdicts_without_a_search_are_left_out():
    assert shown(replace(verdict(), explanation=None)) == ""


@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_narrow_terminal_keeps_every_number(width):
    text = shown(verdict(), width=width)
    assert max(map(len, text.splitlines())) <= width
    for number in ("90.96%", "90.10%", "81.23%"):
        assert number in text
