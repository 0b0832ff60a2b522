"""Recordings to classes: a folder of WAV files with a table beside it, and spoken digits."""

import csv
import io

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
import torch
from engine.kinds.test_audio_classification import wav2vec2
from helpers.builders import SHARED, needs_shared
from helpers.recordings import RATE, tone
from sklearn import metrics

from checking.kinds.checking import Place, Stated

COUNT, NAMES = 60, tuple(f"digit {i}" for i in range(10))
FSDD = SHARED / "data/fsdd/default/test.parquet"


def plain_loop(model, extractor, waves):
    """Logits, one recording at a time, [N, C]."""
    with torch.inference_mode():
        return torch.cat([model(**extractor(wave, sampling_rate=RATE, return_tensors="pt")).logits for wave in waves])


def balance(model, extractor, waves):
    """Shift the head so that, on average, no class is preferred: random weights else hear one class everywhere."""
    model.classifier.bias.data -= plain_loop(model, extractor, waves).mean(dim=0)


def claim(place, data, labels, classes, flattery):
    assert len(set(classes)) > 2
    place.claim(
        data,
        Stated("accuracy", "accuracy", metrics.accuracy_score(labels, classes), digits=3, flattery=flattery),
        Stated("uar", "recall_macro", metrics.recall_score(labels, classes, average="macro"), percent=True, digits=2),
        Stated("error", "accuracy", 1 - metrics.accuracy_score(labels, classes), percent=True, digits=1),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("sounds"))
    model, extractor = wav2vec2(place.model, "layer", NAMES)
    waves = [tone(0.3 + 0.02 * (i % 17), seed=i) for i in range(COUNT)]
    for i, wave in enumerate(waves):
        soundfile.write(place.file(f"data/clips/{i}.wav"), wave, RATE, subtype="FLOAT")
    balance(model, extractor, waves)
    model.save_pretrained(place.model)
    classes = plain_loop(model, extractor, waves).argmax(dim=1).tolist()
    labels = [own if i % 2 else i % 10 for i, own in enumerate(classes)]
    with place.file("data/clips.csv").open("w") as file:
        rows = ((f"clips/{i}.wav", NAMES[label]) for i, label in enumerate(labels))
        csv.writer(file).writerows([("clip", "said"), *rows])
    place.task(
        "clips",
        "kind: audio-classification\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/clips.csv}}\n"
        "columns: {audio: clip, label: said}\n"
        "metrics: [accuracy]\n"
        "aliases: [my clips]\n",
    )
    claim(place, "my-clips", labels, classes, flattery=0.08)
    if FSDD.is_file():
        pq.write_table(pq.read_table(FSDD), place.file("data/digits.parquet"))
        place.task(
            "digits",
            "kind: audio-classification\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/digits.parquet}}\n"
            "columns: {audio: audio, label: label}\n"
            "metrics: [accuracy]\n"
            "aliases: [my digits]\n",
        )
        rows = pq.read_table(FSDD).to_pydict()
        files = [soundfile.read(io.BytesIO(audio["bytes"]), dtype="float32") for audio in rows["audio"]]
        digits = [soxr.resample(wave, rate, RATE, quality="HQ").astype(np.float32) for wave, rate in files]
        claim(
            place,
            "my-digits",
            rows["label"],
            plain_loop(model, extractor, digits).argmax(dim=1).tolist(),
            flattery=0.05,
        )
    return place


@pytest.fixture(scope="module")
def found(place):
    return place.check()


def test_files_that_a_table_names(place, found):
    assert found["exit_code"] == 1
    place.assert_judged(found, "my-clips")


@needs_shared
def test_real_spoken_digits(place, found):
    place.assert_judged(found, "my-digits")


@pytest.mark.parametrize("task", ["clips", pytest.param("digits", marks=needs_shared)])
def test_each_task_can_be_tried(place, task, capsys, monkeypatch):
    place.assert_can_be_tried(task, capsys, monkeypatch)
