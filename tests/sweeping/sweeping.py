"""A sweep as a user starts it, in a process of its own, and what it leaves behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from benchmarks.sweep.make_suite import make, write_suites
from helpers import built, forks
from helpers.builders import bert, model_index, save, sentences, write_parquet, write_task

ROOT = Path(__file__).resolve().parents[2]
COUNT = 2500
LONG = "long"
"""A task that takes some seconds, for a model of that name."""
CALM = ("policy.stop=never", "sweep.workers=2")
"""A run that may stop early stops a little sooner or later each time, and then measures a little more or less."""

Kinds = dict[tuple[str, str, str], str]
"""The kind of a model's verdicts by data set, metric and number."""


@dataclass(frozen=True)
class Suite:
    """A folder with models/, tasks/ and suite/, as the suite of known truth is written, and the environment of a
    sweep."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_known_truth(cls, folder: Path, names: Sequence[str] | None = None) -> "Suite":
        """The models of known truth that bear those names, or all."""
        whole = built.shared(make)
        models = json.loads((whole / "truth.json").read_text())["models"]
        chosen = {name: models[name] for name in names or models}
        shutil.copytree(whole / "tasks", folder / "tasks")
        for name in chosen:
            shutil.copytree(whole / "models" / name, folder / "models" / name)
        (folder / "truth.json").write_text(json.dumps({"models": chosen}))
        write_suites(folder, chosen)
        return cls(folder)

    @classmethod
    def with_a_long_task(cls, folder: Path, names: Sequence[str]) -> "Suite":
        """Those models of known truth, and one that is at work for some seconds."""
        suite = cls.of_known_truth(folder, names)
        texts = sentences(COUNT)
        model, _ = bert(folder / "models" / LONG, texts, ["no", "yes"], hidden=256, layers=4)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                torch.nn.init.normal_(module.weight, std=0.05)
        save(folder / "models" / LONG, model)
        claims = {"accuracy": "0.9", "f1": "0.5"}
        (folder / "models" / LONG / "README.md").write_text(model_index(claims, dataset=LONG, split="validation"))
        file = write_parquet(folder / "long.parquet", {"text": texts, "label": [i % 2 for i in range(COUNT)]})
        named = f"labels: ['no', 'yes']\nrows: {{validation: {COUNT}}}\n"
        write_task(folder / "tasks", LONG, file, columns="{text: text, label: label}", more=named)
        return suite

    def words(self, name: str, results: Path, *more: str) -> list[str]:
        """The command that sweeps one of its suites."""
        words = [f"suite={name}", f"task_path=[{self.folder / 'tasks'}]", f"results={results}", "engine.device=cpu"]
        return [sys.executable, "-m", "verify", "sweep", "--json", "--config-dir", str(self.folder), *words, *more]

    def begin(self, name: str, results: Path, *more: str, limit: int | None = None) -> "Begun":
        """Start a sweep; with a ``limit`` it can write no file larger than that, in KiB, as on a disk that is full."""
        words = self.words(name, results, *more)
        limited = words if limit is None else ["bash", "-c", f'ulimit -f {limit}; exec "$@"', "bash", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **self.environment}
        process = subprocess.Popen(
            limited,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return Begun(process, results)

    def sweep(self, name: str, results: Path, *more: str, limit: int | None = None) -> "Ended":
        return self.begin(name, results, *more, limit=limit).ended()


@dataclass(frozen=True)
class Begun:
    """A sweep that runs."""

    process: subprocess.Popen[str]
    results: Path

    @property
    def is_over(self) -> bool:
        return self.process.poll() is not None

    @property
    def workers(self) -> list[int]:
        return children_of(self.process.pid)

    @contextmanager
    def held_at_work(
        self, known: Collection[str] = (), workers: Callable[[], Sequence[int]] | None = None
    ) -> Iterator[list[int]]:
        """Hold the workers where the long task has stored more than was ``known``, and not all of it.

        The sweep cannot end while they are held, whatever the speed of the machine. Gives the processes.
        """
        wait_until(lambda: shards(self.results) - set(known) or self.is_over, 120)
        with held((workers or (lambda: self.workers))()) as processes:
            assert not self.is_over, f"the sweep was over before it could be disturbed: {self.process.communicate()}"
            assert processes, "nobody is at work"
            rows = sum(pq.read_metadata(shard).num_rows for shard in shards(self.results))
            assert rows < COUNT, "the long task was done before it could be disturbed: give it more rows"
            yield processes

    def ended(self, timeout: float = 240.0) -> "Ended":
        """Wait for its end; one that does not come is forced, and the test fails."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        assert "Traceback" not in err, err
        return Ended(self.process.returncode, out.replace(str(self.results), "RESULTS"), err)

    def kill(self) -> None:
        """Kill the command, and wait until its workers have noticed, also those that are held."""
        workers = self.workers
        self.process.kill()
        for pid in workers:
            send(pid, signal.SIGCONT)
        self.process.communicate()
        wait_until(lambda: not any(map(is_running, workers)), 20)


@dataclass(frozen=True)
class Ended:
    """A sweep that is over: its exit code, what it printed, and the table of it but for times."""

    code: int
    out: str
    err: str

    @property
    def table(self) -> Any:
        assert self.out, self.err
        return comparable(json.loads(self.out))


def comparable(value: Any) -> Any:
    """What a sweep found, without times, and with no more digits than the order of sums leaves as they are."""
    if isinstance(value, dict):
        return {key: comparable(one) for key, one in value.items() if key != "seconds"}
    if isinstance(value, list):
        return [comparable(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def kinds(results: Path, model: str) -> Kinds | None:
    """What verdicts.json of a model says; None if there is none."""
    file = results / model / "verdicts.json"
    if not file.is_file():
        return None
    verdicts = json.loads(file.read_text())["verdicts"]
    found = {
        (one["claim"]["dataset"], one["claim"]["metric"], one["claim"]["literal"]): one["kind"] for one in verdicts
    }
    assert len(found) == len(verdicts), "a claim is judged once"
    return found


def shards(results: Path) -> set[str]:
    """What is stored of the long task so far."""
    return {str(file) for file in results.glob(f"{LONG}/*/*/predictions/*.parquet")}


def assert_whole(found: Ended, undisturbed: Ended, results: Path) -> None:
    """The table is the undisturbed one, and nothing is stored twice or left half written."""
    assert (found.code, found.table) == (undisturbed.code, undisturbed.table)
    assert_rows_stand_once(results, LONG, COUNT)
    assert not list(results.glob("*/*/*/**/.writing-*"))


def predictions(results: Path) -> dict[str, float]:
    """Every file of predictions, and when it was written."""
    return {str(file): file.stat().st_mtime for file in results.glob("*/*/*/*/*.parquet")}


def assert_rows_stand_once(results: Path, task: str, count: int, model: str = "*") -> None:
    """The stored predictions of a task have every row of it once, whoever wrote them."""
    shards = list(results.glob(f"{model}/{task}.*/*/predictions/*.parquet"))
    assert shards
    times = Counter(row for shard in shards for row in pq.read_table(shard)["example"].to_pylist())
    assert times == Counter(range(count))


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, which may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


@contextmanager
def held(pids: Sequence[int]) -> Iterator[list[int]]:
    """Hold processes where they are, and let them go on afterwards; gives those that are still there."""
    for pid in pids:
        send(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: not any(state(pid) in ("R", "S", "D") for pid in pids))  # a signal takes its time
        yield [pid for pid in pids if is_running(pid)]
    finally:
        for pid in pids:
            send(pid, signal.SIGCONT)


def wait_until(condition: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def children_of(pid: int) -> list[int]:
    """The processes that a process has started, without the server that forks them (helpers/forks.py)."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in file.read_text().split()]
        except OSError:
            continue
    return [child for child in found if not forks.is_server(child)]


def state(pid: int) -> str:
    """A process's state as /proc has it: R, S or D if it lives, T if it is held, Z if only its end is left; or ""."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def is_running(pid: int) -> bool:
    return state(pid) not in ("Z", "")
