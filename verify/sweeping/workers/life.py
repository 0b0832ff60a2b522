"""Telling that a worker lives while it waits for a download or for another process, which no event of the engine shows.

A worker that computes must show progress by its events: one that hangs there is to be found, whatever the others
download meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from verify.store.locking import WAITING
from verify.sweeping.units import LIFE
from verify.sweeping.workers.turn import WAITING_FOR_DEVICE
from verify.types import Emit

BETWEEN_LOOKS = 5.0  # seconds
_LOADING = "loading the data"  # a stage of the engine, in which a data set may be downloaded


class Life:
    """Says :data:`verify.sweeping.units.LIFE` every few seconds, as long as there is a reason to believe it."""

    def __init__(self, say: Callable[[Mapping[str, Any]], None], between_looks: float = BETWEEN_LOOKS) -> None:
        self._say, self._between_looks = say, between_looks
        self._downloads = self._waits = False
        self._size = -1
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def opening(self) -> None:
        """From now on a download that goes on is a sign of life."""
        self._downloads, self._waits = True, False

    def resting(self) -> None:
        """From now on nothing is."""
        self._downloads = self._waits = False

    def end(self) -> None:
        """Say nothing any more, for good."""
        self._over.set()

    def watching(self, emit: Emit) -> Emit:
        """Pass events on to ``emit``, and learn from them what this process waits for."""

        def watched(event: Mapping[str, Any]) -> None:
            stage = event.get("stage") if event["event"] == "stage" else None
            self._downloads, self._waits = stage == _LOADING, stage in (WAITING, WAITING_FOR_DEVICE)
            emit(event)

        return watched

    def _watch(self) -> None:
        while not self._over.wait(self._between_looks):
            if self._waits or (self._downloads and self._has_grown()):
                with contextlib.suppress(OSError):  # nobody reads any more: the process is about to end
                    self._say({"event": LIFE})

    def _has_grown(self) -> bool:
        """Whether the files that are being downloaded, by this process or others, are not what they were."""
        before, self._size = self._size, sum(_sizes())
        return self._size != before


def _sizes() -> Iterator[int]:
    from datasets.config import HF_DATASETS_CACHE
    from huggingface_hub.constants import HF_HUB_CACHE

    data = Path(HF_DATASETS_CACHE)
    downloads = [*Path(HF_HUB_CACHE).glob("*/blobs/*.incomplete"), *data.glob("downloads/*.incomplete")]
    for file in [*downloads, *data.glob("*/*/*/*.incomplete/*")]:
        with contextlib.suppress(OSError):
            yield file.stat().st_size
