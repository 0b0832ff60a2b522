"""The standard streams while a command runs: whatever is printed, and by whom, is cleaned.

Consoles (:mod:`verify.report.console`) have cleaned their texts, and write to the streams below these.
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TextIO

from verify.report.clean import clean

_MOVES = re.compile(r"\r|(?:\x1b\[A)+\Z")
"""How a progress bar moves the cursor: to the beginning of the line before what it writes, or only some lines up."""


class CleanStream(io.TextIOBase):
    """A text stream that cleans what is written to it; what it is not asked to write goes to ``raw``.

    With ``bars`` a write may begin with a carriage return, as those of progress bars do.
    """

    def __init__(self, raw: TextIO, *, bars: bool = False) -> None:
        self.raw, self._bars = raw, bars

    def write(self, text: str) -> int:
        moves = _MOVES.match(text) if self._bars else None
        kept = moves[0] if moves else ""
        self.raw.write(kept + clean(text[len(kept) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.raw.flush()

    def isatty(self) -> bool:
        return self.raw.isatty()

    def fileno(self) -> int:
        return self.raw.fileno()

    def close(self) -> None:
        """Nothing: the stream below belongs to whoever made it."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.raw.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.raw.errors

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


@contextlib.contextmanager
def clean_streams() -> Iterator[None]:
    """Clean whatever is written to the standard streams meanwhile: by ``print``, logging, warnings, argparse.

    The trace of an error that nobody expected is printed later, by the interpreter; it is cleaned, too.
    """
    kept = sys.stdout, sys.stderr
    for stream in kept:
        if isinstance(stream, io.TextIOWrapper):
            # a terminal's encoding may lack a character, and no encoding has half of a surrogate pair
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = CleanStream(kept[0]), CleanStream(kept[1], bars=True)
    try:
        yield
    except Exception:
        sys.excepthook = _print_trace
        raise
    finally:
        sys.stdout, sys.stderr = kept


def _print_trace(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(clean("".join(traceback.format_exception(kind, error, trace))))


def raw_of(stream: TextIO) -> TextIO:
    """The stream that does not clean, below one that does; any other stream itself."""
    return stream.raw if isinstance(stream, CleanStream) else stream
