"""A tiny untrained T5 for summarisation and translation."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = word_pieces(str(text) for role in examples.columns for text in examples.column(role))
    tokenizer.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=1,
        num_heads=2,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.sep_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    T5ForConditionalGeneration(config).save_pretrained(folder)
