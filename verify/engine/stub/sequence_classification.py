"""A tiny untrained BERT for sequence classification."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import bert_sizes, class_names, config_labels, word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    roles = [role for role in ("text", "text_pair") if role in examples.columns]
    tokenizer = word_pieces(str(text) for role in roles for text in examples.column(role))
    tokenizer.save_pretrained(folder)
    config = BertConfig(**bert_sizes(tokenizer), **config_labels(class_names(examples)))
    BertForSequenceClassification(config).save_pretrained(folder)
