"""Check the built-in demo model and compare every verdict with what is known to be true of its card.

    python scripts/demo.py [RESULTS_FOLDER]

The card of scripts/demo/digits-vit holds true, rounded, percent, raised and uncheckable numbers (scripts/make_demo.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parent / "demo"


def main() -> int:
    results = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="verify-demo-")
    command = ["check", str(DEMO / "digits-vit"), f"task_path=[{DEMO / 'tasks'}]", f"results={results}", "--json"]
    print("$ verify check scripts/demo/digits-vit task_path=[scripts/demo/tasks]", flush=True)
    done = subprocess.run([sys.executable, "-m", "verify", *command], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):
        print(f"The demo did not run: exit code {done.returncode}.", file=sys.stderr)
        return 1
    verdicts = {verdict["claim"]["literal"]: verdict["kind"] for verdict in json.loads(done.stdout)["verdicts"]}
    expected = json.loads((DEMO / "expected.json").read_text())
    wrong = [literal for literal in expected.keys() | verdicts.keys() if verdicts.get(literal) != expected.get(literal)]
    for literal in wrong:
        print(f"{literal}: {verdicts.get(literal)}, and {expected.get(literal)} is right", file=sys.stderr)
    print(f"{len(expected) - len(wrong)} of {len(expected)} verdicts are right. Results: {results}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
