"""A tiny untrained model of the right kind, saved as a repository is, so that a task can be tried without a real one.

Its scores mean nothing; what it shows is that the data, the columns, the labels and the whole path fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from verify.tasks.data import Examples


def save_stub(kind: str, examples: Examples, folder: Path) -> None:
    """Write a model with random weights, and its tokeniser or processor, that fits ``examples`` into ``folder``."""
    import torch

    torch.manual_seed(0)
    labels = _labels(examples)
    {"sequence-classification": _text_model, "image-classification": _image_model}[kind](examples, labels, folder)


def _labels(examples: Examples) -> Sequence[str] | None:
    if examples.is_regression:
        return None
    return examples.labels or [str(i) for i in range(max(int(label) for label in examples.references()) + 1)]


def _config_labels(labels: Sequence[str] | None) -> dict[str, Any]:
    if labels is None:
        return {"num_labels": 1}
    names = dict(enumerate(labels))
    return {"num_labels": len(names), "id2label": names, "label2id": {name: i for i, name in names.items()}}


def _text_model(examples: Examples, labels: Sequence[str] | None, folder: Path) -> None:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    texts = [str(text) for role in ("text", "text_pair") if role in examples.columns for text in examples.column(role)]
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        model_max_length=128,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        **_config_labels(labels),
    )
    BertForSequenceClassification(config).save_pretrained(folder)


def _image_model(examples: Examples, labels: Sequence[str] | None, folder: Path) -> None:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    size = 32
    ViTImageProcessor(size={"height": size, "width": size}).save_pretrained(folder)
    config = ViTConfig(
        image_size=size,
        patch_size=16,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        **_config_labels(labels),
    )
    ViTForImageClassification(config).save_pretrained(folder)
