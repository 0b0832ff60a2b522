"""Made-up recordings, and tiny models of random weights that hear them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tokenizers import pre_tokenizers
from transformers import (
    GenerationConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperTokenizer,
)

RATE = 16_000
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGH"]


def tone(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """A few sine waves that change halfway, with a little noise: float32 [seconds · rate]."""
    chance = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    first, second, third = chance.uniform(100, 2000, 3)
    wave = np.where(time < seconds / 2, np.sin(2 * np.pi * first * time), np.sin(2 * np.pi * second * time))
    wave = 0.3 * wave + 0.2 * np.sin(2 * np.pi * third * time) + 0.05 * chance.standard_normal(len(time))
    return wave.astype(np.float32)


def encoded(wave: np.ndarray, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    """The bytes of an audio file."""
    stream = io.BytesIO()
    soundfile.write(stream, wave, rate, format=form, subtype=subtype)
    return stream.getvalue()


def structs(waves: list[np.ndarray], rate: int = RATE) -> list[dict[str, Any]]:
    """Recordings as a data set stores them."""
    return [{"bytes": encoded(wave, rate, subtype="FLOAT"), "path": None} for wave in waves]


def wav2vec2_sizes(norm: str) -> dict[str, Any]:
    return {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "conv_dim": (8, 8, 8),
        "conv_kernel": (10, 8, 4),
        "conv_stride": (5, 8, 8),
        "num_feat_extract_layers": 3,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": norm,
        "do_stable_layer_norm": norm == "layer",
        "initializer_range": 0.2,
    }


def scatter_biases(model: torch.nn.Module) -> None:
    """Give biases and scales of normalisation values of their own, so that what they hide comes to light."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))


def letters(folder: Path) -> Wav2Vec2CTCTokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({letter: i for i, letter in enumerate(LETTERS)}))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    tokenizer.save_pretrained(folder)
    return tokenizer


def wav2vec2_ctc(folder: Path, norm: str) -> tuple[Any, Any, Any]:
    """A CTC model over single letters, its feature extractor and its tokeniser, saved as a repository."""
    torch.manual_seed(0)
    tokenizer = letters(folder)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    extractor.save_pretrained(folder)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(LETTERS), pad_token_id=0, **wav2vec2_sizes(norm))).eval()
    scatter_biases(model)
    model.save_pretrained(folder)
    return model, extractor, tokenizer


def whisper(folder: Path, *, is_multilingual: bool = True, window: int = 30, seed: int = 0) -> tuple[Any, Any, Any]:
    """A Whisper over bytes that hears ``window`` seconds at a time, its feature extractor and its tokeniser."""
    torch.manual_seed(seed)
    specials = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>"]
    specials += ["<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
    times = [f"<|{i * 0.02:.2f}|>" for i in range(50 * window + 1)]
    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    ids = {token: i for i, token in enumerate([*characters, *specials, *times])}
    tokenizer = WhisperTokenizer(
        vocab={character: ids[character] for character in characters},
        merges=[],
        unk_token="<|endoftext|>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
    )
    tokenizer.add_special_tokens({"additional_special_tokens": specials[1:]})
    tokenizer.add_tokens(times)
    assert tokenizer.convert_tokens_to_ids(times[-1]) == ids[times[-1]]
    tokenizer.save_pretrained(folder)
    extractor = WhisperFeatureExtractor(feature_size=8, chunk_length=window)
    extractor.save_pretrained(folder)
    config = WhisperConfig(
        vocab_size=len(ids),
        num_mel_bins=8,
        d_model=16,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=50 * window,
        max_target_positions=64,
        init_std=0.5,
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"],
        decoder_start_token_id=ids["<|startoftranscript|>"],
        suppress_tokens=None,
        begin_suppress_tokens=[ids["<|endoftext|>"]],
    )
    model = WhisperForConditionalGeneration(config).eval()
    scatter_biases(model)
    names = {"lang_to_id": ("<|en|>", "<|de|>"), "task_to_id": ("translate", "transcribe")}
    model.generation_config = GenerationConfig(
        is_multilingual=is_multilingual,
        no_timestamps_token_id=ids["<|notimestamps|>"],
        max_length=48,
        begin_suppress_tokens=[ids["<|endoftext|>"]],
        pad_token_id=config.pad_token_id,
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        decoder_start_token_id=config.decoder_start_token_id,
        **{key: {name: ids[f"<|{name.strip('<|>')}|>"] for name in names[key]} for key in names if is_multilingual},
    )
    model.save_pretrained(folder)
    return model, extractor, tokenizer
