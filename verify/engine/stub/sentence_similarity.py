"""A tiny untrained BERT whose mean-pooled tokens are embeddings."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import bert_sizes, word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import BertConfig, BertModel

    tokenizer = word_pieces(str(text) for role in ("text", "text_pair") for text in examples.column(role))
    tokenizer.save_pretrained(folder)
    BertModel(BertConfig(**bert_sizes(tokenizer))).save_pretrained(folder)
