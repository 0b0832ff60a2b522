"""What a worker does with a unit: open the model, measure its cells, judge its claims, store the verdicts."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from verify.checking.measure import RunJobs
from verify.checking.opening import Key, Opened, open_model
from verify.checking.outcome import exported, store
from verify.checking.pipeline import check_opened
from verify.configuration.schema import VerifyConfig
from verify.engine.job import Job
from verify.errors import EngineError, VerifyError
from verify.store.files import write_sealed
from verify.store.runs import slug
from verify.sweeping.units import OPENED, Finished, Unit
from verify.tasks.registry import Registry
from verify.types import Emit, VerdictKind

FOLDER = "sweeps"
"""Of what sweeps store, in the results folder."""


def verdicts_file(results: Path, key: str) -> Path:
    """Where a unit's verdicts are kept for the sweeps that ask for just them.

    Those in the model's folder are the last that anybody asked for, whatever the settings.
    """
    return results / FOLDER / "verdicts" / f"{key}.json"


def name_of(cell: Key) -> str:
    """A cell as reports and errors name it: ``task/split``."""
    return "/".join(cell)


def config_of(unit: Unit, config: VerifyConfig) -> VerifyConfig:
    """The configuration of an attempt: smaller batches after a worker died, and a device map for a large model."""
    share = config.engine.token_share / 4**unit.attempt
    size = config.engine.batch_size and max(config.engine.batch_size // 4**unit.attempt, 1)
    engine = replace(config.engine, token_share=share, batch_size=size)
    if unit.devices > 1 and engine.device_map is None and engine.device != "cpu":
        engine = replace(engine, device_map="auto")
    return replace(config, engine=engine)


def opened_unit(unit: Unit, config: VerifyConfig, registry: Registry) -> Opened | VerifyError:
    """The unit's model with its claims and weights, or why it cannot be had."""
    only = None if unit.tasks is None else [registry.find(name).name for name in unit.tasks]
    try:
        return open_model(unit.reference, config, registry, only)
    except VerifyError as error:
        return error


def finish(unit: Unit, opened: Opened | VerifyError, config: VerifyConfig, emit: Emit, run: RunJobs) -> Finished:
    """Measure and judge an opened unit; nothing is raised but what ends the worker.

    ``emit`` receives :data:`verify.sweeping.units.OPENED` and then the engine's events; ``run`` runs jobs.
    """
    started = time.monotonic()
    if isinstance(opened, VerifyError):
        return failed(unit, unit.reference, opened, 0.0)

    @contextmanager
    def follow(model: str, cells: Sequence[Key]) -> Iterator[Emit]:
        emit({"event": OPENED, "model": model, "cells": [list(cell) for cell in cells]})
        yield emit

    retry = unit.retry or shlex.join(["verify", "check", unit.reference])
    try:
        outcome = check_opened(opened, config_of(unit, config), retry, follow, _without(unit.given_up, run))
        folder = Path(config.results) / slug(outcome.model)
        store(outcome, folder)
        write_sealed(verdicts_file(Path(config.results), unit.key), exported(outcome), depth=3)
    except VerifyError as error:
        return failed(unit, opened.model, error, time.monotonic() - started)
    # a time budget may have ended a run, which the same command then continues
    unsettled = {VerdictKind.ERROR, *([VerdictKind.INCONCLUSIVE] if config.budget is not None else [])}
    return Finished(
        unit.reference,
        unit.key,
        outcome.model,
        str(folder),
        outcome.exit_code,
        settled=not any(verdict.kind in unsettled for verdict in outcome.verdicts),
        seconds=time.monotonic() - started,
    )


def failed(unit: Unit, model: str, error: VerifyError, seconds: float) -> Finished:
    """A unit of which nothing could be judged."""
    return Finished(
        unit.reference,
        unit.key,
        model,
        None,
        error.exit_code,
        settled=False,
        seconds=seconds,
        error=str(error),
        error_kind=type(error).__name__,
    )


def _without(given_up: Mapping[str, str], run: RunJobs) -> RunJobs:
    """Run the jobs but for those of cells that are given up, which fail with what is known of them."""

    def chosen(jobs: Sequence[Job], emit: Emit) -> list[VerifyError | None]:
        results: list[VerifyError | None] = [
            EngineError(message) if (message := given_up.get(name_of((job.task.name, job.split)))) else None
            for job in jobs
        ]
        left = [index for index, result in enumerate(results) if result is None]
        ran = run([jobs[index] for index in left], lambda event: emit({**event, "job": left[event["job"]]}))
        for index, result in zip(left, ran, strict=True):
            results[index] = result
        return results

    return chosen
