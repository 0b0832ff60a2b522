"""Small real models and data sets for the tests: built on the spot, or trained on real data where ../shared/data is."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from benchmarks.word_pieces import word_pieces
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

SHARED = Path(__file__).resolve().parents[3] / "shared"
DEMO = Path(__file__).resolve().parents[2] / "scripts" / "demo"
needs_shared = pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="needs ../shared/data")

_WORDS = ["a", "the", "film", "plot", "actor", "scene", "joy", "bore", "wit", "dull", "sharp", "slow", "never"]


def sentences(count: int, seed: int = 0) -> list[str]:
    """Sentences of very different lengths: 1 to 60 words."""
    chance = random.Random(seed)
    lengths = [min(60, max(1, int(chance.lognormvariate(2.2, 0.8)))) for _ in range(count)]
    return [" ".join(chance.choices(_WORDS, k=length)) for length in lengths]


def tokenizer(texts: Sequence[str], vocab_size: int = 400, max_length: int = 128) -> PreTrainedTokenizerFast:
    return word_pieces(texts, vocab_size, max_length)


def bert(
    folder: Path,
    texts: Sequence[str],
    labels: Sequence[str] | None,
    *,
    hidden: int = 32,
    layers: int = 2,
    **options: Any,
) -> tuple[BertForSequenceClassification, PreTrainedTokenizerFast]:
    """A BERT with random weights and its tokeniser, saved as a repository; ``labels`` None is a regression."""
    torch.manual_seed(0)
    words = tokenizer(texts, **{key: options.pop(key) for key in ("vocab_size", "max_length") if key in options})
    names = (
        {"num_labels": 1}
        if labels is None
        else {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }
    )
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=4 * hidden,
        max_position_embeddings=words.model_max_length,
        initializer_range=0.3,
        **names,
    )
    model = BertForSequenceClassification(config).eval()
    save(folder, model, words)
    return model, words


def save(folder: Path, *parts: Any) -> None:
    for part in parts:
        part.save_pretrained(folder)


def write_parquet(file: Path, columns: dict[str, list[Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), file)
    return file


def write_task(folder: Path, name: str, file: Path, *, columns: str, split: str = "validation", more: str = "") -> Path:
    """A five-key task file over one parquet file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(
        "kind: sequence-classification\n"
        f"dataset: {{path: parquet, split: {split}, data_files: {{{split}: {file}}}}}\n"
        f"columns: {columns}\n{more}"
    )
    return folder


def model_index(metrics: dict[str, Any], *, dataset: str, split: str = "validation", name: str = "m") -> str:
    """A card whose metadata claims ``metrics`` (type → value, printed as given)."""
    listed = "\n".join(f"    - {{type: {metric}, value: {value}}}" for metric, value in metrics.items())
    return (
        f"---\nmodel-index:\n- name: {name}\n  results:\n  - task: {{type: text-classification}}\n"
        f"    dataset: {{type: {dataset}, name: {dataset}, split: {split}}}\n    metrics:\n{listed}\n---\n# {name}\n"
    )


def train_sst2(folder: Path, rows: int) -> tuple[int, float]:
    """Train a two-layer BERT on SST-2 and save it; returns how many of the 872 validation sentences it gets right in a
    plain loop at batch size 1, and its mean loss there.
    """
    data = SHARED / "data" / "glue" / "sst2"
    train = pq.read_table(data / "train.parquet").slice(0, rows).to_pydict()
    model, words = bert(
        folder, train["sentence"], ["NEGATIVE", "POSITIVE"], hidden=128, vocab_size=8000, max_length=128
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.02)
    ids, labels = words(train["sentence"], truncation=True)["input_ids"], torch.tensor(train["label"])
    optimizer, chance = torch.optim.AdamW(model.parameters(), lr=5e-4), random.Random(0)
    order = chance.sample(range(len(ids)), len(ids))
    batches = []
    for start in range(0, len(order), 3200):
        block = sorted(order[start : start + 3200], key=lambda i: len(ids[i]))
        groups = [block[i : i + 64] for i in range(0, len(block), 64)]
        batches += chance.sample(groups, len(groups))
    model.train()
    for batch in batches:
        inputs = words.pad({"input_ids": [ids[i] for i in batch]}, return_tensors="pt")
        model(**inputs, labels=labels[batch]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    save(folder, model.eval())
    return score(
        model, words, *(pq.read_table(data / "validation.parquet")[name].to_pylist() for name in ("sentence", "label"))
    )


def score(model: Any, words: Any, texts: list[str], labels: list[int]) -> tuple[int, float]:
    """Right answers and mean cross-entropy of a plain loop over single sentences."""
    right, loss = 0, 0.0
    with torch.inference_mode():
        for text, label in zip(texts, labels, strict=True):
            logits = model(**words(text, truncation=True, return_tensors="pt")).logits
            right += int(logits.argmax()) == label
            loss += float(torch.nn.functional.cross_entropy(logits, torch.tensor([label])))
    return right, loss / len(labels)
