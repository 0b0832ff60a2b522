"""How reliable and how fast verdicts are: simulated splits, intervals, stored predictions, causes on real runs.

    python scripts/bench_judge.py [--quick] [--only NAME] [--json FILE] [--cache FOLDER]

Each section is a module of its own, ``judge_NAME.py``, whose ``rows`` are collected here. Rows of a simulated rate or
mean carry the ends of its 95 % confidence interval, ``low`` and ``high``. Asserts nothing about time.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECTIONS = ("simulations", "intervals", "rescoring", "causes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a smaller form of every section, under 50 s together")
    parser.add_argument("--only", metavar="NAME", default="", help="only the sections whose name contains NAME")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there")
    parser.add_argument("--cache", metavar="FOLDER", type=Path, help="keeps the models and runs of the section causes")
    options = parser.parse_args()
    chosen = [name for name in SECTIONS if options.only in name]
    if not chosen:
        parser.error(f"--only {options.only}: choose among {', '.join(SECTIONS)}")
    rows = []
    for name in chosen:
        more = {"cache": options.cache} if name == "causes" else {}
        for row in importlib.import_module(f"benchmarks.judge.{name}").rows(quick=options.quick, **more):
            print(in_words(row), flush=True)
            rows.append(row)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def in_words(row: Mapping[str, Any]) -> str:
    ends = f" ({row['low']:.4g} to {row['high']:.4g})" if "low" in row else ""
    ours = f"{row['name']}: {row['ours']:.4g}{ends} {row['unit']}"
    if row["peer"] is None or row["theirs"] is None:
        return ours
    ratio = f", {row['ratio']:.3g} times" if row["ratio"] is not None else ""
    return f"{ours} beside {row['theirs']:.4g} for {row['peer']}{ratio}{'' if row['equal'] else ' RESULTS DIFFER'}"


if __name__ == "__main__":
    raise SystemExit(main())
