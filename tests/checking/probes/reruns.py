"""Reruns of small real models, as cases to be explained. The engine runs in this process; plain loops are beside it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from helpers.builders import bert, save, sentences, write_parquet
from helpers.claim_making import claim
from sklearn import metrics

from verify.checking.measure import measure
from verify.checking.probes.trials import paid_trials
from verify.checking.scoring import Cell, Subject
from verify.configuration.schema import VerifyConfig
from verify.engine.running.run import run
from verify.errors import VerifyError
from verify.hub import models
from verify.judging.cases import Case, in_form, standard_reading
from verify.judging.explain import search
from verify.store.runs import PREDICTIONS, RunFolder
from verify.tasks.kinds import settings_of
from verify.tasks.schema import parse_task
from verify.types import TaskSpec

COUNT = 200
TEXTS = sentences(COUNT)
COLUMNS = {"text": "text", "label": "label"}
LABELLED = "labels: ['no', 'yes']\n"
MINUTES = 10.0


@dataclass
class Engine:
    """Runs jobs in this process; ``runs`` are the jobs that it was given."""

    runs: list[Any] = field(default_factory=list)

    def __call__(self, jobs: Any, emit: Any) -> list[VerifyError | None]:
        results: list[VerifyError | None] = []
        for index, job in enumerate(jobs):
            self.runs.append(job)
            try:
                run(job, lambda event, index=index: emit({"job": index, **event}))
                results.append(None)
            except VerifyError as error:
                results.append(error)
        return results


def silent(event: Mapping[str, Any]) -> None:
    """Take an event and show nothing."""


@dataclass
class Place:
    """A folder with a ``model`` and results."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def task(
        self, kind: str, splits: Mapping[str, Mapping[str, list[Any]]], columns: Mapping[str, str], *, more: str = ""
    ) -> TaskSpec:
        """A task over one parquet file for each split; the first is the task's own."""
        files = {name: write_parquet(self.folder / f"{name}.parquet", dict(data)) for name, data in splits.items()}
        listed = ", ".join(f"{name}: {file}" for name, file in files.items())
        roles = ", ".join(f"{role}: {column}" for role, column in columns.items())
        return parse_task(
            f"kind: {kind}\n"
            f"dataset: {{path: parquet, split: {next(iter(splits))}, data_files: {{{listed}}}}}\n"
            f"columns: {{{roles}}}\n{more}",
            name="mine",
            file=str(self.folder / "mine.yaml"),
        )

    @property
    def config(self) -> VerifyConfig:
        config = VerifyConfig(results=str(self.folder / "results"))
        config.engine.device = "cpu"
        return config

    @property
    def subject(self) -> Subject:
        repository = models.resolve(str(self.model))
        return Subject(
            "org/model", None, repository.folder, models.digests(repository), models.loaded_files(repository)
        )

    def case(self, task: TaskSpec, claimed: Mapping[str, float], digits: int = 4, split: str | None = None) -> Case:
        """Rerun a split (the task's own), and claim a value for each metric; what does not hold differs."""
        (found,) = measure(self.subject, [Cell(task, split or task.dataset.split, None)], self.config, silent)
        assert not isinstance(found, VerifyError), found
        settings = settings_of(task.kind, task.settings)
        predictions = RunFolder(Path(str(found.result)).parents[1]).predictions(PREDICTIONS, settings=settings)
        assert predictions is not None
        claims = tuple(claim(f"{value:.{digits}f}", metric) for metric, value in claimed.items())
        differing = set()
        for one in claims:
            name = standard_reading(one.metric, found.scores)
            assert name is not None
            measured = in_form(one.metric, name, found.scores[name].value)
            if not one.interval.low <= measured <= one.interval.high:
                differing.add(one.claim_id)
        return Case(task, predictions, settings, found, claims, frozenset(differing))


def logits_of(model, words, texts, **options):
    """The logits of single texts, [N, C]."""
    with torch.inference_mode():
        return np.array(
            [model(**words(text, truncation=True, return_tensors="pt", **options)).logits[0].numpy() for text in texts]
        )


def decisions(model, words, texts, **options):
    """The classes of single texts."""
    return logits_of(model, words, texts, **options).argmax(1).tolist()


def classifier(place, texts=TEXTS, **options):
    """A classifier of random weights whose bias is such that it decides for either class about as often."""
    model, words = bert(place.model, texts, ["no", "yes"], **options)
    with torch.no_grad():
        model.classifier.bias -= torch.tensor(np.median(logits_of(model, words, texts), axis=0))
    save(place.model, model)
    return model, words


def mostly(decided, wrong=0.2, seed=0):
    """Labels that agree with most of what was decided."""
    chance = random.Random(seed)
    return [1 - one if chance.random() < wrong else one for one in decided]


def scores(labels, decided):
    return {
        "accuracy": metrics.accuracy_score(labels, decided),
        "f1_macro": metrics.f1_score(labels, decided, average="macro"),
    }


def outcome(place, case, minutes=MINUTES, subject=None):
    """All attempts, and the search over them."""
    attempts = paid_trials(subject or place.subject, case, place.config, minutes, silent)
    return attempts, search(case, (), [one.paid for one in attempts])
