"""Scores of a stored run, made again without a model: by a newer scorer, or by other settings of a task."""

from __future__ import annotations

import contextlib

from verify.checking.identity import selection_of
from verify.checking.scoring import Cell, Code, Pending, Subject, score_rows, told
from verify.configuration.schema import VerifyConfig
from verify.store.files import ReadOnlyError
from verify.store.locking import locked
from verify.store.runs import RunFolder
from verify.types import Measurement


def rescore(
    subject: Subject,
    cell: Cell,
    folder: RunFolder,
    digest: str | None,
    config: VerifyConfig,
    code: Code | None = None,
) -> Measurement:
    """The scores of a stored run by the present scorer and the task's present settings; no model is loaded.

    ``folder`` holds the rows of ``cell``, ``digest`` identifies its local data (None on the Hub); ``config`` chose
    them. Metrics that are code are run, or told as ``code`` says. Where nothing may be written, nothing is stored.
    Raises StoreError if the rows are gone or damaged, and whatever scoring raises.
    """
    selection = selection_of(cell.task, config)
    if stored := folder.measurement(selection, strictly=True):
        return told(stored, folder, folder.measurement_file(selection))
    nothing_run = {"seconds": 0.0, "inference_seconds": 0.0}
    with contextlib.ExitStack() as locks:
        with contextlib.suppress(ReadOnlyError):
            locks.enter_context(locked(folder, lambda event: None))
        return score_rows(subject, Pending(cell, folder, selection, digest), config, nothing_run, code)
