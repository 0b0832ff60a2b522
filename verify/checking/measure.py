"""One model on some splits: answered from the store, rescored from stored predictions, or run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.checking.identity import identity_of, selection_of
from verify.checking.jobs import job_of
from verify.checking.scoring import Cell, Pending, Subject, score_rows, stored_predictions, stored_rows, told
from verify.configuration.schema import VerifyConfig
from verify.engine.job import Job
from verify.errors import UsageError, VerifyError
from verify.metrics.names import find
from verify.store import seals
from verify.store.locking import locked
from verify.store.predictions import Predictions
from verify.store.runs import PREDICTIONS, PROBE, RunFolder
from verify.tasks.places import source_digest
from verify.types import FOREIGN, Emit, Measurement, TaskSpec

RunJobs = Callable[[Sequence[Job], Emit], list[VerifyError | None]]
"""Runs the jobs of one model and says what became of each, as :func:`verify.engine.running.launch.run_jobs` does."""

Settled = Callable[[int, Predictions, NDArray[np.int64], Mapping[str, Any]], bool]
"""Whether a sample settles what is asked about a cell: its position, the predictions, their examples in the seeded
order, and what the engine recorded of the run (the ``population``, and more)."""


def check_metrics(task: TaskSpec) -> None:
    """Raise UsageError if a task names a metric that does not exist."""
    for name in task.metrics:
        if not name.startswith(FOREIGN):
            try:
                find(name)
            except UsageError as error:
                raise UsageError(
                    f"{task.file}: metrics: {error} Any `evaluate` module: evaluate:NAME_OR_PATH."
                ) from error


def measure(
    subject: Subject,
    cells: Sequence[Cell],
    config: VerifyConfig,
    emit: Emit,
    settled: Settled | None = None,
    run: RunJobs | None = None,
) -> list[Measurement | VerifyError]:
    """The scores of a model on each cell, at the least cost: stored, rescored, or run.

    What must be run is run by one worker, which loads the model once, or by ``run``. A cell that fails gives its error
    and does not keep the others from being measured. ``emit`` receives events; ``cell`` in each is a position in
    ``cells``. A run goes no further than until ``settled`` says that its first examples are enough; without it, to its
    end.
    """
    found: dict[int, Measurement | VerifyError] = {}
    pending: dict[int, Pending] = {}
    for index, cell in enumerate(cells):
        try:
            one = _stored_or_pending(subject, cell, config)
        except VerifyError as error:
            found[index] = error
        else:
            if isinstance(one, Measurement):
                found[index] = one
            else:
                pending[index] = one
    with contextlib.ExitStack() as locks:
        for index in sorted(pending, key=lambda index: str(pending[index].folder.path)):
            try:
                pending[index].folder.make_ready()
            except VerifyError as error:
                found[index] = error
                del pending[index]
                continue
            locks.enter_context(locked(pending[index].folder, partial(_of_cell, emit, index)))
        found |= _measured(subject, pending, config, emit, settled, run)
    return [found[index] for index in range(len(cells))]


def must_run(subject: Subject, cells: Sequence[Cell], config: VerifyConfig, settled: Settled | None = None) -> bool:
    """Whether :func:`measure` would run the model on any of the cells; what is stored suffices for all others."""
    for index, cell in enumerate(cells):
        with contextlib.suppress(VerifyError):  # what keeps a cell from being measured needs no model
            one = _stored_or_pending(subject, cell, config)
            if isinstance(one, Pending) and not _is_complete(one, config, _enough(settled, index, one, config)):
                return True
    return False


def _stored_or_pending(subject: Subject, cell: Cell, config: VerifyConfig) -> Measurement | Pending:
    digest = source_digest(cell.task)
    identity = identity_of(subject, cell, config, digest)
    folder = RunFolder.for_run(Path(config.results), subject.model, cell.task.name, cell.split, identity)
    selection = selection_of(cell.task, config)
    if stored := folder.measurement(selection):
        return told(stored, folder, folder.measurement_file(selection))
    return Pending(cell, folder, selection, digest)


def _of_cell(emit: Emit, cell: int, event: Mapping[str, Any]) -> None:
    emit({"cell": cell, **event})


def _measured(
    subject: Subject,
    pending: Mapping[int, Pending],
    config: VerifyConfig,
    emit: Emit,
    settled: Settled | None,
    run: RunJobs | None,
) -> dict[int, Measurement | VerifyError]:
    """Run what is not complete, then score everything."""
    from verify.engine.running.launch import run_jobs

    run = run or run_jobs
    seals.establish()
    started = time.monotonic()
    inference = dict.fromkeys(pending, 0.0)
    found: dict[int, Measurement | VerifyError] = {}
    to_run = []
    for index, one in pending.items():
        try:
            if not _is_complete(one, config, _enough(settled, index, one, config)):
                to_run.append(index)
        except VerifyError as error:
            found[index] = error

    def follow(event: Mapping[str, Any]) -> None:
        index = to_run[event["job"]]
        if event["event"] == "end" and event["rank"] == 0:
            inference[index] += float(event["seconds"])
        is_block = event["event"] == "block" and event["pass"] == PREDICTIONS
        if is_block and _enough(settled, index, pending[index], config)():
            pending[index].folder.ask_to_stop()
        emit({**event, "cell": index})

    may_stop = settled is not None and config.engine.precision == "exact"
    jobs = [job_of(subject, pending[index], config, may_stop) for index in to_run]
    failures = dict(zip(to_run, run(jobs, follow) if jobs else [], strict=True))
    for index, one in pending.items():
        if failure := failures.get(index):
            found[index] = failure
        if index in found:
            continue
        emit({"event": "stage", "stage": "scoring", "cell": index})
        seconds = {"seconds": time.monotonic() - started, "inference_seconds": inference[index]}
        try:
            found[index] = score_rows(subject, one, config, {name: round(value, 3) for name, value in seconds.items()})
        except VerifyError as error:
            found[index] = error
    return found


def _enough(settled: Settled | None, index: int, one: Pending, config: VerifyConfig) -> Callable[[], bool]:
    """Whether what is stored of a cell settles what is asked about it."""

    def enough() -> bool:
        if settled is None:
            return False
        _, _, rows = stored_rows(one.folder, config)
        info, predictions = one.folder.info(), stored_predictions(one.folder, one.cell.task, rows)
        return info is not None and predictions is not None and settled(index, predictions, rows, info)

    return enough


def _is_complete(one: Pending, config: VerifyConfig, enough: Callable[[], bool]) -> bool:
    if one.folder.info() is None:
        return False
    from verify.engine.running.run import probe_examples

    _, order, rows = stored_rows(one.folder, config)
    if len(rows) < len(order) and not enough():
        return False
    probed = probe_examples(one.folder, rows, one.selection["probe_share"])
    return bool(np.isin(probed, one.folder.examples(PROBE)).all())
