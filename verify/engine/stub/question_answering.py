"""A tiny untrained BERT that points at answers."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import bert_sizes, word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import BertConfig, BertForQuestionAnswering

    tokenizer = word_pieces(str(text) for role in ("question", "context") for text in examples.column(role))
    tokenizer.save_pretrained(folder)
    BertForQuestionAnswering(BertConfig(**bert_sizes(tokenizer))).save_pretrained(folder)
