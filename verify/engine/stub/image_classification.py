"""A tiny untrained ViT for image classification."""

from __future__ import annotations

from pathlib import Path

from verify.engine.stub.parts import class_names, config_labels
from verify.tasks.data import Examples


def save(examples: Examples, folder: Path) -> None:
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
        **config_labels(class_names(examples)),
    )
    ViTForImageClassification(config).save_pretrained(folder)
