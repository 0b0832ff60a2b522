"""Taggers that have learnt real entities and parts of speech, against a plain loop and seqeval."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save, tokenizer
from helpers.tagging import KIND, bert, check, model_sizes, plain_loop, prepared_of
from transformers import (
    BertConfig,
    BertForTokenClassification,
)

from engine.driving import drive, examples_of, task_of
from verify.errors import NotComparableError
from verify.metrics.families.sequence import metrics
from verify.store.predictions import TagPredictions


def train_tagger(folder: Path, rows, labels):
    """A small BERT trained on real tweets for three epochs."""
    torch.manual_seed(0)
    words = tokenizer([" ".join(tokens) for tokens in rows["tokens"]], vocab_size=4000)
    sizes = model_sizes(labels, hidden_size=64, num_hidden_layers=1, intermediate_size=128, initializer_range=0.05)
    model = BertForTokenClassification(BertConfig(vocab_size=len(words), max_position_embeddings=128, **sizes))
    encoding = words(rows["tokens"], is_split_into_words=True, truncation=True)
    targets = []
    for i, tags in enumerate(rows["ner_tags"]):
        numbers, before = encoding.word_ids(i), [None, *encoding.word_ids(i)]
        targets.append([-100 if w is None or w == b else tags[w] for w, b in zip(numbers, before, strict=False)])
    order, chance = sorted(range(len(targets)), key=lambda i: len(targets[i])), random.Random(0)
    batches = [order[i : i + 32] for i in range(0, len(order), 32)]
    batches = [batch for _ in range(3) for batch in chance.sample(batches, len(batches))]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / 30, 1 - step / len(batches)))
    for batch in batches:
        inputs = words.pad({"input_ids": [encoding["input_ids"][i] for i in batch]}, return_tensors="pt")
        width = inputs["input_ids"].shape[1]
        wanted = torch.tensor([targets[i] + [-100] * (width - len(targets[i])) for i in batch])
        model(**inputs, labels=wanted).loss.backward()
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
    save(folder, model.eval(), words)
    return model, words


@needs_shared
def test_real_entities_of_a_trained_tagger_score_as_seqeval_says(tmp_path):
    import datasets
    from seqeval.metrics import f1_score

    folder = SHARED / "data" / "broad_twitter_corpus" / "default"
    read = {name: datasets.Dataset.from_parquet(str(folder / f"{name}.parquet")) for name in ("train", "validation")}
    labels = tuple(read["train"].features["ner_tags"].feature.names)
    model, words = train_tagger(tmp_path, read["train"].select(range(3138, 5338))[:], labels)
    table = read["validation"].select(range(300))
    task = task_of(KIND, {"tokens": "tokens", "tags": "ner_tags"})
    prepared = prepared_of(tmp_path, None, task=task, examples=examples_of(task, table, labels))
    expected = plain_loop(model, words, table["tokens"])
    names = [[labels[tag] for tag in row] for row in table["ner_tags"]]
    columns = drive(prepared, 300, 32)
    check(columns, expected, labels, names)
    score = metrics(TagPredictions(np.arange(300), **columns, scheme=prepared.info["scheme"]))["f1"].score("f1")
    tags = [[labels[logits.argmax()] for logits in seen.values()] for seen in expected]
    seen_names = [[own[word] for word in seen] for own, seen in zip(names, expected, strict=True)]
    assert score.value == pytest.approx(f1_score(seen_names, tags), abs=1e-9)
    assert score.value > 0.1, "the tagger has learnt something"
    assert prepared.info["scheme"] == "IOB2"


@needs_shared
def test_real_parts_of_speech_are_those_of_a_plain_loop(tmp_path):
    import datasets

    file = SHARED / "data" / "universal_dependencies" / "en_ewt" / "test.parquet"
    table = datasets.Dataset.from_parquet(str(file)).select(range(500))
    labels = tuple(table.features["upos"].feature.names)
    known = [label for label in labels if label != "_"]
    model, words = bert(tmp_path, table["text"], known, max_length=48)
    task = task_of(KIND, {"tokens": "tokens", "tags": "upos"})
    examples = examples_of(task, table, labels)
    prepared = prepared_of(tmp_path, None, task=task, examples=examples)
    columns = drive(prepared, 500, 32)
    check(
        columns, plain_loop(model, words, table["tokens"]), known, [[labels[t] for t in row] for row in table["upos"]]
    )
    assert prepared.info["scheme"] == "none"
    assert "the model has no class for _" in prepared.info["label_alignment"]
    by_name = replace(task, columns={"tokens": "tokens", "tags": "xpos"})
    with pytest.raises(NotComparableError, match="The model has 17 classes"):
        prepared_of(tmp_path, None, task=by_name, examples=examples_of(by_name, table))
