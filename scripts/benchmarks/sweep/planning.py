"""What planning a very large sweep costs: 1,000 and 10,000 models whose cards make 20 claims on 20 built-in tasks each.

    python scripts/benchmarks/sweep/planning.py [--quick] [--json FILE]

The models are folders with a config.json, a safetensors file and a card like those on the Hub: metadata, a table of the
same numbers, training settings, prose. Every number is one that its task can give, so that arithmetic settles nothing
and all cells are planned. Each plan is made by `verify sweep --dry-run --json` in a process of its own, with an empty
results folder and without network. Memory is the most that the command and all its children hold at once, read off
/proc ten times a second (shared pages count once for each).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from verify.tasks.registry import load_registry
from verify.types import TaskSpec

ROOT = Path(__file__).resolve().parents[3]
CLAIMS = 20
COUNTS, QUICK_COUNTS = (1_000, 10_000), (100, 400)
CONFIG = {
    "architectures": ["BertForSequenceClassification"],
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "vocab_size": 500,
    "dtype": "float32",
}
RESULT = """\
  - task: {{name: Text Classification, type: text-classification}}
    dataset: {{name: {name}, type: {path}{config}, split: {split}}}
    metrics:
    - {{name: Accuracy, type: accuracy, value: {value}}}
"""
CARD = """\
---
language: en
license: apache-2.0
library_name: transformers
tags:
- text-classification
- generated_from_trainer
metrics:
- accuracy
model-index:
- name: model-{number}
  results:
{results}---
# model-{number}

This model was fine-tuned from an encoder for sentences, on the training splits of the data sets below, one head each.

## Evaluation results

| Data set | Accuracy |
|:---|---:|
{table}
## Intended uses and limitations

Short texts in English, as they occur in the data sets above. Other languages and domains were not tried.

## Training procedure

The following hyperparameters were used during training:
- learning_rate: 2e-05
- train_batch_size: 16
- seed: {number}
- optimizer: AdamW with betas=(0.9,0.999) and epsilon=1e-08
- lr_scheduler_type: linear
- num_epochs: 3.0

```python
from transformers import pipeline

classify = pipeline("text-classification", model="model-{number}")
classify("A film with a heart.")
```

### Framework versions

- Transformers 4.40.1
- Pytorch 2.3.0
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_COUNTS[0]} and {QUICK_COUNTS[1]} models")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there")
    options = parser.parse_args()
    found = []
    for row in rows(quick=options.quick):
        print(f"{row['name']}: {row['ours']:.4g} {row['unit']}", flush=True)
        found.append(row)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


def rows(*, quick: bool) -> Iterator[dict[str, Any]]:
    """Seconds, memory and time per cell of a plan of each size; no peer plans such a thing."""
    counts = QUICK_COUNTS if quick else COUNTS
    with tempfile.TemporaryDirectory(prefix="sweep-planning-") as scratch:
        folder = Path(scratch)
        make(folder / "models", max(counts))
        for count in counts:
            seconds, memory, cells = planned(folder, count)
            what = f"plan of {count:,} models × {CLAIMS} tasks, {os.cpu_count()} cores"
            yield _row(f"{what}: wall clock", seconds, "s", cells == count * CLAIMS)
            yield _row(f"{what}: peak memory with children", memory / 2**20, "MiB", cells == count * CLAIMS)
            yield _row(f"{what}: per cell", 1e6 * seconds / cells, "µs", cells == count * CLAIMS)


def _row(name: str, value: float, unit: str, equal: bool) -> dict[str, Any]:
    return {"name": name, "peer": None, "ours": value, "theirs": None, "ratio": None, "unit": unit, "equal": equal}


def make(folder: Path, count: int) -> None:
    """Write ``count`` folders of models."""
    tasks = claimable()
    folder.mkdir(parents=True)
    weights = folder.parent / "model.safetensors"
    save_file({"embeddings": np.zeros((500, 32), np.float32), "layer": np.zeros((64, 32), np.float32)}, weights)
    content, config = weights.read_bytes(), json.dumps(CONFIG)
    for number in range(count):
        model = folder / f"model-{number:05}"
        model.mkdir()
        (model / "model.safetensors").write_bytes(content)
        (model / "config.json").write_text(config)
        (model / "README.md").write_text(card(number, tasks), encoding="utf-8")


def claimable() -> list[TaskSpec]:
    """The built-in tasks on which an accuracy can be claimed, one for each data set and config."""
    registry = load_registry()
    found = {
        (task.dataset.path, task.dataset.name): task
        for task in registry.values()
        if task.kind == "sequence-classification" and "accuracy" in task.metrics and task.dataset.split in task.rows
    }
    return list(found.values())


def card(number: int, tasks: Sequence[TaskSpec]) -> str:
    """The card of one model, with an accuracy that a count of examples gives on each of 20 tasks."""
    chance = random.Random(number)
    results, table = "", ""
    for task in chance.sample(list(tasks), CLAIMS):
        rows = task.rows[task.dataset.split]
        value = f"{chance.randint(rows // 2, rows) / rows:.6f}"
        config = f", config: {task.dataset.name}" if task.dataset.name else ""
        results += RESULT.format(
            name=task.name, path=task.dataset.path, config=config, split=task.dataset.split, value=value
        )
        table += f"| {task.name} | {value} |\n"
    return CARD.format(number=number, results=results, table=table)


def planned(folder: Path, count: int) -> tuple[float, int, int]:
    """Plan the first ``count`` models: seconds, the most bytes held at once, and how many cells there are."""
    listing = folder / "models.txt"
    listing.write_text("".join(f"{folder}/models/model-{number:05}\n" for number in range(count)))
    words = ["sweep", "--dry-run", "--json", "suite=list", f"suite.file={listing}", f"results={folder / 'results'}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    out = folder / "plan.json"
    begun = time.monotonic()
    with out.open("wb") as stream, (folder / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "verify", *words], env=environment, stdout=stream, stderr=log)
        memory = 0
        while process.poll() is None:
            memory = max(memory, sum(_resident(pid) for pid in _family(process.pid)))
            time.sleep(0.1)
    seconds = time.monotonic() - begun
    if process.returncode:
        raise SystemExit(
            f"verify sweep --dry-run ended with {process.returncode}: {(folder / 'log').read_text()[-1000:]}"
        )
    return seconds, memory, int(json.loads(out.read_text())["cells"])


def _family(pid: int) -> Iterator[int]:
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return
    for child in children:
        yield from _family(int(child))


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
