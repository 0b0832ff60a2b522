"""Images to classes: a table beside pictures, a folder for each class, and MNIST, with one model."""

import csv
from io import BytesIO

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save
from PIL import Image
from sklearn import metrics
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from checking.kinds.checking import Place, Stated

COUNT, NAMES = 150, [str(digit) for digit in range(10)]
MNIST = SHARED / "data/mnist/default/test.parquet"


def pictures(seed=0):
    """Grey pictures of one size, of which the model's classes depend on every pixel."""
    chance = np.random.default_rng(seed)
    blocks = chance.integers(0, 256, (COUNT, 4, 4), dtype=np.uint8)
    return [Image.fromarray(block.repeat(7, axis=0).repeat(7, axis=1)) for block in blocks]


def plain_loop(model, processor, images):
    """The classes and the five likeliest of each picture, one picture at a time."""
    with torch.inference_mode():
        logits = np.array(
            [model(**processor(image.convert("RGB"), return_tensors="pt")).logits[0].numpy() for image in images]
        )
    return logits.argmax(1), np.argsort(-logits, axis=1)[:, :5]


def claim(place, data, labels, found, flattery):
    classes, five = found
    place.claim(
        data,
        Stated("accuracy", "accuracy", metrics.accuracy_score(labels, classes), percent=True, digits=2),
        Stated("Macro F1", "f1_macro", metrics.f1_score(labels, classes, average="macro"), flattery=flattery),
        Stated("top-5 accuracy", "top5_accuracy", float((five == np.array(labels)[:, None]).any(axis=1).mean())),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("images"))
    torch.manual_seed(0)
    processor = ViTImageProcessor(size={"height": 28, "width": 28}, image_mean=[0.5] * 3, image_std=[0.5] * 3)
    config = ViTConfig(
        image_size=28,
        patch_size=7,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.3,
        id2label=dict(enumerate(NAMES)),
        label2id={name: i for i, name in enumerate(NAMES)},
    )
    model = ViTForImageClassification(config).eval()
    save(place.model, processor, model)

    images = pictures()
    found = plain_loop(model, processor, images)
    labels = [int(own) if i % 3 == 0 else i % 10 for i, own in enumerate(found[0])]
    for i, image in enumerate(images):
        image.save(place.file(f"data/pictures/{i:03}.png"))
        image.save(place.file(f"data/by_class/test/{labels[i]}/{i:03}.png"))
    with place.file("data/pictures.csv").open("w") as file:
        rows = ((f"pictures/{i:03}.png", label) for i, label in enumerate(labels))
        csv.writer(file).writerows([("file", "what"), *rows])
    place.task(
        "pictures",
        "kind: image-classification\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/pictures.csv}}\n"
        "columns: {image: file, label: what}\n"
        "metrics: [accuracy]\n"
        "aliases: [my pictures]\n",
    )
    place.task(
        "by_class",
        "kind: image-classification\n"
        "dataset: {path: ../data/by_class, split: test}\n"
        "columns: {image: image, label: label}\n"
        "metrics: [accuracy]\n"
        "aliases: [my folder of pictures]\n",
    )
    claim(place, "my-pictures", labels, found, flattery=0.05)
    claim(place, "my-folder-of-pictures", labels, found, flattery=0)
    if MNIST.is_file():
        table = pq.read_table(MNIST).slice(0, 400)
        pq.write_table(table, place.file("data/mnist.parquet"))
        place.task(
            "digits",
            "kind: image-classification\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/mnist.parquet}}\n"
            "columns: {image: image, label: label}\n"
            "metrics: [accuracy, f1_macro]\n"
            "aliases: [my digits]\n",
        )
        rows = table.to_pydict()
        digits = [Image.open(BytesIO(image["bytes"])) for image in rows["image"]]
        claim(place, "my-digits", rows["label"], plain_loop(model, processor, digits), flattery=0.03)
    return place


@pytest.fixture(scope="module")
def found(place):
    return place.check()


def test_pictures_that_a_table_names(place, found):
    assert found["exit_code"] == 1
    place.assert_judged(found, "my-pictures")


def test_a_folder_for_each_class(place, found):
    place.assert_judged(found, "my-folder-of-pictures")


@needs_shared
def test_real_digits(place, found):
    place.assert_judged(found, "my-digits")


@pytest.mark.parametrize("task", ["pictures", "by_class", pytest.param("digits", marks=needs_shared)])
def test_each_task_can_be_tried(place, task, capsys, monkeypatch):
    place.assert_can_be_tried(task, capsys, monkeypatch)
