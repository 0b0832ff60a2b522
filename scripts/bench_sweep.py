"""How fast a sweep of many models is beside a shell loop, and what planning a very large one costs.

    python scripts/bench_sweep.py [--quick] [--json FILE]

The models are those of the suite of known truth (benchmarks/sweep/make_suite.py) that come to an end. `verify sweep`
checks them with two workers on the CPU; its peers run `verify check` once for every cell (a model on one task), one
after the other as most people do, and two at a time with a thread each. Results go to a fresh folder in every run, and
runs alternate. `equal` says whether every claim gets the same verdict, with the same number measured wherever the whole
split was run; a shell loop, whose commands have all threads, may differ in the last bits of a number. Claims for which
that is not so are listed on standard error. The figures on planning are those of scripts/benchmarks/sweep/planning.py.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_words import in_words
from benchmarks.sweep import planning as sweep_planning
from benchmarks.sweep.make_suite import make

from verify.store.runs import slug

ROOT = Path(__file__).resolve().parents[1]
WORKERS, RUNS = 2, 3
QUICK = ("honest-exact-1", "understated-2", "no-head-1")
LOOP, PAIR = "a shell loop of verify check", f"verify check for each cell, {WORKERS} at a time (xargs)"

LAST_BITS = 1e-8
"""Relative: what another number of threads may change of a correlation of numbers in single precision."""

Verdict = tuple[str, float | None]
"""The kind of a verdict, and what was measured if the whole split was run."""
Verdicts = Mapping[tuple[str, str, str, str], Verdict]
"""By model, data set, metric and number."""


@dataclass(frozen=True)
class Cell:
    """A model and the task to check it on; None where its card names none that is known."""

    model: str
    task: str | None

    @property
    def name(self) -> str:
        return f"{self.model}--{self.task}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{len(QUICK)} models in one run, and less to plan")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there")
    options = parser.parse_args()
    if (load := os.getloadavg()[0]) > 0.5:
        print(
            f"Other programs are running (load {load:.1f}): the figures below are not to be relied on.", file=sys.stderr
        )
    rows = []
    for row in [*beside_loops(quick=options.quick), *sweep_planning.rows(quick=options.quick)]:
        print(in_words(row, "VERDICTS DIFFER"), flush=True)
        rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def beside_loops(*, quick: bool) -> Iterator[dict[str, Any]]:
    """The rows that compare a sweep with its peers."""
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as scratch:
        folder = Path(scratch) / "suite"
        truth = make(folder, list(QUICK) if quick else None)["models"]
        models = [name for name, stated in truth.items() if all(one["kind"] != "error" for one in stated)]
        cells = [cell for name in models for cell in _cells(name, truth[name], folder)]
        runs = 1 if quick else RUNS
        seconds: dict[str, list[float]] = {"": [], PAIR: [], LOOP: []}
        found: dict[str, list[Verdicts]] = {"": [], PAIR: [], LOOP: []}
        for run in range(runs):
            for way in seconds if run % 2 == 0 else reversed(seconds):
                results = Path(scratch) / f"results-{run}-{len(way)}"
                results.mkdir()
                command = _sweep(folder, results) if way == "" else _loop(folder, results, cells, pairwise=way == PAIR)
                begun = time.monotonic()
                _run(command, results / "log")
                seconds[way].append(time.monotonic() - begun)
                found[way].append(_swept(models, results) if way == "" else _looped(cells, results))
        rates = {way: 60 * len(cells) / statistics.median(taken) for way, taken in seconds.items()}
        for way in (LOOP, PAIR):
            yield {
                "name": f"sweep of {len(models)} models, {len(cells)} cells, {WORKERS} workers",
                "peer": way,
                "ours": rates[""],
                "theirs": rates[way],
                "ratio": rates[""] / rates[way],
                "unit": "cells/min",
                "runs": runs,
                "equal": all(
                    _agree(one, found[""][0], LAST_BITS if other == LOOP else 0.0)
                    for other in ("", way)
                    for one in found[other]
                ),
            }


def _agree(one: Verdicts, swept: Verdicts, tolerance: float) -> bool:
    """Whether all verdicts are the same, and numbers but for a relative ``tolerance``."""
    claims = one.keys() | swept.keys()
    differing = [claim for claim in claims if not _is_same(one.get(claim), swept.get(claim), tolerance)]
    for claim in differing:
        print(f"{' '.join(claim)}: {one.get(claim)} beside the sweep's {swept.get(claim)}", file=sys.stderr)
    return not differing


def _is_same(one: Verdict | None, swept: Verdict | None, tolerance: float) -> bool:
    if one is None or swept is None:
        return False
    (kind, measured), (swept_kind, swept_measured) = one, swept
    if swept_kind == "impossible":  # what arithmetic settles in a sweep is run where its task is named
        return True
    if measured is None or swept_measured is None:
        return one == swept
    return kind == swept_kind and math.isclose(measured, swept_measured, rel_tol=tolerance)


def _cells(model: str, stated: Sequence[Mapping[str, str]], folder: Path) -> list[Cell]:
    known = [data for data in dict.fromkeys(one["data"] for one in stated) if (folder / f"tasks/{data}.yaml").is_file()]
    return [Cell(model, task) for task in known] or [Cell(model, None)]


def _sweep(folder: Path, results: Path) -> list[str]:
    words = ["sweep", "--config-dir", str(folder), "suite=settled", f"sweep.workers={WORKERS}"]
    return [sys.executable, "-m", "verify", *words, *_settings(folder, results)]


def _settings(folder: Path, results: Path) -> list[str]:
    return [f"task_path=[{folder / 'tasks'}]", f"results={results}", "engine.device=cpu"]


def _loop(folder: Path, results: Path, cells: Sequence[Cell], *, pairwise: bool) -> list[str]:
    """A script with a command for each cell, which leaves its verdicts in a file, or as many commands at a time."""
    lines = []
    for cell in cells:
        words = [sys.executable, "-m", "verify", "check", str(folder / "models" / cell.model), "--json"]
        words += _settings(folder, results) + ([f"tasks=[{cell.task}]"] if cell.task else [])
        words += ["engine.threads=1"] if pairwise else []
        lines.append(f"{shlex.join(words)} > {shlex.quote(str(results / f'{cell.name}.json'))}")
    script = results / "commands"
    script.write_text("".join(f"{line}\n" for line in lines))
    if pairwise:
        return ["xargs", "--arg-file", str(script), "-d", "\n", "-n", "1", "-P", str(WORKERS), "bash", "-c"]
    return ["bash", str(script)]


def _run(command: Sequence[str], log: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as stream:
        subprocess.run(command, env=environment, stdout=stream, stderr=subprocess.STDOUT, check=False)


def _swept(models: Sequence[str], results: Path) -> Verdicts:
    return {
        (model, *key): value
        for model in models
        for key, value in _verdicts(results / slug(model) / "verdicts.json").items()
    }


def _looped(cells: Sequence[Cell], results: Path) -> Verdicts:
    """What the commands printed; that on a claim about another cell's task is left to the command of that cell."""
    found: dict[tuple[str, str, str, str], Verdict] = {}
    for cell in cells:
        for key, value in _verdicts(results / f"{cell.name}.json").items():
            if key[0] == cell.task or (cell.model, *key) not in found:
                found[cell.model, *key] = value
    return found


def _verdicts(file: Path) -> dict[tuple[str, str, str], Verdict]:
    try:
        verdicts = json.loads(file.read_text())["verdicts"]
    except (OSError, ValueError) as error:
        raise SystemExit(f"{file} holds no verdicts ({error}); look at {file.parent / 'log'}.") from error
    return {
        (one["claim"]["dataset"], one["claim"]["metric"], one["claim"]["literal"]): (
            one["kind"],
            one["measured"] if one["evidence"] == "full" else None,
        )
        for one in verdicts
    }


if __name__ == "__main__":
    raise SystemExit(main())
