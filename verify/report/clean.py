"""Foreign text made safe to look at: nothing in it can steer a terminal, turn its order round, or hide.

Cards, task files, names, data and messages of libraries are written by strangers. Each character that a terminal would
act upon, or that nobody sees, is shown as the escape that JSON has for it. So text is read as it is stored, and a JSON
document means the same as before.

Kept, since honest text needs them: line feeds and tabs; the joiner and the non-joiner between letters that join
(Persian, Hindi) or within an emoji; one variation selector behind what it varies; the tags of the three flags that are
spelled with them; the number signs of Arabic and Kaithi, which are visible.
"""

from __future__ import annotations

import re

LONGEST = 4000
"""The most characters of one text that people are shown; programs get all of it."""

_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_FORMATS = (
    r"\xad\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff0-\ufffb"
    r"\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_BLANK_LETTERS = r"\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
_SUSPECT = re.compile(f"[{_CONTROLS}{_FORMATS}{_BLANK_LETTERS}]")
_JOINERS = "\u200c\u200d"
_SELECTORS = re.compile(r"[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_REGIONS = "|".join("".join(chr(0xE0000 + ord(letter)) for letter in region) for region in ("gbeng", "gbsct", "gbwls"))
_FLAGS = re.compile(f"\U0001f3f4(?:{_REGIONS})\U000e007f")
_JOINING = re.compile(
    r"[\u0590-\u10ff\u1200-\u1cff\ua800-\ua95f\ua980-\uabff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00011fff"  # letters
    r"\U0001e800-\U0001e95f\u2190-\u2bff\U0001f000-\U0001faff]"  # the letters of Africa, and emoji
)


def clean(text: str) -> str:
    """The text with the escape of JSON in place of every character that would act or hide; pure and idempotent.

    Text without such characters is returned as it is. O(length).
    """
    if text.isascii() and text.isprintable():
        return text
    flags = [range(found.start() + 1, found.end()) for found in _FLAGS.finditer(text)]
    return _SUSPECT.sub(lambda found: found[0] if _is_kept(text, found.start(), flags) else _escape(found[0]), text)


def clean_line(text: str) -> str:
    """The same on one line, of :data:`LONGEST` characters at most: beginning and end of a longer one."""
    line = re.sub(r"\s*\n\s*", " ", text.strip())
    return clean(shortened(line, tail=LONGEST // 4))


def shortened(text: str, most: int = LONGEST, *, tail: int = 0) -> str:
    """The text, or what ``most`` characters hold of it: its beginning, and so many characters of its end."""
    if len(text) <= most:
        return text
    end = text[-tail:] if tail else ""
    return f"{text[: most - tail]}… ({len(text):,} characters) {end}".rstrip()


def _is_kept(text: str, at: int, flags: list[range]) -> bool:
    """Whether a suspect character stands where honest text has it."""
    character, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if character == "\r":
        return after == "\n"
    if _SELECTORS.fullmatch(character):
        return _is_seen(before)
    if character in _JOINERS:
        if _SELECTORS.fullmatch(before):
            before = text[at - 2 : at - 1]
        return _joins(before) and _joins(after)
    return any(at in flag for flag in flags)


def _joins(character: str) -> bool:
    return _is_seen(character) and _JOINING.fullmatch(character) is not None


def _is_seen(character: str) -> bool:
    return bool(character) and not character.isspace() and not _SUSPECT.fullmatch(character)


def _escape(character: str) -> str:
    """As JSON has it: characters beyond the sixteen bits are two halves of a pair."""
    units = character.encode("utf-16-be", errors="surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
