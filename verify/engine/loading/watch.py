"""Seeing to it that a load opens no model's files but those that its key covers.

Python reports each file that it opens (PEP 578). A view (:mod:`verify.engine.loading.view`) holds the files of the key;
this is the second line, for a path to another model that a configuration spells in a way which the view does not know.
Readers in other languages (safetensors, tokenizers) make no such reports, and see the view alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from verify.engine.loading.view import linked
from verify.errors import EngineError

_ENDINGS = (".json", ".txt", ".model", ".spm", ".jinja", ".safetensors", ".bin", ".pt", ".tiktoken", ".gguf")
_state = threading.local()
_installed = False


@contextlib.contextmanager
def watched(folder: str, files: Sequence[str], run_folder: str, base: str | None = None) -> Iterator[None]:
    """Refuse files of ``folder``, of that of a ``base``, and of models in the Hub's cache, that no view links to.

    Only this thread is watched. What lies in ``run_folder`` is the run's own. Without ``files`` nothing is refused.
    Raises EngineError at the end if one was opened, whatever became of it.
    """
    global _installed
    if not files:
        yield
        return
    from huggingface_hub.constants import HF_HUB_CACHE

    if not _installed:
        sys.addaudithook(_on_event)
        _installed = True
    own = [f"{Path(one).resolve()}/" for one in (folder, base) if one is not None]
    _state.places = (*own, f"{Path(HF_HUB_CACHE).resolve()}/models--")
    _state.own = f"{Path(run_folder).resolve()}/"
    _state.opened = []
    try:
        yield
    finally:
        opened, _state.opened = _state.opened, None
    if opened:
        raise EngineError(
            f"Loading the model opened {opened[0]}, a file that the key of the predictions does not cover, so they "
            "could not be told from those of other files. Nothing is measured. Take out of the model's configuration "
            "what names it."
        )


def _on_event(event: str, arguments: tuple[object, ...]) -> None:
    opened = getattr(_state, "opened", None)
    if opened is None or event != "open" or not isinstance(arguments[0], str | bytes):
        return
    path = os.fsdecode(arguments[0])
    if not path.endswith(_ENDINGS) or "/site-packages/" in path:
        return
    real = os.path.realpath(path)
    if real.startswith(_state.places) and real not in linked and not real.startswith(_state.own):
        opened.append(path)
