"""Tables for notebooks: others' words are cleaned, then escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from verify.report.clean import clean, shortened

if TYPE_CHECKING:
    import pandas

MOST_CHARACTERS = 400
"""Of one cell or sentence."""

_NO_FORMULAS = "tex2jax_ignore mathjax_ignore"
"""Keeps the MathJax of notebooks from setting what stands between dollar signs, with the links that it may hold."""


def page_of(frame: pandas.DataFrame, title: str, sentences: Sequence[str]) -> str:
    """A data frame as an HTML fragment under its title, with sentences below it. Nothing in it is markup of others."""
    said = "".join(f"<p>{_escaped(one)}</p>" for one in sentences if one)
    shown = frame.map(_text)
    table = shown.to_html(index=False, escape=True, border=0, na_rep="")
    return f'<div class="{_NO_FORMULAS}"><p><strong>{_escaped(title)}</strong></p>{table}{said}</div>'


def _text(value: Any) -> str:
    """A cell as text that ``to_html`` then escapes."""
    import pandas

    if pandas.api.types.is_scalar(value) and pandas.isna(value):
        return ""
    return clean(shortened(f"{value:.6g}" if isinstance(value, float) else str(value), MOST_CHARACTERS))


def _escaped(text: str) -> str:
    return escape(clean(shortened(text, MOST_CHARACTERS)))
