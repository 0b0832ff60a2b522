"""WordPiece tokenisers of BERT's kind that come out the same each time they are trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def word_pieces(texts: Iterable[str], size: int, longest: int, *, lowercase: bool = True, **options: Any) -> Any:
    """A fast tokeniser of at most ``size`` pieces trained on ``texts``, for inputs of up to ``longest`` tokens.

    ``options`` are those of ``PreTrainedTokenizerFast``.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.model = models.WordPiece(_vocabulary(core, list(texts), size), unk_token="[UNK]")
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=longest, **names, **options)


def _vocabulary(core: Any, texts: list[str], size: int) -> dict[str, int]:
    """The pieces and their numbers.

    Left to itself, the trainer numbers the letters that go on in a word as a hash table lists them, anew in every
    process, and settles ties between pairs of pieces by these numbers. As special tokens they keep the order given.
    """
    from tokenizers import Tokenizer, trainers

    learner = Tokenizer.from_str(core.to_str())
    letters = sorted({letter for text in texts for letter in core.normalizer.normalize_str(text)} - {" "})
    first = [*SPECIAL, *(f"##{letter}" for letter in letters)]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=first, show_progress=False)
    learner.train_from_iterator(texts, trainer)
    found: dict[str, int] = learner.get_vocab()
    return found
