"""What stubs of several kinds share: class names, and a tokeniser trained on the rows at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from verify.tasks.data import Examples

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def class_names(examples: Examples) -> Sequence[str] | None:
    """The classes that a stub needs, or None for a regression."""
    if examples.is_regression:
        return None
    return examples.labels or [str(i) for i in range(max(int(label) for label in examples.references()) + 1)]


def config_labels(labels: Sequence[str] | None) -> dict[str, Any]:
    """The part of a transformers configuration that names the classes."""
    if labels is None:
        return {"num_labels": 1}
    names = dict(enumerate(labels))
    return {"num_labels": len(names), "id2label": names, "label2id": {name: i for i, name in names.items()}}


def word_pieces(texts: Iterable[str], max_length: int = 128) -> Any:
    """A fast WordPiece tokeniser trained on ``texts``."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=500, special_tokens=list(SPECIAL), show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",  # noqa: S106
        unk_token="[UNK]",  # noqa: S106
        cls_token="[CLS]",  # noqa: S106
        sep_token="[SEP]",  # noqa: S106
        mask_token="[MASK]",  # noqa: S106
        model_max_length=max_length,
    )


def bert_sizes(tokenizer: Any) -> dict[str, Any]:
    """The sizes of the tiny BERT that text stubs are."""
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": tokenizer.model_max_length,
    }
