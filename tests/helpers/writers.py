"""Small encoder-decoder models: random weights, or trained for some seconds to translate."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    LEDConfig,
    LEDForConditionalGeneration,
    M2M100Config,
    M2M100ForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

PAD, END = 1, 2  # of every model here but T5, whose are 0 and 1
CLASSES = {
    "bart": (BartConfig, BartForConditionalGeneration),
    "led": (LEDConfig, LEDForConditionalGeneration),
    "m2m_100": (M2M100Config, M2M100ForConditionalGeneration),
    "marian": (MarianConfig, MarianMTModel),
    "mbart": (MBartConfig, MBartForConditionalGeneration),
}


def writer(kind: str, vocabulary: int = 60, seed: int = 0, **options: Any) -> Any:
    """A model with two layers on each side, whose random weights are large enough for its choices to differ."""
    torch.manual_seed(seed)
    if kind == "t5":
        sizes = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "initializer_factor": 2.0}
        tokens = {"pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
        model = T5ForConditionalGeneration(T5Config(vocab_size=vocabulary, **{**sizes, **tokens, **options}))
        return model.eval()
    sizes = {"d_model": 32, "max_position_embeddings": 64, "init_std": 0.6}
    if kind == "led":
        sizes = {"d_model": 32, "max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64}
        sizes |= {"attention_window": 4, "init_std": 0.6}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 64}
    tokens = {"pad_token_id": PAD, "bos_token_id": 0, "eos_token_id": END, "decoder_start_token_id": END}
    configuration, model_class = CLASSES[kind]
    return model_class(configuration(vocab_size=vocabulary, **{**sizes, **tokens, **options})).eval()


def texts_of_ids(count: int, seed: int, vocabulary: int = 60, end: int = END) -> list[list[int]]:
    chance = random.Random(seed)
    return [[*(chance.randrange(3, vocabulary) for _ in range(chance.randint(1, 14))), end] for _ in range(count)]


def padded(rows: Sequence[Sequence[int]], padding: int = PAD) -> dict[str, torch.Tensor]:
    width = max(map(len, rows))
    return {
        "input_ids": torch.tensor([[*row, *[padding] * (width - len(row))] for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
    }


def written_alone(model: Any, rows: Sequence[Sequence[int]], settings: Mapping[str, Any]) -> list[list[int]]:
    """What transformers' ``generate`` writes for each row at batch size 1."""
    return [model.generate(**padded([row]), do_sample=False, **settings)[0].tolist() for row in rows]


def train(model: Any, pairs: Sequence[tuple[list[int], list[int]]], *, peak: float, steps: int) -> Any:
    """Teach ``model`` the pairs of token ids (both with their end) until it knows them, in so many steps at most."""
    chance, mean = random.Random(0), 9.9
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98))
    model.train()
    for step in range(1, steps + 1):
        if mean <= 0.03:
            break
        for group in optimizer.param_groups:
            group["lr"] = peak * min(1.0, step / 50, 0.1 + 2 * (1 - step / steps))
        sources, targets = zip(*chance.sample(pairs, 32), strict=True)
        wanted = padded(targets)
        labels = wanted["input_ids"].masked_fill(wanted["attention_mask"] == 0, -100)
        loss = model(**padded(sources), labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        mean += 0.1 * (loss.item() - mean)
    return model.eval()
