"""Fuzz the reader of claims: mutated cards, hypothesis, and atheris (coverage-guided, where it is installed).

Every input must be read without an exception, within two seconds, and every place of every claim must contain its
literal. Prints one JSON object with the number of inputs of each engine, the slowest input and the failures; exit
code 1 if there is a failure. Cards to mutate are taken from --cards, a folder of NAME/README.md.

    python scripts/fuzz/claims.py --inputs 200000 --json record.json
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import subprocess
import sys
import time
import traceback
from pathlib import Path

from verify.claims.extract import read_claims

LIMIT_SECONDS = 2.0
CARDS = Path(__file__).resolve().parents[2].parent / "shared" / "cards" / "dev"
PIECES = [
    *(
        "---\n",
        "|",
        "| --- | --- |\n",
        "\n\n",
        "```\n",
        "<table>",
        "<tr><td>",
        "</td>",
        "<td colspan=9999 rowspan=9999>",
    ),
    *(
        "**",
        "__",
        "[a](b)",
        "![x](y)",
        "\\|",
        "\\",
        "`",
        "&nbsp;",
        "<!--",
        "-->",
        "value: .nan\n",
        "- Accuracy: 0.91\n",
    ),
    *("model-index:\n- results:\n  - metrics:\n    - {type: f1, value: 0.9}\n", "# Results\n", "0.9/0.8", "1e999"),
    *(
        "It achieves the following results on the evaluation set:\n",
        "９",
        "%",
        "±",
        "\u2028",
        "\x00",
        "\ufeff",
        "\t",
        "\r",
    ),
    *(
        "9" * 400,
        "[" * 300,
        "{" * 300,
        "- " * 300,
        "(" * 300,
        "a" * 3000,
        " " * 3000,
        "&amp;" * 50,
        "*" * 500,
        "_" * 500,
    ),
    *("|" * 500, ":" * 500, "=" * 500, "<" * 500, "accuracy " * 100, "0.1 " * 300, "\u2003" * 1000, "\x0b" * 1000),
    *(
        "准确率：91.2%",
        "an F1 score of 92.15 on the test split of the FUNSD dataset",
        "MMLU (5-shot)",
        "<br>",
        "<sup>*</sup>",
    ),
    *("precision    recall  f1-score   support\n", "evaluated on the ", "fine-tuned on the X dataset ", "(a (b (c"),
]
SEED = """---
model-index:
- name: mine
  results:
  - dataset: {type: glue, args: mrpc}
    metrics: [{type: accuracy, value: 0.877}]
---
# mine-7B
## Results
| Model | MMLU | F1 |
|---|---|---|
| mine-7B | 61.2 | 88.5/91.2 |
The accuracy is 0.91 on the test set.
<table><tr><th>a</th></tr><tr><td>1.5</td></tr></table>
"""


class Record:
    """What was run, the slowest input, and the failures."""

    def __init__(self) -> None:
        self.inputs: dict[str, int] = {}
        self.slowest = 0.0
        self.failures: list[dict[str, str]] = []

    def check(self, engine: str, text: str) -> None:
        self.inputs[engine] = self.inputs.get(engine, 0) + 1
        begun = time.perf_counter()
        try:
            problem = violation(text)
        except Exception:
            problem = traceback.format_exc(limit=-4)
        taken = time.perf_counter() - begun
        self.slowest = max(self.slowest, taken)
        if taken > LIMIT_SECONDS:
            problem = problem or f"took {taken:.1f} s"
        if problem:
            self.failures.append({"engine": engine, "problem": problem, "input": text[:20_000]})


def violation(text: str) -> str | None:
    """Why reading ``text`` is wrong, or None."""
    extraction = read_claims({"README.md": text, ".eval_results/a.yaml": text, "eval_results.json": text}, "mine-7b")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for claim in (*extraction.claims, *extraction.candidates):
        for place in claim.evidence:
            if not place.literal or place.literal not in "\n".join(lines[place.line - 1 : place.end_line]):
                return f"{place.literal!r} is not on lines {place.line} to {place.end_line}"
    return None


def mutated(draw: random.Random, cards: list[str]) -> str:
    """A window of a card, changed in one to eight places."""
    lines = draw.choice(cards).split("\n")
    size = draw.randint(1, 60)
    start = draw.randint(0, max(0, len(lines) - size))
    text = "\n".join(lines[start : start + size] if draw.random() < 0.8 else lines[:size])[:8_000]
    for _ in range(draw.randint(1, 8)):
        place, length = draw.randint(0, len(text)), draw.randint(0, 40)
        kind = draw.random()
        if kind < 0.4:
            text = text[:place] + draw.choice(PIECES) + text[place:]
        elif kind < 0.6:
            text = text[:place] + text[place + length :]
        elif kind < 0.75:
            text = text[:place] + text[place : place + length] * draw.randint(2, 5) + text[place:]
        elif kind < 0.9:
            text = text[:place] + chr(draw.choice([draw.randint(0, 127), draw.randint(0, 0x2FFF)])) + text[place + 1 :]
        else:
            other = draw.choice(cards)
            text = text[:place] + other[(begin := draw.randint(0, len(other))) : begin + 300] + text[place:]
    return text


def run_hypothesis(record: Record, inputs: int) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    piece = st.one_of(
        st.sampled_from(PIECES), st.sampled_from(SEED.split("\n")).map(lambda line: line + "\n"), st.text(max_size=30)
    )

    @settings(max_examples=inputs, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(piece, max_size=25).map("".join))
    def read(text: str) -> None:
        record.check("hypothesis", text)

    read()


def run_atheris(inputs: int) -> None:
    """In a process of its own: libFuzzer ends it when the runs are done, or at the first failure."""
    import atheris

    with atheris.instrument_imports(include=["verify.claims"]):
        for name in [name for name in sys.modules if name.startswith("verify.claims")]:
            del sys.modules[name]
        from verify.claims.extract import read_claims as instrumented

    def one(data: bytes) -> None:
        text = atheris.FuzzedDataProvider(data).ConsumeUnicodeNoSurrogates(4096)
        begun = time.perf_counter()
        instrumented({"README.md": text}, "mine-7b")
        if time.perf_counter() - begun > LIMIT_SECONDS:
            raise RuntimeError("slow input")

    atheris.Setup([sys.argv[0], f"-runs={inputs}", "-max_len=4096", "-print_final_stats=1"], one)
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=200_000, help="inputs over all engines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cards", type=Path, default=CARDS)
    parser.add_argument("--json", type=Path, help="also write the record here")
    parser.add_argument("--atheris", type=int, metavar="RUNS", help="run only atheris, in this process")
    options = parser.parse_args()
    if options.atheris:
        run_atheris(options.atheris)
        return 0
    record = Record()
    share = options.inputs // 10
    cards = [path.read_bytes().decode(errors="replace") for path in sorted(options.cards.glob("*/README.md"))] or [SEED]
    draw = random.Random(options.seed)
    guided = importlib.util.find_spec("atheris") is not None
    for _ in range(options.inputs - share * (2 if guided else 1)):
        record.check("mutation", mutated(draw, cards))
    run_hypothesis(record, share)
    if guided:
        command = [sys.executable, __file__, "--atheris", str(share)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        record.inputs["atheris"] = share if done.returncode == 0 else 0
        if done.returncode != 0:
            record.failures.append({"engine": "atheris", "problem": done.stderr[-4000:], "input": ""})
    summary = {
        "inputs": record.inputs,
        "total": sum(record.inputs.values()),
        "slowest_seconds": round(record.slowest, 3),
        "failures": record.failures,
    }
    shown = json.dumps(summary, indent=1)
    print(shown)
    if options.json:
        options.json.write_text(shown + "\n", encoding="utf-8")
    return 1 if record.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
