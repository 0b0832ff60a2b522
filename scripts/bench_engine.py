"""How fast the engine is beside its peers, on models and data made on the spot.

    python scripts/bench_engine.py [--quick] [--only NAME] [--device cpu] [--threads N] [--runs N] [--json FILE]

The engine runs in a process with the environment that our workers get, its peers in another one with the user's own,
and only one of them computes at a time. Timed is the way from examples in memory to predictions, with the model loaded:
tokenisation or image processing, batching, decoding, and for the engine also writing its shards and reading them back.
Figures are medians of alternated runs; `equal` says whether every prediction is the peer's in every run. A peer is run
at its default and at the best of several settings, which a first round over a fifth of the data finds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench_words import in_words
from benchmarks.engine.peers import Peers
from benchmarks.engine.sides import Engine, Side

from verify.engine.running.launch import default_threads, worker_environment

RUNS, QUICK_RUNS = 5, 2
TRIED = 0.2
"""The share of the examples in the round that finds a peer's best setting."""
WARM = 0.05
"""The share of them that a peer runs untimed before each timed run; the engine runs them all. A process whose turn it
was not for a minute starts up to a quarter slower (measured), and the quicker side would pay more for that."""


@dataclass(frozen=True)
class Benchmark:
    """``ways`` maps the engine's own settings to what they are called in a row's name; ``facts`` are asked for too.

    ``count`` examples are run, ``quick`` of them in the quick form, which leaves out a benchmark where that is 0.
    """

    maker: str
    count: int
    quick: int
    ways: Mapping[str, str] = field(default_factory=lambda: {"float32": ""})
    has_facts: bool = False


BENCHMARKS: Mapping[str, Benchmark] = {
    "text classification": Benchmark(
        "text_classifier", 5000, 150, {"float32": "", "adaptive": ", adaptive precision"}, has_facts=True
    ),
    "text classification, bert-base": Benchmark("base_text_classifier", 400, 0, has_facts=True),
    "token classification": Benchmark("tagger", 2000, 60),
    "question answering": Benchmark("answerer", 300, 12),
    "image classification": Benchmark("image_classifier", 300, 12),
    "summarisation, greedy": Benchmark("greedy_summariser", 192, 12),
    "summarisation, 4 beams": Benchmark("beam_summariser", 96, 4),
}


@dataclass
class Measured:
    """One way to the predictions: what it is called, and its examples a second in each run so far."""

    name: str
    rates: list[float] = field(default_factory=list)
    found: list[Any] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"a smaller form, {QUICK_RUNS} runs without bert-base")
    parser.add_argument("--only", metavar="NAME", default="", help="only the benchmarks whose name contains NAME")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for the engine and its peers")
    parser.add_argument("--threads", type=int, default=default_threads(1), help="threads of each side; else all cores")
    parser.add_argument("--runs", type=int, help=f"alternated runs; else {RUNS}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there")
    options = parser.parse_args()
    chosen = {name: one for name, one in BENCHMARKS.items() if options.only in name}
    if not chosen:
        parser.error(f"--only {options.only}: choose among {', '.join(BENCHMARKS)}")
    if (load := os.getloadavg()[0]) > 0.5:
        print(
            f"Other programs are running (load {load:.1f}): the figures below are not to be relied on.", file=sys.stderr
        )
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    sizes = {name: size for name, one in chosen.items() if (size := one.quick if options.quick else one.count)}
    rows = list(rows_of(sizes, runs, options.device, options.threads))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def rows_of(sizes: Mapping[str, int], runs: int, device: str, threads: int) -> Iterator[dict[str, Any]]:
    """Run benchmarks, given by name with so many examples each; print and yield their rows."""
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as scratch:
        offline = {"HF_HOME": f"{scratch}/home", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
        engine = Side(Engine, (device, threads, scratch), {**worker_environment(threads), **offline})
        peers = Side(Peers, (device, threads), offline)
        try:
            for name, count in sizes.items():
                for row in measured(name, BENCHMARKS[name], engine, peers, count, runs):
                    print(in_words(row, "PREDICTIONS DIFFER"), flush=True)
                    yield row
        finally:
            engine.close()
            peers.close()


def measured(
    name: str, benchmark: Benchmark, engine: Side, peers: Side, count: int, runs: int
) -> Iterator[dict[str, Any]]:
    """The rows of one benchmark: one for each of the engine's ways and each peer at its default and at its best."""
    subject = engine.call("make", benchmark.maker, benchmark.maker, count)
    ours = {way: Measured(name + suffix) for way, suffix in benchmark.ways.items()}
    theirs: dict[tuple[str, str], Measured] = {}
    shown: list[tuple[str, tuple[str, str]]] = []
    for peer, settings, default in peers.call("open", subject):
        best = settings[0]
        if len(settings) > 1:
            tried = {setting: peers.call("run", peer, setting, TRIED)[0] for setting in settings}
            best = min(tried, key=lambda setting: tried[setting])
            shown.append((f"{peer}, {best}: the best of {', '.join(settings)}", (peer, best)))
        else:
            shown.append((f"{peer}, {best}", (peer, best)))
        if default not in (None, best):
            shown.append((f"{peer}, {default}: its default", (peer, default)))
        theirs |= {key: Measured(peer) for _, key in shown if key not in theirs}
    limits = []
    for run in range(runs):
        for way, one in ours.items():
            engine.call("run", way)
            note(one, *engine.call("run", way), count)
        for key, other in theirs.items() if run % 2 == 0 else reversed(theirs.items()):
            peers.call("run", *key, WARM)
            note(other, *peers.call("run", *key), count)
        if benchmark.has_facts:
            limits.append(engine.call("matrix_rate"))
    for one in ours.values():
        for peer, key in shown:
            yield compared(one, peer, theirs[key])
    if benchmark.has_facts:
        yield from facts(name, engine, ours, limits, count)


def note(one: Measured, seconds: float, found: list[Any], count: int) -> None:
    one.rates.append(count / seconds)
    one.found.append(found)


def compared(one: Measured, peer: str, other: Measured) -> dict[str, Any]:
    """The row of one of the engine's ways beside a peer; both have run equally often, in turn."""
    mine, theirs = statistics.median(one.rates), statistics.median(other.rates)
    differ = max(
        sum(a != b for a, b in zip(found, expected, strict=True))
        for found, expected in zip(one.found, other.found, strict=True)
    )
    if differ:
        print(f"{one.name}: {differ} of {len(one.found[0])} predictions differ from those of {peer}")
    return row(one.name, "examples/s", one.rates, mine, peer, theirs, equal=differ == 0)


def facts(
    name: str, engine: Side, ours: Mapping[str, Measured], limits: Sequence[float], count: int
) -> Iterator[dict[str, Any]]:
    """What a reader of the speeds wants to know of the inputs, the machine and adaptive precision."""
    lengths = engine.call("lengths")
    for what, value in lengths.items():
        is_share = what == "padding"
        about = "places of batches that are padding" if is_share else f"tokens of an input, {what}"
        yield row(f"{name}: {about}", "fraction" if is_share else "tokens", [value], value)
    work = engine.call("operations") / count
    yield row(f"{name}: useful operations of an example", "MFLOP", [work], work / 1e6)
    yield row(f"{name}: limit of matrix products in float32", "GFLOP/s", limits, statistics.median(limits) / 1e9)
    reached = [rate * work / limit for rate, limit in zip(ours["float32"].rates, limits, strict=True)]
    yield row(f"{name}: share of that limit reached", "fraction", reached, statistics.median(reached))
    if "adaptive" in ours:
        certificate = engine.call("certificate")
        for part in ("rechecked", "changed"):
            unit = "fraction" if part == "rechecked" else "predictions"
            yield row(f"{name}: {part} in adaptive precision", unit, [certificate[part]], certificate[part])


def row(
    name: str,
    unit: str,
    runs: Sequence[float],
    ours: float,
    peer: str | None = None,
    theirs: float | None = None,
    *,
    equal: bool = True,
) -> dict[str, Any]:
    return {
        "name": name,
        "peer": peer,
        "ours": ours,
        "theirs": theirs,
        "ratio": None if theirs is None else ours / theirs,
        "unit": unit,
        "runs": len(runs),
        "equal": equal,
    }


if __name__ == "__main__":
    raise SystemExit(main())
