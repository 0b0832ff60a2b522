"""Runs of the engine that are killed at random moments and started again, against one that nobody disturbs.

    PYTHONPATH=scripts python -m benchmarks.engine.kills [--kills 50] [--examples 15000] [--processes 1] [--seed 0]
    [--json FILE]

`verify check` runs a text classifier, and gets SIGKILL at a moment drawn from the whole length of an undisturbed run,
start-up included: in turn the worker alone, the command alone, or both at once (the command, while it has no worker
yet). The same command then goes on, until a run gets to its end; then another run begins, until all kills are spent.
Every run must end in the rows and the scores of the undisturbed one.

Times are wall times. What kills cost beside start-ups is work that was not yet in a shard: the time between the last
shard and the kill, summed up, is stated as a share of the inference. The ratio of the inference of a killed run to that
of undisturbed ones (the first, and those that were faster than their kill) says the same, but only on a machine that
has nothing else to do.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.engine.models import text_classifier

ROOT = Path(__file__).resolve().parents[3]
VICTIMS = ("worker", "command", "both")
PATIENCE = 600.0
ENDS_WITHIN = 30.0


@dataclass
class Attempt:
    """One process of `verify check`: seconds until the model was ready, and seconds from then to its end or its kill.

    ``lost`` is the time from the last shard to the kill, ``victim`` who was killed, None for an attempt that ended.
    """

    start_up: float
    inference: float
    lost: float = 0.0
    victim: str | None = None


@dataclass
class Run:
    """One results folder, from nothing to its end."""

    folder: Path
    attempts: list[Attempt] = field(default_factory=list)
    found: dict[str, Any] | None = None

    @property
    def inference(self) -> float:
        return sum(attempt.inference for attempt in self.attempts)

    @property
    def kills(self) -> int:
        return sum(attempt.victim is not None for attempt in self.attempts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--examples", type=int, default=15_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kill-engine-") as scratch:
        command = prepared(Path(scratch), options.examples, options.processes)
        whole = undisturbed(Run(Path(scratch) / "whole"), command)
        start_up, inference = whole.attempts[0].start_up, whole.inference
        print(f"undisturbed: {start_up:.1f} s to start, {inference:.1f} s of inference and scoring", flush=True)
        chance, victims, runs, spent = random.Random(options.seed), cycle(VICTIMS), [], 0
        while spent < options.kills:
            run = Run(Path(scratch) / f"run-{len(runs)}")
            while run.found is None:
                moment = chance.uniform(0, start_up + inference) if spent + run.kills < options.kills else None
                attempt(run, command, moment, victims)
            spent += run.kills
            runs.append(run)
            print(
                f"run {len(runs)}: {run.kills} kills, {run.inference:.1f} s of inference, "
                f"{'the same' if is_same(run, whole) else 'OTHER'} rows and scores",
                flush=True,
            )
        figures = summary(runs, whole)
    for name, value in figures.items():
        print(f"{name}: {value}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0 if figures["equal"] else 1


def prepared(scratch: Path, examples: int, processes: int) -> list[str]:
    """Make the model, the data and the task; the command that checks them, but for its results folder."""
    subject = text_classifier(scratch / "model", examples)
    (scratch / "tasks").mkdir()
    (scratch / "tasks" / "texts.yaml").write_text(
        f"kind: {subject.kind}\n"
        f"dataset: {{path: parquet, split: test, data_files: {{test: {subject.data}}}}}\n"
        f"columns: {json.dumps(dict(subject.columns))}\nmetrics: [accuracy, loss]\n"
    )
    verify = [sys.executable, "-m", "verify", "check", subject.model, "--json", "tasks=[texts]"]
    return [*verify, f"task_path=[{scratch / 'tasks'}]", "engine.device=cpu", f"engine.processes={processes}"]


def undisturbed(run: Run, command: list[str]) -> Run:
    attempt(run, command, None, cycle(VICTIMS))
    assert run.found is not None
    return run


def attempt(run: Run, command: list[str], moment: float | None, victims: Iterator[str]) -> None:
    """Start the command, and kill it after ``moment`` seconds unless it has ended by then."""
    started = time.time()
    process = subprocess.Popen(
        [*command, f"results={run.folder}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"},
    )
    try:
        printed, _ = process.communicate(timeout=moment if moment is not None else PATIENCE)
    except subprocess.TimeoutExpired:
        killed = time.time()
        workers = descendants(process.pid)
        victim = next(victims) if workers else "command"
        for pid in [*(workers if victim != "command" else []), *([process.pid] if victim != "worker" else [])]:
            kill(pid)
        process.communicate(timeout=PATIENCE)
        wait_for(workers)
        run.attempts.append(judged(run.folder, started, killed, victim))
        return
    run.found = json.loads(printed)
    run.attempts.append(judged(run.folder, started, time.time(), None))


def judged(folder: Path, started: float, ended: float, victim: str | None) -> Attempt:
    """What an attempt did, by the times at which its files were written."""
    ready = [file.stat().st_mtime for file in folder.glob("*/*/*/run.json") if file.stat().st_mtime > started]
    if not ready:
        return Attempt(ended - started, 0.0, 0.0, victim)
    written = [file.stat().st_mtime for file in folder.rglob("*.parquet")]
    last = max([ready[0], *(moment for moment in written if moment <= ended)])
    return Attempt(ready[0] - started, ended - ready[0], ended - last if victim else 0.0, victim)


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in file.read_text().split()]
        except OSError:
            continue
        found += [one for child in children for one in (child, *descendants(child))]
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(pids: list[int]) -> None:
    """Wait until workers whose command is gone have noticed. Raises TimeoutError if they go on."""
    deadline = time.monotonic() + ENDS_WITHIN
    while any(is_running(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TimeoutError(f"The workers {pids} still run {ENDS_WITHIN:.0f} s after the command was killed.")
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rows_of(run: Run) -> Any:
    from verify.store.runs import PREDICTIONS, RunFolder

    (folder,) = run.folder.glob("*/*/*/predictions")
    return RunFolder(folder.parent).predictions(PREDICTIONS)


def is_same(run: Run, whole: Run) -> bool:
    """Whether two runs hold the same examples with the same classes, and got the same scores."""
    mine, theirs = rows_of(run), rows_of(whole)
    scores, others = (one.found["measurements"][0]["scores"] for one in (run, whole) if one.found)
    return bool(
        np.array_equal(mine.example, theirs.example)
        and np.array_equal(mine.logits.argmax(axis=1), theirs.logits.argmax(axis=1))
        and np.allclose(mine.logits, theirs.logits, atol=1e-5)
        and scores["accuracy"]["count"] == others["accuracy"]["count"]
        and np.isclose(scores["loss"]["value"], others["loss"]["value"], atol=1e-6)
    )


def summary(runs: list[Run], whole: Run) -> dict[str, Any]:
    killed = [attempt for run in runs for attempt in run.attempts if attempt.victim is not None]
    hit = [run for run in runs if run.kills]
    inference = sum(run.inference for run in hit)
    calm = statistics.median(run.inference for run in (whole, *runs) if not run.kills)
    total = sum(attempt.start_up + attempt.inference for run in runs for attempt in run.attempts)
    return {
        "kills": len(killed),
        "of them while starting up": sum(attempt.inference == 0 for attempt in killed),
        "runs that were killed": len(hit),
        "equal": all(is_same(run, whole) for run in runs),
        "inference of an undisturbed run, median s": round(calm, 2),
        "inference of a killed run, mean s": round(inference / len(hit), 2),
        "ratio": round(inference / len(hit) / calm, 3),
        "work lost, share of inference": round(sum(attempt.lost for attempt in killed) / inference, 3),
        "lost at a kill, mean s": round(statistics.mean(attempt.lost for attempt in killed), 2),
        "lost at a kill, most s": round(max(attempt.lost for attempt in killed), 2),
        "total, s": round(total, 1),
        "start-ups, s": round(sum(attempt.start_up for run in runs for attempt in run.attempts), 1),
    }


if __name__ == "__main__":
    sys.exit(main())
