"""A tiny untrained BERT that tags words."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import bert_sizes, config_labels, word_pieces
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
    from transformers import BertConfig, BertForTokenClassification

    tokenizer = word_pieces(str(word) for words in examples.column("tokens") for word in words or ())
    tokenizer.save_pretrained(folder)
    config = BertConfig(**bert_sizes(tokenizer), **config_labels(_tag_names(examples)))
    BertForTokenClassification(config).save_pretrained(folder)


def _tag_names(examples: Examples) -> tuple[str, ...]:
    """The tags as data or task name them, else as they occur."""
    if examples.labels is not None:
        return examples.labels
    tags = {tag for row in examples.column("tags") for tag in row or ()}
    names = {tag for tag in tags if isinstance(tag, str)}
    most = max((int(tag) for tag in tags if isinstance(tag, int | float)), default=0)
    return tuple(sorted(names)) or tuple(str(i) for i in range(most + 1))
