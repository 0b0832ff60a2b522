"""However a run is laid out, and wherever it is cut off and goes on in another layout, its rows are the same.

Layouts are a number of processes and a token budget. Everything that needs two processes is run by two launches.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import answering
from helpers.builders import bert, sentences

from engine.job_making import assert_same_rows, events_of, job_on, predictions_of, shards_of, totals
from verify.engine.job import Job
from verify.engine.running.launch import Worker
from verify.engine.running.run import run
from verify.store.predictions import AnswerPredictions
from verify.store.runs import PREDICTIONS, PROBE, RunFolder

TEXTS = sentences(400)
BUDGETS = {"quarter": 64, "one": 256, "four": 1024}
READ = {name: values * 3 for name, values in answering.DATA.items()}
NEXT = {"quarter": "four", "four": "one", "one": "quarter"}


class CutOffError(Exception):
    pass


@dataclass(frozen=True)
class Layout:
    processes: int
    budget: str

    def of(self, job: Job) -> Job:
        return replace(job, processes=self.processes, token_budget=BUDGETS[self.budget])


@pytest.fixture(scope="module")
def subjects(tmp_path_factory) -> dict[str, Job]:
    """A job on a classifier, whose examples are one unit each, and one on a reader, whose examples are several."""
    classified, read = tmp_path_factory.mktemp("classifier"), tmp_path_factory.mktemp("reader")
    bert(classified / "model", TEXTS, ["bad", "neutral", "good"])
    answering.bert(read / "model", answering.CONTEXTS + answering.QUESTIONS)
    settings = "".join(f"  {name}: {value}\n" for name, value in answering.SHORT.items())
    return {
        "one unit": job_on(
            classified,
            "sequence-classification",
            {"text": TEXTS, "label": [i % 3 for i in range(400)]},
            {"text": "text", "label": "label"},
            more="labels: [bad, neutral, good]\n",
            probe_share=0.2,
        ),
        "several units": job_on(
            read,
            "question-answering",
            READ,
            answering.COLUMNS,
            more=f"settings:\n{settings}",
            probe_share=0.2,
        ),
    }


@pytest.fixture(scope="module")
def undisturbed(subjects) -> dict[str, Job]:
    """Each job run by one process without a break."""
    whole = {name: replace(job, run_folder=f"{job.run_folder}-whole") for name, job in subjects.items()}
    for job in whole.values():
        events_of(job)
    return whole


Key = tuple[str, int, int, str]  # a subject, the processes that begin and those that go on, the first token budget


def planned(subjects: dict[str, Job]) -> Iterator[tuple[Key, Job, Job]]:
    for name, before, after, budget in product(subjects, (1, 2), (1, 2), BUDGETS):
        folder = f"{subjects[name].run_folder}-{before}-{after}-{budget}"
        job = replace(subjects[name], run_folder=folder)
        yield (name, before, after, budget), Layout(before, budget).of(job), Layout(after, NEXT[budget]).of(job)


@pytest.fixture(scope="module")
def resumed(subjects) -> dict[Key, tuple[Job, int, int]]:
    """Every change of layout, made halfway: the job, how many rows were there by then, and how many were run after."""
    plan = list(planned(subjects))
    halves = [replace(first, limit=len(of_split(first)) // 2, probe_share=0.0) for _, first, _ in plan]
    together([half for half in halves if half.processes == 2])
    for (_, first, _), half in zip(plan, halves, strict=True):
        if first.processes == 1:
            cut_off(first, at=half.limit or 0)
    kept = {key: len(RunFolder(Path(first.run_folder)).examples(PREDICTIONS)) for key, first, _ in plan}
    run_again = together([second for _, _, second in plan if second.processes == 2])
    for _, _, second in plan:
        if second.processes == 1:
            run_again[second.run_folder] = sum(totals(events_of(second), PREDICTIONS))
    return {key: (second, kept[key], run_again[second.run_folder]) for key, _, second in plan}


def of_split(job: Job) -> list[str]:
    return TEXTS if job.task.kind == "sequence-classification" else READ["context"]


def together(jobs: list[Job]) -> dict[str, int]:
    """Run the jobs in one launch of two processes; how many examples each of them ran."""
    ran = {job.run_folder: 0 for job in jobs}

    def count(event):
        if event["event"] == "start" and event["pass"] == PREDICTIONS:
            ran[jobs[event["job"]].run_folder] += event["total"]

    assert Worker(jobs).follow(count) == dict.fromkeys(range(len(jobs)))
    return ran


def cut_off(job: Job, at: int) -> None:
    """Run a job in this process until it has done ``at`` examples, wherever in a block that is."""

    def watch(event):
        if event["event"] == "rows" and event["done"] >= at:
            raise CutOffError

    with pytest.raises(CutOffError):
        run(job, watch)


LAYOUTS = list(product(["one unit", "several units"], (1, 2), (1, 2), BUDGETS))


@pytest.mark.parametrize("key", LAYOUTS, ids=lambda key: f"{key[0]}, {key[1]} then {key[2]}, {key[3]}")
def test_rows_are_the_same_in_every_layout_and_after_every_change_of_it(resumed, undisturbed, key):
    job, kept, run_again = resumed[key]
    count = len(of_split(job))
    assert 0 < kept < count
    assert run_again == count - kept, "nothing is run twice"
    found, expected = predictions_of(job), predictions_of(undisturbed[key[0]])
    assert found.example.tolist() == list(range(count))
    assert_same_rows(found, expected)
    assert as_stored(job) == count, "no example is stored twice"
    assert_same_rows(predictions_of(job, PROBE), predictions_of(undisturbed[key[0]], PROBE))


def as_stored(job: Job) -> int:
    """All rows of all shards, with none taken for another."""
    folder = Path(job.run_folder) / PREDICTIONS
    return len(pa.concat_tables(pq.read_table(folder / name) for name in shards_of(job)))


def test_two_processes_share_the_work(resumed, undisturbed):
    job, _, _ = resumed["one unit", 2, 2, "one"]
    assert RunFolder(Path(job.run_folder)).info()["processes"] == 2
    assert RunFolder(Path(undisturbed["one unit"].run_folder)).info()["processes"] == 1


def test_the_reader_has_several_units_an_example(undisturbed):
    found = predictions_of(undisturbed["several units"])
    assert isinstance(found, AnswerPredictions)
    info = RunFolder(Path(undisturbed["several units"].run_folder)).info()
    assert info["preprocessing"]["windows"] > 2 * len(found)
