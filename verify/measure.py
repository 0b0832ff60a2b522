"""One model on one split: answered from the store, rescored from stored predictions, or run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from verify import __version__
from verify.config import VerifyConfig
from verify.engine.job import ENGINE_VERSION, Emit, Job
from verify.engine.plan import example_order
from verify.errors import StoreError, UsageError
from verify.metrics import SCORER_VERSION
from verify.metrics.registry import find
from verify.store import PREDICTIONS, PROBE, RunFolder
from verify.tasks.data import source_digest
from verify.types import Measurement, Score, TaskSpec

FOREIGN = "evaluate:"


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


def measure(
    subject: Subject, task: TaskSpec, split: str, config: VerifyConfig, revision: str | None, emit: Emit
) -> Measurement:
    """The scores of a model on a split, at the least cost: stored, rescored, or run.

    ``revision`` is the data set's commit (None for local data). Raises a VerifyError if the run fails.
    """
    digest = source_digest(task)
    identity = _identity(subject, task, split, config, revision, digest)
    folder = RunFolder.for_run(Path(config.results), subject.model, task.name, split, identity)
    selection = _selection(task, config)
    if stored := folder.measurement(selection):
        return replace(stored, result=str(folder.measurement_file(selection)))
    started, inference = time.monotonic(), [0.0]

    def follow(event: Mapping[str, Any]) -> None:
        if event["event"] == "end" and event["rank"] == 0:
            inference.append(float(event["seconds"]))
        emit(event)

    with _locked(folder, emit):
        if not _is_complete(folder, config):
            _run(subject, task, split, config, revision, folder, follow)
        emit({"event": "stage", "stage": "scoring"})
        elapsed = {"seconds": time.monotonic() - started, "inference_seconds": sum(inference)}
        seconds = {name: round(value, 3) for name, value in elapsed.items()}
        data = {"dataset_revision": revision, "dataset_digest": digest}
        measurement = _score(folder, subject, task, split, config, {**data, **seconds})
        folder.write_measurement(selection, measurement)
    return replace(measurement, result=str(folder.measurement_file(selection)))


def _identity(
    subject: Subject, task: TaskSpec, split: str, config: VerifyConfig, revision: str | None, digest: str | None
) -> dict[str, Any]:
    """Everything that can change a prediction; never a path or a name alone."""
    source = {"digest": digest} if digest else {"path": task.dataset.path, "revision": revision}
    return {
        "engine": ENGINE_VERSION,
        "model": dict(subject.digests),
        "kind": task.kind,
        "columns": dict(task.columns),
        "labels": task.labels,
        "label_aliases": {label: list(names) for label, names in task.label_aliases.items()},
        "dataset": {**source, "name": task.dataset.name, "split": split},
        "dtype": config.engine.dtype,
        "max_length": config.override.max_length,
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
    }


def _run(
    subject: Subject,
    task: TaskSpec,
    split: str,
    config: VerifyConfig,
    revision: str | None,
    folder: RunFolder,
    emit: Emit,
) -> None:
    from verify.engine.launch import Worker, default_threads

    engine = config.engine
    worker = Worker(
        Job(
            model_folder=str(subject.folder),
            task=task,
            split=split,
            dataset_revision=revision,
            run_folder=str(folder.path),
            dtype=engine.dtype,
            max_length=config.override.max_length,
            limit=config.limit,
            seed=config.seed,
            probe_share=config.policy.probe_share,
            batch_size=engine.batch_size,
            token_budget=engine.token_budget,
            device=engine.device,
            processes=engine.processes,
            threads=engine.threads or default_threads(engine.processes),
        )
    )
    worker.follow(emit)


def _is_complete(folder: RunFolder, config: VerifyConfig) -> bool:
    info = folder.info()
    if info is None:
        return False
    from verify.engine.run import probe_examples

    rows = example_order(int(info["population"]), config.seed, config.limit)
    stored, probe = folder.rows(PREDICTIONS), folder.rows(PROBE)
    if stored is None or not np.isin(rows, stored["example"]).all():
        return False
    wanted = probe_examples(folder, rows, config.policy.probe_share)
    return len(wanted) == 0 or (probe is not None and bool(np.isin(wanted, probe["example"]).all()))


def _score(
    folder: RunFolder,
    subject: Subject,
    task: TaskSpec,
    split: str,
    config: VerifyConfig,
    known: Mapping[str, Any],
) -> Measurement:
    """Score the stored predictions; ``known`` joins the provenance."""
    from verify.metrics.flips import flip_budget
    from verify.metrics.registry import measure as score_all

    info = folder.info()
    rows = example_order(int(info["population"]), config.seed, config.limit) if info else None
    predictions, probe = folder.predictions(PREDICTIONS, rows), folder.predictions(PROBE, rows)
    if info is None or rows is None or predictions is None or len(predictions.example) != len(rows):
        raise StoreError(f"The run folder {folder.path} lacks rows after a run. Delete it and run the command again.")
    scores, notes = score_all(predictions)
    if probe is None:
        probe = replace(
            predictions,
            example=predictions.example[:0],
            logits=predictions.logits[:0],
            reference=predictions.reference[:0],
        )
    budgets, flips = flip_budget(predictions, probe, scores)
    scores = {name: replace(score, budget=budgets.get(name, 0.0)) for name, score in scores.items()}
    for name in task.metrics:
        if name.startswith(FOREIGN):
            from verify.metrics.bridge import foreign

            for key, value in foreign(name.removeprefix(FOREIGN), predictions).items():
                scores.setdefault(key, Score(value, len(rows)))
    return Measurement(
        task=task.name,
        split=split,
        n=len(rows),
        population=int(info["population"]),
        scores=scores,
        probed=len(probe.example),
        flips=flips,
        provenance={
            "model": subject.model,
            "model_revision": subject.revision,
            "digests": dict(subject.digests),
            "dataset": task.dataset.path,
            "dataset_config": task.dataset.name,
            "verify": __version__,
            "seed": config.seed,
            **known,
            **{name: info[name] for name in _KEPT if name in info},
        },
        notes=(*info["notes"], *notes),
    )


_KEPT = (
    "dataset_fingerprint",
    "model_labels",
    "data_labels",
    "label_alignment",
    "preprocessing",
    "device",
    "dtype",
    "processes",
    "threads",
    "versions",
)


@contextlib.contextmanager
def _locked(folder: RunFolder, emit: Emit) -> Iterator[None]:
    """Only one process runs a folder at a time; a second one waits, and says so."""
    lock = FileLock(folder.path / ".lock")
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            emit({"event": "stage", "stage": "waiting for another run of the same model and task"})
            lock.acquire()
    except OSError as error:
        raise StoreError(
            f"The results folder {folder.path} cannot be written: {error.strerror}. Choose another one with "
            "results=FOLDER."
        ) from error
    try:
        yield
    finally:
        lock.release()
