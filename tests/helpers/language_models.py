"""Tiny language models of several families, with tokenisers trained on the spot."""

from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)


def byte_pairs(
    texts: Sequence[str], *, begin: str | None = None, end: str | None = None, max_length: int = 64
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokeniser as GPT-2's; ``begin`` and ``end`` are put around every text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = [token for token in ("<unk>", begin, end) if token is not None]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    if begin is not None or end is not None:
        around = " ".join(token for token in (begin, "$A", end) if token is not None)
        core.post_processor = processors.TemplateProcessing(
            single=around, special_tokens=[(token, special.index(token)) for token in special[1:]]
        )
    names = {"bos_token": begin, "eos_token": end, "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=max_length,
        **{name: token for name, token in names.items() if token is not None},
    )


def gpt2(vocabulary: int, positions: int = 64) -> Any:
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_positions=positions,
        n_embd=32,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()


def llama(vocabulary: int, positions: int = 64) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def masked_bert(vocabulary: int, positions: int = 64) -> Any:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=positions,
        initializer_range=0.3,
    )
    return BertForMaskedLM(config).eval()
