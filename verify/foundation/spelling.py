"""Helping with a mistyped word: every error that refuses a name says which names exist."""

import difflib
from collections.abc import Iterable


def suggestion(word: str, allowed: Iterable[str]) -> str:
    """The end of an error message: the nearest spelling, if one is near, and the allowed words.

    >>> suggestion("colums", ["columns", "kind"])
    'Did you mean "columns"? Allowed: columns, kind.'
    """
    options = sorted(set(allowed))
    folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    hint = f'Did you mean "{folded[near[0]]}"? ' if near else ""
    return f"{hint}Allowed: {', '.join(options) or '(none)'}."
