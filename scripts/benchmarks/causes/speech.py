"""Real speech for the benchmark of causes: spoken digits in a row, written down as people do, and who hears them.

Recordings of single digits, of a few speakers, are strung together, each utterance from one speaker. A long pause is
written as a comma and no pause, at times, as a hyphen. Whether an utterance begins with a capital letter, and which
mark ends it, cannot be heard: as between people who write down speech, a recogniser gets that wrong at times.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PAUSES = {"-": 0.0, " ": 0.06, ", ": 0.25}
"""Seconds of silence between two digits, by what is written between them."""
ENDS = {".": 0.6, "!": 0.2, "": 0.2}
"""How often an utterance ends with a mark."""
LETTERS = ("<pad>", "<unk>", "|", ",", ".", "!", "-")
RATE = 16_000
MELS, SIZE = 40, 96


def utterances(recordings: pa.Table, count: int, seed: int) -> pa.Table:
    """So many utterances, with the columns ``audio`` (the bytes of a WAV file) and ``text``, from single digits."""
    import datasets
    import soundfile

    chance = np.random.default_rng(seed)
    waves, rates = zip(
        *(soundfile.read(io.BytesIO(one["bytes"]), dtype="float32") for one in recordings["audio"].to_pylist()),
        strict=True,
    )
    labels, speakers = recordings["label"].to_pylist(), np.array(recordings["speaker"].to_pylist())
    made: dict[str, list[Any]] = {"audio": [], "text": []}
    for _ in range(count):
        own = np.flatnonzero(speakers == chance.choice(np.unique(speakers)))
        chosen = chance.choice(own, size=chance.integers(2, 6))
        between = chance.choice(list(PAUSES), size=len(chosen) - 1, p=(0.2, 0.5, 0.3))
        made["audio"].append({"bytes": _strung([waves[row] for row in chosen], between, rates[0]), "path": None})
        made["text"].append(_written([DIGITS[labels[row]] for row in chosen], between, chance))
    features = datasets.Features({"audio": datasets.Audio(sampling_rate=rates[0]), "text": datasets.Value("string")})
    table = pa.table(
        {"audio": pa.array(made["audio"], features.arrow_schema.field("audio").type), "text": made["text"]}
    )
    return table.cast(features.arrow_schema)


def _strung(waves: Sequence[NDArray[np.float32]], between: Sequence[str], rate: int) -> bytes:
    import soundfile

    parts = [waves[0]]
    for mark, wave in zip(between, waves[1:], strict=True):
        parts += [np.zeros(round(PAUSES[mark] * rate), np.float32), wave]
    stream = io.BytesIO()
    soundfile.write(stream, np.concatenate(parts), rate, format="WAV")
    return stream.getvalue()


def _written(words: Sequence[str], between: Sequence[str], chance: np.random.Generator) -> str:
    marks = [" " if mark == "-" and chance.random() < 0.5 else mark for mark in between]
    text = words[0] + "".join(mark + word for mark, word in zip(marks, words[1:], strict=True))
    begun = text[0].upper() + text[1:] if chance.random() < 0.7 else text
    return begun + str(chance.choice(list(ENDS), p=list(ENDS.values())))


@dataclass(frozen=True)
class Tools:
    """A feature extractor and a tokeniser, saved as one repository has them."""

    extractor: Any
    tokenizer: Any

    def save_pretrained(self, folder: Path) -> None:
        self.extractor.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def recogniser(audio: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> tuple[Any, Tools, list[dict[str, Any]]]:
    """An untrained model for CTC over letters, its tools, and what it is to learn from."""
    from transformers import SeamlessM4TFeatureExtractor, Wav2Vec2BertConfig, Wav2Vec2BertForCTC

    extractor = SeamlessM4TFeatureExtractor(feature_size=MELS, num_mel_bins=MELS, stride=2, sampling_rate=RATE)
    tokenizer = _letters(texts)
    config = Wav2Vec2BertConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        feature_projection_input_dim=2 * MELS,
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * SIZE,
        conv_depthwise_kernel_size=15,
        position_embeddings_type=None,
        layerdrop=0.0,
        apply_spec_augment=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        conformer_conv_dropout=0.0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )
    examples = [
        {**heard(one, extractor), "labels": tokenizer(text).input_ids} for one, text in zip(audio, texts, strict=True)
    ]
    return Wav2Vec2BertForCTC(config), Tools(extractor, tokenizer), examples


def heard(audio: Mapping[str, Any], extractor: Any) -> dict[str, Any]:
    """One recording as the model's features, float32 [frames, 2 · MELS], and a mask of ones."""
    import soundfile
    import soxr

    wave, rate = soundfile.read(io.BytesIO(audio["bytes"]), dtype="float32")
    found = extractor(soxr.resample(wave, rate, RATE), sampling_rate=RATE, return_tensors="pt")
    features = found["input_features"][0]
    return {"input_features": features, "attention_mask": [1] * len(features)}


def _letters(texts: Sequence[str]) -> Any:
    from transformers import Wav2Vec2CTCTokenizer

    letters = [*LETTERS, *sorted({letter for text in texts for letter in text if letter.isalpha()})]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vocab.json"
        file.write_text(json.dumps({letter: place for place, letter in enumerate(letters)}), encoding="utf-8")
        return Wav2Vec2CTCTokenizer(str(file), bos_token=None, eos_token=None, unk_token="<unk>", pad_token="<pad>")
