"""One model on some splits: answered from the store, rescored from stored predictions, or run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import __version__
from verify.config import VerifyConfig
from verify.config_values import bytes_of
from verify.engine.job import ENGINE_VERSION, Emit, Job
from verify.engine.plan import complete_prefix, example_order
from verify.errors import EngineError, StoreError, UsageError, VerifyError
from verify.locking import locked
from verify.metrics import SCORER_VERSION
from verify.metrics.names import find
from verify.predictions import LabelPredictions, Predictions, subset
from verify.store import DRAFT, PREDICTIONS, PROBE, RunFolder
from verify.tasks.data import source_digest
from verify.tasks.kinds import inference_settings, scoring_settings, settings_of
from verify.types import Measurement, Score, TaskSpec

FOREIGN = "evaluate:"

RunJobs = Callable[[Sequence[Job], Emit], list[VerifyError | None]]
"""Runs the jobs of one model and says what became of each, as :func:`verify.engine.launch.run_jobs` does."""

Settled = Callable[[int, Predictions, NDArray[np.int64], Mapping[str, Any]], bool]
"""Whether a sample settles what is asked about a cell: its position, the predictions, their examples in the seeded
order, and what the engine recorded of the run (the ``population``, and more)."""


@dataclass(frozen=True)
class Subject:
    """The model to measure: where it lies, and the digests that identify it."""

    model: str
    revision: str | None
    folder: Path
    digests: Mapping[str, str]


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


@dataclass(frozen=True)
class Cell:
    """One split of one task to measure a model on; ``revision`` is the data set's commit (None for local data)."""

    task: TaskSpec
    split: str
    revision: str | None


@dataclass(frozen=True)
class _Pending:
    """A cell that must be scored: where, and with what is known beside the predictions."""

    cell: Cell
    folder: RunFolder
    selection: Mapping[str, Any]
    digest: str | None


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
    pending: dict[int, _Pending] = {}
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
            locks.enter_context(locked(pending[index].folder, partial(_of_cell, emit, index)))
        found |= _measured(subject, pending, config, emit, settled, run)
    return [found[index] for index in range(len(cells))]


def must_run(subject: Subject, cells: Sequence[Cell], config: VerifyConfig, settled: Settled | None = None) -> bool:
    """Whether :func:`measure` would run the model on any of the cells; what is stored suffices for all others."""
    for index, cell in enumerate(cells):
        with contextlib.suppress(VerifyError):  # what keeps a cell from being measured needs no model
            one = _stored_or_pending(subject, cell, config)
            if isinstance(one, _Pending) and not _is_complete(one, config, _enough(settled, index, one, config)):
                return True
    return False


def rescore(subject: Subject, cell: Cell, folder: RunFolder, digest: str | None, config: VerifyConfig) -> Measurement:
    """The scores of a stored run by the present scorer and the task's present settings; no model is loaded.

    ``folder`` holds the rows of ``cell``, ``digest`` identifies its local data (None on the Hub); ``config`` chose
    them.
    Raises StoreError if the rows are gone, and whatever scoring raises.
    """
    selection = _selection(cell.task, config)
    if stored := folder.measurement(selection):
        return replace(stored, result=str(folder.measurement_file(selection)))
    with locked(folder, lambda event: None):
        nothing_run = {"seconds": 0.0, "inference_seconds": 0.0}
        return _score(subject, _Pending(cell, folder, selection, digest), config, nothing_run)


def _stored_or_pending(subject: Subject, cell: Cell, config: VerifyConfig) -> Measurement | _Pending:
    digest = source_digest(cell.task)
    identity = _identity(subject, cell, config, digest)
    folder = RunFolder.for_run(Path(config.results), subject.model, cell.task.name, cell.split, identity)
    selection = _selection(cell.task, config)
    if stored := folder.measurement(selection):
        return replace(stored, result=str(folder.measurement_file(selection)))
    return _Pending(cell, folder, selection, digest)


def _of_cell(emit: Emit, cell: int, event: Mapping[str, Any]) -> None:
    emit({"cell": cell, **event})


def _measured(
    subject: Subject,
    pending: Mapping[int, _Pending],
    config: VerifyConfig,
    emit: Emit,
    settled: Settled | None,
    run: RunJobs | None,
) -> dict[int, Measurement | VerifyError]:
    """Run what is not complete, then score everything."""
    from verify.engine.launch import run_jobs

    run = run or run_jobs
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
    jobs = [_job(subject, pending[index], config, may_stop) for index in to_run]
    failures = dict(zip(to_run, run(jobs, follow) if jobs else [], strict=True))
    for index, one in pending.items():
        if failure := failures.get(index):
            found[index] = failure
        if index in found:
            continue
        emit({"event": "stage", "stage": "scoring", "cell": index})
        seconds = {"seconds": time.monotonic() - started, "inference_seconds": inference[index]}
        try:
            found[index] = _score(subject, one, config, {name: round(value, 3) for name, value in seconds.items()})
        except VerifyError as error:
            found[index] = error
    return found


def _enough(settled: Settled | None, index: int, one: _Pending, config: VerifyConfig) -> Callable[[], bool]:
    """Whether what is stored of a cell settles what is asked about it."""

    def enough() -> bool:
        if settled is None:
            return False
        _, _, rows = _stored_rows(one.folder, config)
        info, predictions = one.folder.info(), stored_predictions(one.folder, one.cell.task, rows)
        return info is not None and predictions is not None and settled(index, predictions, rows, info)

    return enough


def stored_predictions(folder: RunFolder, task: TaskSpec, rows: NDArray[np.int64]) -> Predictions | None:
    """The predictions of ``rows`` as the task's settings read them; None where there are none."""
    return folder.predictions(PREDICTIONS, rows, settings_of(task.kind, task.settings)) if len(rows) else None


def _stored_rows(folder: RunFolder, config: VerifyConfig) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """The number of examples of the split, those asked for in the seeded order, and how far they are stored."""
    info = folder.info()
    population = int(info["population"]) if info else 0
    order = example_order(population, config.seed, config.limit)
    return population, order, order[: complete_prefix(order, folder.examples(PREDICTIONS))]


def _identity(subject: Subject, cell: Cell, config: VerifyConfig, digest: str | None) -> dict[str, Any]:
    """Everything that can change a prediction; never a path or a name alone."""
    task = cell.task
    source = {"digest": digest} if digest else {"path": task.dataset.path, "revision": cell.revision}
    return {
        "engine": ENGINE_VERSION,
        "model": dict(subject.digests),
        "kind": task.kind,
        "columns": dict(task.columns),
        "labels": task.labels,
        "label_aliases": {label: list(names) for label, names in task.label_aliases.items()},
        "dataset": {**source, "name": task.dataset.name, "split": cell.split},
        "dtype": config.engine.dtype,
        **({"precision": config.engine.precision} if config.engine.precision != "exact" else {}),
        "max_length": config.override.max_length,
        "settings": inference_settings(task.kind, task.settings),
    }


def _selection(task: TaskSpec, config: VerifyConfig) -> dict[str, Any]:
    """Which rows are scored and how; a new scorer version makes every stored score be computed again."""
    return {
        "scorer": SCORER_VERSION,
        "foreign": [name for name in task.metrics if name.startswith(FOREIGN)],
        "limit": config.limit,
        "seed": config.seed if config.limit is not None else None,
        "probe_share": config.policy.probe_share,
        "rows": dict(task.rows),
        "settings": scoring_settings(task.kind, task.settings),
    }


def _job(subject: Subject, one: _Pending, config: VerifyConfig, may_stop: bool) -> Job:
    from verify.engine.launch import default_threads

    engine = config.engine
    cores_each = default_threads(engine.processes)
    return Job(
        model_folder=str(subject.folder),
        task=one.cell.task,
        split=one.cell.split,
        dataset_revision=one.cell.revision,
        run_folder=str(one.folder.path),
        dtype=engine.dtype,
        precision=engine.precision,
        max_length=config.override.max_length,
        limit=config.limit,
        budget=config.budget * 60 if config.budget is not None else None,
        seed=config.seed,
        probe_share=config.policy.probe_share,
        batch_size=engine.batch_size,
        token_budget=engine.token_budget,
        token_share=engine.token_share,
        device=engine.device,
        device_map=engine.device_map,
        max_memory={str(device): str(size) for device, size in (engine.max_memory or {}).items()} or None,
        memory=bytes_of(engine.memory) if engine.memory is not None else None,
        processes=engine.processes,
        threads=min(engine.threads or cores_each, cores_each),
        may_stop=may_stop,
    )


def _is_complete(one: _Pending, config: VerifyConfig, enough: Callable[[], bool]) -> bool:
    if one.folder.info() is None:
        return False
    from verify.engine.run import probe_examples

    _, order, rows = _stored_rows(one.folder, config)
    if len(rows) < len(order) and not enough():
        return False
    probed = probe_examples(one.folder, rows, one.selection["probe_share"])
    return bool(np.isin(probed, one.folder.examples(PROBE)).all())


def _score(subject: Subject, one: _Pending, config: VerifyConfig, seconds: Mapping[str, float]) -> Measurement:
    """Score the stored predictions, of all rows asked for or of as many as the time allowed, and store the scores."""
    from verify.engine.adaptive import CALIBRATION
    from verify.metrics.flips import draft_budget, flip_budget
    from verify.metrics.registry import applicable, recorded_settings
    from verify.metrics.registry import measure as score_all
    from verify.metrics.stored import Memory, remembering

    folder, task = one.folder, one.cell.task
    info = folder.info()
    population, order, rows = _stored_rows(folder, config)
    settings = settings_of(task.kind, task.settings)
    predictions = folder.predictions(PREDICTIONS, rows, settings)
    if info is None or predictions is None or len(rows) == 0:
        raise StoreError(f"The run folder {folder.path} lacks rows after a run. Delete it and run the command again.")
    memory = Memory(folder)
    predictions = remembering(predictions, memory)
    # the statistics of texts are the costly part; those of labels are not, and `score_all` checks these first
    applied = None if isinstance(predictions, LabelPredictions) else applicable(predictions, settings)
    scores, notes = score_all(predictions, settings, applied=applied)
    probe = folder.predictions(PROBE, rows, settings) or subset(predictions, np.zeros(len(predictions), dtype=bool))
    probe = remembering(probe, memory)
    wanted = max(round(one.selection["probe_share"] * len(rows)), 1) if one.selection["probe_share"] else 0
    is_cut = config.budget is not None and len(probe) < wanted
    if is_cut and not len(probe):
        raise EngineError(
            f"The time of budget={config.budget:g} minutes ran out before any example of {task.name} had run in a "
            "second configuration, so nothing tells how sure its scores are. What was done is kept; give it more time "
            "and run the same command again."
        )
    if is_cut:
        notes = (*notes, f"Of {wanted} examples to run a second time {len(probe)} did, in the time of the budget.")
    budgets, flips = flip_budget(predictions, probe, scores, settings, applied)
    if draft := folder.predictions(DRAFT, rows, settings):
        low = draft_budget(predictions, draft, rows[:CALIBRATION], scores, settings)
        budgets = {name: budget + low.get(name, 0.0) for name, budget in budgets.items()}
    scores = {name: replace(score, budget=budgets.get(name, 0.0)) for name, score in scores.items()}
    for name in task.metrics:
        if name.startswith(FOREIGN):
            from verify.metrics.bridge import foreign

            for key, value in foreign(name.removeprefix(FOREIGN), predictions).items():
                scores.setdefault(key, Score(value, len(rows)))
    measurement = Measurement(
        task=task.name,
        split=one.cell.split,
        n=len(rows),
        population=population,
        scores=scores,
        probed=len(probe),
        flips=flips,
        provenance={
            "model": subject.model,
            "model_revision": subject.revision,
            "digests": dict(subject.digests),
            "dataset": task.dataset.path,
            "dataset_config": task.dataset.name,
            "dataset_revision": one.cell.revision,
            "dataset_digest": one.digest,
            "verify": __version__,
            "seed": config.seed,
            "settings": {
                **{name: value for name, value in settings.items() if value is not None},
                **recorded_settings(predictions, settings),
            },
            **seconds,
            **{name: info[name] for name in _KEPT if name in info},
        },
        notes=(*info["notes"], *notes),
    )
    selection = one.selection if len(rows) == len(order) else {**one.selection, "first": len(rows)}
    if is_cut:
        selection = {**selection, "probed": len(probe)}
    folder.write_measurement(selection, measurement)
    return replace(measurement, result=str(folder.measurement_file(selection)))


_KEPT = (
    "dataset_fingerprint",
    "model_labels",
    "data_labels",
    "label_alignment",
    "preprocessing",
    "device",
    "device_map",
    "dtype",
    "precision",
    "certificate",
    "attention",
    "processes",
    "threads",
    "versions",
)
