"""Scoring what is stored of a run: from predictions to a measurement, without the model."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify import __version__
from verify.configuration.schema import VerifyConfig
from verify.engine.running.plan import complete_prefix, example_order
from verify.errors import EngineError, StoreError
from verify.hub.repository import Base, laid_over
from verify.hub.states import States
from verify.metrics.names import METRICS
from verify.store.files import ReadOnlyError
from verify.store.predictions import LabelPredictions, Predictions, subset
from verify.store.runs import DRAFT, PREDICTIONS, PROBE, RunFolder
from verify.tasks.kinds import settings_of
from verify.types import FOREIGN, Measurement, Score, TaskSpec

NOT_MADE_HERE = (
    "These results were not made here: they come from somebody else, or from a version without seals. They are told as "
    "they are stored; verify check measures the model itself."
)


@dataclass(frozen=True)
class Subject:
    """The model to measure: where it lies, and the digests that identify it.

    ``files`` are those that the digests cover, the only ones that a run may open; only a subject that nothing is run
    for, or whose folder was made here, has none. ``base`` is what an adapter is laid over, ``states`` those of all
    files when their digests were taken.
    """

    model: str
    revision: str | None
    folder: Path
    digests: Mapping[str, str]
    files: tuple[str, ...] = ()
    base: Base | None = None
    states: States = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Cell:
    """One split of one task to measure a model on; ``revision`` is the data set's commit (None for local data)."""

    task: TaskSpec
    split: str
    revision: str | None


@dataclass(frozen=True)
class Pending:
    """A cell that must be scored: where, and with what is known beside the predictions."""

    cell: Cell
    folder: RunFolder
    selection: Mapping[str, Any]
    digest: str | None


@dataclass(frozen=True)
class Code:
    """Metrics that are code, and must not be run: their scores are those of an ``earlier`` measurement, or unknown."""

    earlier: Measurement | None


def score_rows(
    subject: Subject,
    one: Pending,
    config: VerifyConfig,
    seconds: Mapping[str, float],
    code: Code | None = None,
) -> Measurement:
    """Score the stored predictions, of all rows asked for or of as many as the time allowed, and store the scores."""
    from verify.engine.running.adaptive import CALIBRATION
    from verify.metrics.constant import constant_note
    from verify.metrics.flips.budget import draft_budget, flip_budget
    from verify.metrics.registry import applicable, recorded_settings
    from verify.metrics.registry import measure as score_all
    from verify.metrics.stored import Memory, remembering

    folder, task = one.folder, one.cell.task
    info = folder.info()
    population, order, rows = stored_rows(folder, config)
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
    for name in task.metrics if code is None else ():
        if name.startswith(FOREIGN):
            from verify.metrics.evaluate_modules.bridge import foreign

            for key, value in foreign(name.removeprefix(FOREIGN), predictions).items():
                scores.setdefault(key, Score(value, len(rows)))
    if code is not None and code.earlier is not None and code.earlier.n == len(rows):
        scores = {**{name: one for name, one in code.earlier.scores.items() if name not in METRICS}, **scores}
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
            **({"base": subject.base.reference, "base_revision": subject.base.revision} if subject.base else {}),
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
        notes=(*laid_over(subject.base), *info["notes"], *notes, *constant_note(predictions)),
    )
    selection = one.selection if len(rows) == len(order) else {**one.selection, "first": len(rows)}
    if is_cut:
        selection = {**selection, "probed": len(probe)}
    if code is None:
        with contextlib.suppress(ReadOnlyError):
            folder.write_measurement(selection, measurement)
    return told(measurement, folder, folder.measurement_file(selection))


def stored_predictions(folder: RunFolder, task: TaskSpec, rows: NDArray[np.int64]) -> Predictions | None:
    """The predictions of ``rows`` as the task's settings read them; None where there are none."""
    return folder.predictions(PREDICTIONS, rows, settings_of(task.kind, task.settings)) if len(rows) else None


def stored_rows(folder: RunFolder, config: VerifyConfig) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """The number of examples of the split, those asked for in the seeded order, and how far they are stored."""
    info = folder.info()
    population = int(info["population"]) if info else 0
    order = example_order(population, config.seed, config.limit)
    return population, order, order[: complete_prefix(order, folder.examples(PREDICTIONS))]


def told(measurement: Measurement, folder: RunFolder, file: Path) -> Measurement:
    """A measurement with the place where it is stored, and whether what it rests on was made here."""
    provenance = {**measurement.provenance, "made_here": not folder.received}
    notes = (NOT_MADE_HERE, *measurement.notes) if folder.received else measurement.notes
    return replace(measurement, result=str(file), provenance=provenance, notes=tuple(dict.fromkeys(notes)))


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
