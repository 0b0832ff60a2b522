"""How fast claims are read, alone and beside huggingface_hub's own parser of ``model-index``.

The peer reads only the metadata, so it is compared with our reading of the metadata; the other rows have no peer. Cards
come from --cards (a folder of NAME/README.md) or are made here. Asserts nothing about time.

    python scripts/bench_claims.py --quick --json rows.json
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from verify.claims.extract import read_claims
from verify.claims.form.frontmatter import Lines, read_front_matter
from verify.claims.meaning.vocabulary import load
from verify.claims.sources.metadata import read_model_index

CARDS = Path(__file__).resolve().parents[1].parent / "shared" / "cards" / "dev"
LONG = 10_000_000
METADATA = """---
license: mit
tags: [generated_from_trainer]
model-index:
- name: model-{n}
  results:
  - task: {{name: Text Classification, type: text-classification}}
    dataset: {{name: glue, type: glue, config: sst2, split: validation}}
    metrics:
    - {{name: Accuracy, type: accuracy, value: 0.91{n}}}
    - {{name: F1, type: f1, value: 0.92{n}}}
---
"""
BODY = """
# model-{n}

This model is a fine-tuned version of [base](https://example.org/base) on the glue dataset.
It achieves the following results on the evaluation set:
- Loss: 0.2{n}
- Accuracy: 0.91{n}

## Results

| Model | MMLU | GSM8K (5-shot) | HellaSwag |
|---|---|---|---|
| model-{n} | 61.{n} | 42.{n} | 70.{n} |
| other-7b | 60.1 | 41.0 | 71.2 |

The model reaches an accuracy of 91.{n}% on the test set of IMDB, and a BLEU score of 31.{n} on WMT14.

```python
from transformers import AutoModel
model = AutoModel.from_pretrained("org/model-{n}")
```
"""


def made_cards(count: int) -> list[str]:
    return [METADATA.format(n=n) + BODY.format(n=n) for n in range(100, 100 + count)]


def seconds(run: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def theirs(text: str) -> list[float]:
    """The numbers that huggingface_hub reads out of a card's metadata."""
    from huggingface_hub import ModelCard

    try:
        data = ModelCard(text, ignore_metadata_errors=True).data
    except Exception:  # broken YAML: the peer gives up on the card
        return []
    results = getattr(data, "eval_results", None) or []
    found = [result.metric_value for result in results if not load().is_not_metric(result.metric_type)]
    return [float(value) for value in found if isinstance(value, int | float) and not isinstance(value, bool)]


def ours(text: str) -> list[float]:
    """The numbers that our reading of the metadata alone finds."""
    lines = Lines(text)
    front = read_front_matter(text)
    readings = read_model_index(front, lines, load(), file="README.md", by_trainer=False)
    return [reading.number.value for reading in readings]


def row(
    name: str, unit: str, own: list[float], peer: str = "", other: list[float] | None = None, equal: bool = True
) -> dict[str, Any]:
    mine = statistics.median(own)
    their = statistics.median(other) if other else None
    ratio = round(mine / their, 3) if their else None
    return {
        "name": name, "peer": peer or None, "ours": round(mine, 4), "theirs": round(their, 4) if their else None,
        "ratio": ratio, "unit": unit, "runs": len(own), "equal": equal,
    }  # fmt: skip


def metadata_row(cards: list[str], runs: int) -> dict[str, Any]:
    """Cards a second, metadata only, in alternated runs; equal if we find every number that the peer finds."""
    own, other = [], []
    equal = all(_covers(ours(card), theirs(card)) for card in cards)
    for _ in range(runs):
        own.append(len(cards) / seconds(lambda: [ours(card) for card in cards]))
        other.append(len(cards) / seconds(lambda: [theirs(card) for card in cards]))
    return row("metadata", "cards/s", own, "huggingface_hub ModelCard", other, equal)


def _covers(found: list[float], wanted: list[float]) -> bool:
    numbers = Counter(found)
    numbers.subtract(value for value in wanted if not math.isnan(value))
    return min(numbers.values(), default=0) >= 0


def cards_row(cards: list[str], runs: int) -> dict[str, Any]:
    rates = [
        len(cards) / seconds(lambda: [read_claims({"README.md": card}, f"model-{n}") for n, card in enumerate(cards)])
        for _ in range(runs)
    ]
    return row("all sources", "cards/s", rates)


def long_rows(runs: int) -> list[dict[str, Any]]:
    header = "# Results\n|Model|" + "|".join(f"Data{column}" for column in range(49)) + "|\n" + "|---" * 50 + "|\n"
    cells = [[f"{(line * column) % 100}.{column % 10}" for column in range(49)] for line in range(1000)]
    markdown = header + "".join(f"|model-{n}|" + "|".join(line) + "|\n" for n, line in enumerate(cells))
    markup = "<table>" + "".join(
        f"<tr><td>model-{n}" + "".join(f"<td>{cell}" for cell in line) for n, line in enumerate(cells)
    )
    card = "\n".join(made_cards(50))
    texts = {
        "10 MB card": (card * (LONG // len(card) + 1))[:LONG],
        "50,000 Markdown cells": markdown,
        "50,000 HTML cells": "# Results\n" + markup + "</table>\n",
        "10 MB of metadata": "---\nmodel-index:\n- results:\n"
        + "  - metrics:\n    - {type: f1, value: 0.91}\n" * 230_000
        + "---\n",
    }
    return [
        row(name, "s", [seconds(lambda text=text: read_claims({"README.md": text}, "model-5")) for _ in range(runs)])
        for name, text in texts.items()
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer cards and runs")
    parser.add_argument("--cards", type=Path, default=CARDS)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # the peer warns about every card without metadata
    real = [path.read_bytes().decode(errors="replace") for path in sorted(options.cards.glob("*/README.md"))]
    cards = real or made_cards(50 if options.quick else 300)
    runs = 3 if options.quick else 9
    rows = [metadata_row(cards, runs), cards_row(cards, runs), *long_rows(1 if options.quick else 3)]
    shown = json.dumps(rows, indent=1)
    print(shown)
    if options.json:
        options.json.write_text(shown + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
