"""Make the demo in scripts/demo: a small vision transformer trained on scikit-learn's handwritten digits, and its card.

    python scripts/make_demo.py

The digits are real (1,797 images of 8 × 8 pixels, from the UCI repository, distributed with scikit-learn). A seeded
half is for training and the other half for testing. The card's numbers are taken from a plain loop over the test
images, one at a time, scored by scikit-learn: true, rounded, in percent, raised by one point, between two counts of
examples, and on a data set that no task describes. What `verify` must say of each is written to expected.json.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from datasets import ClassLabel, Dataset, Features, Image
from PIL import Image as Pillow
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

DEMO = Path(__file__).resolve().parent / "demo"
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
EPOCHS, BATCH = 60, 32


def main() -> None:
    shutil.rmtree(DEMO, ignore_errors=True)
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(images))
    training, testing = order[: len(order) // 2], order[len(order) // 2 :]
    tested = [images[i] for i in testing]
    write_data(tested, labels[testing])
    processor = ViTImageProcessor(size={"height": 8, "width": 8})
    model = train(processor, [images[i] for i in training], labels[training])
    model.save_pretrained(DEMO / "digits-vit")
    processor.save_pretrained(DEMO / "digits-vit")
    write_card(labels[testing], predict(model, processor, tested))


def digits() -> tuple[list[Pillow.Image], np.ndarray]:
    """The images as grey pictures (16 grey levels, spread over 0 … 240) and their labels."""
    data = load_digits()
    return [Pillow.fromarray((image * 15).astype(np.uint8)) for image in data.images], data.target


def write_data(images: list[Pillow.Image], labels: np.ndarray) -> None:
    features = Features({"image": Image(), "label": ClassLabel(names=NAMES)})
    (DEMO / "tasks").mkdir(parents=True)
    Dataset.from_dict({"image": images, "label": labels.tolist()}, features=features).to_parquet(
        DEMO / "tasks" / "digits-test.parquet"
    )
    (DEMO / "tasks" / "digits.yaml").write_text(
        "kind: image-classification\n"
        "description: Handwritten digits of scikit-learn, half of them, 8 × 8 pixels.\n"
        "dataset: {path: parquet, split: test, data_files: {test: digits-test.parquet}}\n"
        "columns: {image: image, label: label}\n"
        "metrics: [accuracy]\n"
        "aliases: [digits, sklearn digits]\n"
        f"rows: {{test: {len(labels)}}}\n"
    )


def train(processor: ViTImageProcessor, images: list[Pillow.Image], labels: np.ndarray) -> ViTForImageClassification:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = ViTConfig(
        image_size=8,
        patch_size=2,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        num_labels=len(NAMES),
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    model = ViTForImageClassification(config).train()
    pixels = processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]
    targets = torch.tensor(labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    steps = EPOCHS * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            model(pixel_values=pixels[batch], labels=targets[batch]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    return model.eval()


def predict(model: ViTForImageClassification, processor: ViTImageProcessor, images: list[Pillow.Image]) -> np.ndarray:
    with torch.inference_mode():
        return np.array(
            [int(model(**processor(image.convert("RGB"), return_tensors="pt")).logits.argmax()) for image in images]
        )


def write_card(labels: np.ndarray, predicted: np.ndarray) -> None:
    accuracy = accuracy_score(labels, predicted)
    f1 = f"{f1_score(labels, predicted, average='macro') * 100:.1f}"
    precision = f"{precision_score(labels, predicted, average='macro'):.3f}"
    recall = f"{recall_score(labels, predicted, average='macro') + 0.01:.4f}"
    unreachable = f"{accuracy - 0.5 / len(labels):.4f}"
    (DEMO / "digits-vit" / "README.md").write_text(
        f"""---
license: apache-2.0
library_name: transformers
pipeline_tag: image-classification
datasets: [digits]
model-index:
- name: digits-vit
  results:
  - task: {{type: image-classification, name: Image Classification}}
    dataset: {{type: digits, name: Handwritten digits, split: test}}
    metrics:
    - type: accuracy
      value: {float(accuracy)!r}
      name: Accuracy
    - type: f1
      value: {f1}
      name: F1 Macro
    - type: precision
      value: {precision}
      name: Precision Macro
    - type: recall
      value: {recall}
      name: Recall Macro
    - type: accuracy
      value: {unreachable}
      name: Accuracy
  - task: {{type: image-classification, name: Image Classification}}
    dataset: {{type: usps, name: USPS, split: test}}
    metrics:
    - type: accuracy
      value: 0.871
      name: Accuracy
---

# digits-vit

A small vision transformer for handwritten digits of 8 × 8 pixels, made by `scripts/make_demo.py` to show what `verify`
does. Not every number on this card is true, and that is its purpose.

It achieves the following results on the evaluation set:
- Accuracy: {accuracy:.4f}
"""
    )
    expected = {
        repr(float(accuracy)): "reproduced",
        f1: "reproduced",
        precision: "reproduced",
        recall: "overstated",
        unreachable: "impossible",
        "0.871": "unverifiable",
    }
    (DEMO / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(f"accuracy {accuracy:.4f} on {len(labels)} images")


if __name__ == "__main__":
    main()
