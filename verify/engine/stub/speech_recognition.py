"""A tiny untrained wav2vec 2.0 that writes single characters (CTC)."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from verify.engine.stub.audio_classification import SIZES
from verify.tasks.data import Examples

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "|")  # the bar stands for the space


def save(examples: Examples, folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    written = {character for text in examples.column("text") for character in str(text) if not character.isspace()}
    vocabulary = {token: i for i, token in enumerate([*_SPECIAL, *sorted(written - {"|"})])}
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "vocab.json"
        file.write_text(json.dumps(vocabulary), encoding="utf-8")
        Wav2Vec2CTCTokenizer(str(file)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    config = Wav2Vec2Config(**SIZES, vocab_size=len(vocabulary), pad_token_id=vocabulary["<pad>"])
    Wav2Vec2ForCTC(config).save_pretrained(folder)
