"""A tiny untrained wav2vec 2.0 for audio classification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verify.engine.stub.parts import class_names, config_labels
from verify.tasks.data import Examples

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8, 8),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "classifier_proj_size": 16,
}
"""A wav2vec 2.0 of a few thousand weights, whose frames are 320 samples apart as in the real ones."""


def save(examples: Examples, folder: Path) -> None:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    config = Wav2Vec2Config(**SIZES, **config_labels(class_names(examples)))
    Wav2Vec2ForSequenceClassification(config).save_pretrained(folder)
