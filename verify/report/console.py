"""Consoles for people: foreign text is cleaned before it is laid out, and rich's own styles stay."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from verify.report.clean import clean, shortened
from verify.report.streams import raw_of


class CleanConsole(Console):
    """A console whose texts are cleaned, and cut where they are very long, before they are measured and laid out.

    Neither emoji codes nor links are made of anything, and nothing is concealed.
    """

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(clean(shortened(text)), **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(clean(segment.text), _plain(segment.style))


def console_on(*, stderr: bool = False, file: TextIO | None = None) -> CleanConsole:
    """A console on standard output, standard error or a file: the only way to make one in this package."""
    stream = file or (sys.stderr if stderr else sys.stdout)
    return CleanConsole(file=raw_of(stream), stderr=stderr, highlight=False, emoji=False)


def teller(console: Console) -> Callable[[str], None]:
    """What prints sentences, in which others' words may stand, on a console."""

    def tell(sentence: str) -> None:
        console.print(foreign(sentence))

    return tell


def foreign(text: str, style: str = "") -> Text:
    """Somebody else's text as it stands, without markup, for where rich takes no plain string."""
    return Text(clean(shortened(text)), style)


def _plain(style: Style | None) -> Style | None:
    """The style, or none of it where it links or hides, which no style of ours does."""
    return Style.null() if style is not None and (style.link or style.conceal) else style
