import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.report.clean import LONGEST, clean, clean_line, shortened

HOSTILE = [
    "\x1b]52;c;cGF5bG9hZA==\x07",  # puts text on the clipboard
    "\x1b[2J\x1b[H",
    "\x1b]8;;http://example.org\x1b\\model\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\x08b\rc\x00d\x7fe\x0bf\x0cg\x85h",
    "\u202egnp.exe\u2066x\u2069\u200e\u200f\u061c",
    "one\u2028two\u2029three",
    "acc\u200buracy\u2060\ufeff\xad\u3164\u115f\u034f",
    "acc\u200duracy\u200c",
    "模\u200d型",
    "".join(chr(0xE0000 + ord(letter)) for letter in "hidden"),
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(letter)) for letter in "hidden") + "\U000e007f",
    "x" + "".join(chr(0xE0100 + number) for number in range(5)),
    "\ufe0f at the start",
    "\ud800",
]
HONEST = [
    "می\u200cخواهم",
    "क्\u200dष",
    "שלום עולם",
    "مرحبا بالعالم \u0600",
    "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 🧑🏽\u200d🚀 ❤\ufe0f 1\ufe0f\u20e3 🐈\u200d⬛",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "葛\U000e0100城",
    "naïve, 模型, Ελληνικά, é e\u0301, −½ → ≤ €\xa0“x”…",
    "two\r\nlines\n\tand a tab",
    "a \\ b [red] :smile:",
]
CHARACTERS = st.one_of(
    st.characters(exclude_categories=()),
    st.sampled_from("".join(HOSTILE + HONEST)),
    st.sampled_from("\ufe0f\u200d\r\n"),
)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_acts_or_hides_becomes_visible(text):
    found = clean(text)
    assert found != text
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert not [one for one in found if one != "\n" and unicodedata.category(one) in hidden]


@pytest.mark.parametrize("text", HONEST, ids=ascii)
def test_honest_text_stays_as_it_is(text):
    assert clean(text) == text


def test_an_escape_is_that_of_json():
    assert clean("\x1b[31m\u202e\U000e0041") == r"\u001b[31m\u202e\udb40\udc41"


@given(st.text(CHARACTERS))
def test_cleaning_twice_changes_nothing_more(text):
    assert clean(clean(text)) == clean(text)


@given(st.text(CHARACTERS))
def test_nothing_is_left_that_a_terminal_acts_upon(text):
    found = clean(text)
    allowed = set("\n\t\u200c\u200d\r")
    bad = [
        one
        for one in found
        if unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
        or unicodedata.bidirectional(one) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or one in "\u200b\u200e\u200f\u061c\u2060\ufeff"
    ]
    assert not set(bad) - allowed
    assert found.count("\r") == found.count("\r\n")


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters="\u115f\u1160\u3164\uffa0")))
def test_letters_numbers_and_signs_of_every_script_stay(text):
    assert clean(text) == text


@given(st.recursive(st.text(CHARACTERS.filter(lambda one: not "\ud800" <= one <= "\udfff")), st.lists))
def test_a_json_document_means_the_same_afterwards(content):
    for indent in (None, 1):
        assert json.loads(clean(json.dumps(content, ensure_ascii=False, indent=indent))) == content


def test_a_message_is_one_line_of_bounded_length():
    assert clean_line("one\n  forged: two\rthree") == r"one forged: two\u000dthree"
    found = clean_line("a" * 1_000_000 + " Choose another.")
    assert len(found) < 2 * LONGEST
    assert found.endswith("Choose another.")
    assert "(1,000,016 characters)" in found


def test_a_short_text_is_not_cut():
    assert shortened("x" * 10, 10) == "x" * 10
    assert shortened("x" * 11, 10) == "x" * 10 + "… (11 characters)"
