"""The fixed cost of `verify check`: everything but inference, against the imports that nobody can avoid.

    python scripts/bench_startup.py [--quick] [--json FILE]

Each round runs, one after the other: `verify check` on the demo with an empty results folder (its inference time is
taken off), the same command again, `verify.check` from Python with an empty results folder, and two bare Python
processes that import torch with AutoModel, and torch with the class of the demo's model. Figures are medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = Path(__file__).resolve().parent / "demo"
PEERS = {
    "import torch, AutoModel": "import torch; from transformers import AutoModel",
    "import torch, ViTForImageClassification": "import torch; from transformers import ViTForImageClassification",
}
CALL = f"""
import json, verify
settings = {{{{"task_path": [{str(DEMO / "tasks")!r}], "results": {{results!r}}}}}}
print(json.dumps(verify.check({str(DEMO / "digits-vit")!r}, **settings).to_dict()))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="2 rounds instead of 7")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    options = parser.parse_args()
    rounds = 2 if options.quick else 7
    first, whole, again, called, peers, right = [], [], [], [], {name: [] for name in PEERS}, []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as results:
            seconds, found = check(results)
            whole.append(seconds)
            first.append(seconds - found["measurements"][0]["provenance"]["inference_seconds"])
            right.append(as_expected(found))
            seconds, found = check(results)
            again.append(seconds)
            right.append(as_expected(found))
        with tempfile.TemporaryDirectory() as results:
            seconds, printed = timed([sys.executable, "-c", CALL.format(results=results)])
            called.append(seconds)
            right.append(as_expected(json.loads(printed)))
        for name, code in PEERS.items():
            peers[name].append(timed([sys.executable, "-c", code])[0])
    rows = [
        row(f"verify check, {what}", name, ours, theirs, all(right))
        for what, ours in (("fixed cost", first), ("answer from the store", again))
        for name, theirs in peers.items()
    ]
    rows.append(row("verify.check from Python, first time", "verify check", called, whole, all(right)))
    for entry in rows:
        print(f"{entry['name']}: {entry['ours']:.2f} s; {entry['peer']}: {entry['theirs']:.2f} s; {entry['ratio']:.2f}")
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


def timed(command: list[str]) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return time.perf_counter() - started, done.stdout


def check(results: str) -> tuple[float, dict]:
    target = [str(DEMO / "digits-vit"), f"task_path=[{DEMO / 'tasks'}]", f"results={results}", "--json"]
    seconds, printed = timed([sys.executable, "-m", "verify", "check", *target])
    return seconds, json.loads(printed)


def as_expected(found: dict) -> bool:
    kinds = {verdict["claim"]["literal"]: verdict["kind"] for verdict in found["verdicts"]}
    return kinds == json.loads((DEMO / "expected.json").read_text())


def row(name: str, peer: str, ours: list[float], theirs: list[float], equal: bool) -> dict:
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "name": name,
        "peer": peer,
        "ours": mine,
        "theirs": other,
        "ratio": mine / other,
        "unit": "s",
        "runs": len(ours),
        "equal": equal,
    }


if __name__ == "__main__":
    main()
