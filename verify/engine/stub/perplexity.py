"""A tiny untrained BERT decoder, which can be loaded as a causal and as a masked language model."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import bert_sizes, word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import BertConfig, BertLMHeadModel

    tokenizer = word_pieces(str(text) for text in examples.column("text"))
    tokenizer.save_pretrained(folder)
    BertLMHeadModel(BertConfig(**bert_sizes(tokenizer), is_decoder=True)).save_pretrained(folder)
