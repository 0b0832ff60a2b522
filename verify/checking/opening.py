"""The first step of a check: a model is opened.

Its repository is pinned, its claims are read and matched with tasks, and its weights are fetched if anything must be
measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from verify.checking.measure import check_metrics, must_run
from verify.checking.parts import is_measurable, settled_by
from verify.checking.reading import resolved_claims
from verify.checking.scoring import Cell, Subject
from verify.checking.subject import Loadable, fetched, gated, reference_to, subject_of
from verify.configuration.schema import VerifyConfig
from verify.errors import HubError, UsageError, VerifyError
from verify.hub import models
from verify.hub.repository import Base
from verify.store.files import DamagedError
from verify.store.record import stored_record
from verify.store.runs import slug
from verify.tasks.places import folder_of_that_name
from verify.tasks.registry import Registry
from verify.tasks.resolve import Resolved
from verify.types import TaskSpec

Key = tuple[str, str]
"""A task's name and a split."""


@dataclass(frozen=True)
class Opened:
    """A model with its claims, and the cells that they are about.

    ``cells`` must be measured: (task, split) → task. ``subject`` is None where nothing must be; ``failure`` is what
    keeps the model from being measured, if anything does.
    """

    repository: models.ModelRepository
    resolved: Resolved
    cells: Mapping[Key, TaskSpec]
    subject: Subject | None = None
    failure: VerifyError | None = None

    @property
    def model(self) -> str:
        return self.repository.model


def open_model(reference: str, config: VerifyConfig, registry: Registry, only: Sequence[str] | None) -> Opened:
    """Read the claims of one model, find the tasks that they are about, and fetch its weights if any must be measured.

    ``only`` are the tasks to look at, None for whatever the card claims. A commit that was checked before is known by
    its digests, so that its weights need not be here if what is stored answers everything. Raises a VerifyError if the
    repository itself cannot be read.
    """
    repository = models.resolve(reference)
    texts, model, revision = models.texts(repository), repository.model, repository.revision
    resolved = resolved_claims(texts, model, revision, config, registry, only)
    cells = cells_of(resolved, [registry[name] for name in only or ()], config)
    if not cells:
        return Opened(repository, resolved, cells)
    try:
        loadable = gated(repository, config)
        subject = _measured_before(loadable, config)
        if subject is None or _must_run(subject, cells, resolved, config):
            loadable = fetched(loadable)
            repository, subject = loadable.repository, subject_of(loadable)
    except VerifyError as error:
        return Opened(repository, resolved, cells, failure=error)
    return Opened(repository, resolved, cells, subject)


def cells_of(resolved: Resolved, asked: Sequence[TaskSpec], config: VerifyConfig) -> dict[Key, TaskSpec]:
    """What must be measured: (task, split) for every claim still open, and for every task asked for by name."""
    cells = {
        (match.task.name, match.split): match.task
        for claim, match in zip(resolved.claims, resolved.matches, strict=True)
        if match.task is not None and claim.claim_id not in resolved.impossible and is_measurable(claim, match.task)
    }
    covered = {name for name, _ in cells}
    for task in asked:
        if task.name not in covered:
            cells[(task.name, config.override.split or task.dataset.split)] = task
    for task in cells.values():
        check_metrics(task)
    return cells


def data_revision(task: TaskSpec, config: VerifyConfig) -> str | None:
    """The commit of a task's data set, None for files. Raises HubError if it has no such revision."""
    revision = config.override.dataset_revision or task.dataset.revision
    if task.dataset.data_files is not None:
        return revision
    try:
        return models.dataset_revision(task.dataset.path, revision)
    except HubError as error:
        raise HubError(f"{error} {folder_of_that_name(task)}".strip()) from error


def _measured_before(loadable: Loadable, config: VerifyConfig) -> Subject | None:
    """The model as the last check of the same commits identified it; None where there was none here."""
    repository = loadable.repository
    if any(part.revision is None for part in loadable.parts):
        return None
    try:
        record, is_made_here = stored_record(Path(config.results) / slug(repository.model))
    except (UsageError, DamagedError):
        return None
    if (
        not is_made_here
        or (record.model, record.revision) != (repository.model, repository.revision)
        or not record.digests
    ):
        return None
    base = Base(reference_to(loadable.base), loadable.base.folder) if loadable.base else None
    if record.base != (base.reference if base else None):
        return None
    return Subject(repository.model, repository.revision, repository.folder, record.digests, base=base)


def _must_run(subject: Subject, cells: Mapping[Key, TaskSpec], resolved: Resolved, config: VerifyConfig) -> bool:
    pinned = {}
    for key, task in cells.items():
        with contextlib.suppress(HubError):  # the cell fails for want of data, with or without a model
            pinned[key] = Cell(task, key[1], data_revision(task, config))
    return must_run(subject, list(pinned.values()), config, settled_by(config.policy, resolved, list(pinned)))
