"""Full reruns of the reference models, by the package's engine and store, each done once."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from benchmarks.causes import numbers
from benchmarks.causes.data import TEST, Data, read
from benchmarks.causes.models import embedder, losses_of, trained

from verify.checking.measure import measure
from verify.checking.scoring import Cell, Subject
from verify.configuration.schema import VerifyConfig
from verify.engine.running.run import run as run_job
from verify.errors import VerifyError
from verify.hub import models
from verify.store.predictions import Predictions
from verify.store.runs import PREDICTIONS, RunFolder
from verify.tasks.kinds import settings_of
from verify.types import Measurement, TaskSpec


@dataclass(frozen=True)
class Run:
    """One model on the test part of one set: what was measured, and the stored predictions."""

    state: Path
    data: Data
    task: TaskSpec
    subject: Subject
    measurement: Measurement
    predictions: Predictions


@dataclass
class Runs:
    """The runs of a benchmark: models and results lie in ``cache``, ``source`` gives a set by its name."""

    source: Callable[[str], Data]
    cache: Path
    known: dict[tuple[Path, str], Run] = field(default_factory=dict)
    sets: dict[str, Data] = field(default_factory=dict)

    @staticmethod
    def over(data: Path, cache: Path) -> Runs:
        return Runs(lambda name: read(data, name), cache)

    def data(self, name: str) -> Data:
        if name not in self.sets:
            self.sets[name] = self.source(name)
        return self.sets[name]

    def states(self, name: str, seed: int) -> list[Path]:
        return trained(self.data(name), seed, self.cache / "models")

    @property
    def config(self) -> VerifyConfig:
        config = VerifyConfig(results=str(self.cache / "results"))
        config.engine.device, config.engine.threads = "cpu", 1
        return config

    def run(self, name: str, seed: int, epoch: int | None = None) -> Run:
        states = self.states(name, seed)
        return self.of(states[-1 if epoch is None else epoch - 1], self.data(name))

    def embedded(self, name: str, seed: int, on: str) -> Run:
        """The encoder of a trained classifier on a set of pairs."""
        return self.of(embedder(self.states(name, seed)[-1]), self.data(on))

    def renamed(self, name: str, seed: int, order: Sequence[int]) -> Run:
        """The same weights in a repository that calls output ``k`` by the name of class ``order[k]``."""
        state, labels = self.states(name, seed)[-1], self.data(name).labels or ()
        folder = state.parent / f"{state.name}-order-{'-'.join(map(str, order))}"[:80]
        if not (folder / "config.json").is_file():
            shutil.copytree(state, folder, ignore=shutil.ignore_patterns("config.json"))
            config = json.loads((state / "config.json").read_text(encoding="utf-8"))
            config["id2label"] = {str(output): labels[place] for output, place in enumerate(order)}
            config["label2id"] = {labels[place]: output for output, place in enumerate(order)}
            (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return self.of(folder, self.data(name))

    def of(self, state: Path, data: Data) -> Run:
        if (state, data.name) not in self.known:
            task = data.task(self.cache / "data")
            repository = models.resolve(str(state))
            name = f"reference/{state.parent.name}-{state.name}"
            subject = Subject(
                name, None, repository.folder, models.digests(repository), models.loaded_files(repository)
            )
            with in_this_process():
                (found,) = measure(subject, [Cell(task, TEST, None)], self.config, silent)
            if isinstance(found, VerifyError):
                raise found
            folder = RunFolder(Path(str(found.result)).parents[1])
            stored = folder.predictions(PREDICTIONS, settings=settings_of(task.kind, task.settings))
            assert stored is not None
            self.known[state, data.name] = Run(state, data, task, subject, found, stored)
        return self.known[state, data.name]

    def table(self, name: str, seed: int) -> list[dict[str, float]]:
        """Loss, accuracy and F1 on the test part after each epoch, of plain runs, as a Trainer's card lists them."""
        data, states = self.data(name), self.states(name, seed)
        file = states[0].parent / "table.json"
        if not file.is_file():
            reference = np.array(data.column(TEST, "label"))
            average = "binary" if len(data.labels or ()) == 2 else "macro"
            found = []
            for state in states:
                logits = np.stack(numbers.logits(state, data, TEST))
                scores = numbers.classified(logits, reference, average)
                found.append({"loss": losses_of(logits, reference), **scores})
            file.write_text(json.dumps(found), encoding="utf-8")
        rows: list[dict[str, float]] = json.loads(file.read_text(encoding="utf-8"))
        return rows


@contextlib.contextmanager
def in_this_process() -> Iterator[None]:
    """Run the engine's jobs here, which saves a worker's start for each of some hundred short runs."""

    def run_jobs(jobs: Sequence[Any], emit: Callable[[Mapping[str, Any]], None]) -> list[VerifyError | None]:
        results: list[VerifyError | None] = []
        for index, job in enumerate(jobs):
            try:
                run_job(job, lambda event, index=index: emit({"job": index, **event}))
                results.append(None)
            except VerifyError as error:
                results.append(error)
        return results

    with patch("verify.engine.running.launch.run_jobs", run_jobs):
        yield


def silent(event: Mapping[str, Any]) -> None:
    """Take an event and show nothing."""
