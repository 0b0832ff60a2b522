"""Small taggers, and a plain loop over single sentences, word by word."""

from pathlib import Path

import numpy as np
import torch
from engine.driving import examples_of, job_for, task_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForTokenClassification,
)

from helpers.builders import save, sentences, tokenizer
from verify.engine.kinds.token_classification import prepare

KIND = "token-classification"
COLUMNS = {"tokens": "words", "tags": "tags"}
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
WORDS = [text.split() for text in sentences(60)]
NEAR = 4e-5  # what the order of additions in float32 may change here
IDS = [[(len(word) + place) % len(TAGS) for place, word in enumerate(words)] for words in WORDS]


def model_sizes(labels, **options):
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "initializer_range": 0.3,
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {label: i for i, label in enumerate(labels)},
        **options,
    }


def bert(folder: Path, texts, labels=TAGS, max_length=128, **options):
    torch.manual_seed(0)
    words = tokenizer(texts, max_length=max_length)
    config = BertConfig(vocab_size=len(words), max_position_embeddings=max_length, **model_sizes(labels, **options))
    model = BertForTokenClassification(config).eval()
    save(folder, model, words)
    return model, words


def byte_level(texts):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return core


def pooled(rows, subword):
    if subword == "mean":
        return rows.mean(dim=0)
    return rows.max(dim=0).values if subword == "max" else rows[0 if subword == "first" else -1]


def plain_loop(model, words, sentences_of_words, subword="first", **options):
    """For each sentence the numbers of the words that the model saw, and their logits, one sentence at a time."""
    found = []
    for sentence in sentences_of_words:
        encoding = words(sentence, is_split_into_words=True, truncation=True, return_tensors="pt", **options)
        with torch.inference_mode():
            logits = model(**encoding).logits[0]
        places = {}
        for place, word in enumerate(encoding.word_ids(0)):
            if word is not None:
                places.setdefault(word, []).append(place)
        found.append({word: pooled(logits[at], subword).numpy() for word, at in places.items()})
    return found


def prepared_of(folder, data, *, task=None, labels=None, rows=None, examples=None, **options):
    task = task or task_of(KIND, COLUMNS)
    examples = examples or examples_of(task, data, labels)
    rows = np.arange(len(examples)) if rows is None else np.array(rows)
    return prepare(job_for(task, folder, **options), examples, rows, "cpu")


def check(columns, expected, names, references):
    """Tags, margins and references of every word in ``expected``, and of no other."""
    for tags, reference, margins, seen, own in zip(
        columns["tags"], columns["reference"], columns["word_margins"], expected, references, strict=True
    ):
        for tag, logits in zip(tags, seen.values(), strict=True):
            assert tag in {names[i] for i in np.flatnonzero(logits > logits.max() - NEAR)}
        assert reference == [own[word] for word in seen]
        top = [np.sort(logits)[-2:] for logits in seen.values()]
        np.testing.assert_allclose(margins, [high - low for low, high in top], atol=NEAR)
