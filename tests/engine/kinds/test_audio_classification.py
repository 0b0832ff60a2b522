"""Classes of recordings against plain transformers loops over single recordings, for every size of batch."""

import io
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile
import soxr
import torch
from helpers.builders import SHARED, needs_shared
from helpers.recordings import RATE, encoded, scatter_biases, structs, tone, wav2vec2_sizes
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
)

from engine.driving import drive, examples_of, job_for, task_of
from verify.engine.kinds.audio_classification import prepare
from verify.engine.stub import save_stub
from verify.errors import BlockedError, DataError, NotComparableError
from verify.store.predictions import Family, LabelPredictions
from verify.tasks.audio import undecoded
from verify.types import DatasetSource

COLUMNS = {"audio": "audio", "label": "label"}
NAMES = ("down", "left", "right", "up")
SECONDS = [0.5, 1.3, 0.8, 1.3, 2.1, 0.31, 1.3, 0.8]
WAVES = [tone(seconds, seed=i) for i, seconds in enumerate(SECONDS)]
LABELS = [i % 4 for i in range(len(WAVES))]


def names(labels=NAMES):
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def wav2vec2(folder: Path, norm: str, labels=NAMES):
    torch.manual_seed(0)
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=norm == "layer")
    config = Wav2Vec2Config(classifier_proj_size=16, **wav2vec2_sizes(norm), **names(labels))
    model = Wav2Vec2ForSequenceClassification(config).eval()
    scatter_biases(model)
    extractor.save_pretrained(folder)
    model.save_pretrained(folder)
    return model, extractor


def spectrogram_transformer(folder: Path, labels=NAMES, *, frames: int = 100, hidden: int = 16):
    torch.manual_seed(0)
    extractor = ASTFeatureExtractor(num_mel_bins=64, max_length=frames, mean=-4.0, std=4.0)
    config = ASTConfig(
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        patch_size=16,
        frequency_stride=16,
        time_stride=16,
        max_length=frames,
        num_mel_bins=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **names(labels),
    )
    model = ASTForAudioClassification(config).eval()
    extractor.save_pretrained(folder)
    model.save_pretrained(folder)
    return model, extractor


MODELS = {
    "group": lambda folder: wav2vec2(folder, "group"),
    "layer": lambda folder: wav2vec2(folder, "layer"),
    "spectrogram": spectrogram_transformer,
}


def prepared_on(folder, waves=WAVES, labels=LABELS, data_names=NAMES, **settings):
    task = task_of("audio-classification", COLUMNS, labels=data_names, **settings)
    examples = examples_of(task, {"audio": structs(waves), "label": labels})
    return prepare(job_for(task, folder), examples, np.arange(len(waves)), "cpu")


def plain_loop(model, extractor, waves=WAVES):
    with torch.inference_mode():
        return np.stack(
            [model(**extractor(wave, sampling_rate=RATE, return_tensors="pt")).logits[0].numpy() for wave in waves]
        )


@pytest.mark.parametrize("kind", MODELS)
def test_logits_are_those_of_a_plain_loop_whatever_the_batch(tmp_path: Path, kind):
    expected = plain_loop(*MODELS[kind](tmp_path))
    assert expected.std(axis=0).min() > 1e-3
    prepared = prepared_on(tmp_path)
    assert prepared.family is Family.CLASSIFICATION
    for batch_size in (1, 3, 8):
        columns = drive(prepared, len(WAVES), batch_size)
        np.testing.assert_allclose(columns["logits"], expected, rtol=0, atol=2e-5)
    assert columns["reference"].tolist() == LABELS
    assert {"example", *columns} == set(LabelPredictions.COLUMNS)


def test_zeros_at_the_end_would_change_what_a_model_with_group_norm_hears(tmp_path: Path):
    model, extractor = wav2vec2(tmp_path, "group")
    inputs = extractor(WAVES, sampling_rate=RATE, padding=True, return_tensors="pt")
    with torch.inference_mode():
        together = model(**inputs).logits.numpy()
    assert np.abs(together - plain_loop(model, extractor)).max() > 0.01


@pytest.mark.parametrize(("kind", "passes"), [("group", [1, 1, 1, 2, 3]), ("layer", [8]), ("spectrogram", [8])])
def test_recordings_share_a_pass_wherever_that_is_safe(tmp_path: Path, kind, passes):
    MODELS[kind](tmp_path)
    prepared = prepared_on(tmp_path)
    sizes: list[int] = []
    prepared.model.register_forward_hook(lambda module, args, output: sizes.append(len(output.logits)))
    drive(prepared, len(WAVES), batch_size=8)
    assert sorted(sizes) == passes


def test_classes_are_aligned_with_those_of_the_data_by_name(tmp_path: Path):
    wav2vec2(tmp_path, "layer")
    prepared = prepared_on(tmp_path, data_names=("up", "down", "left", "right"))
    assert prepared.info["model_labels"] == NAMES
    assert prepared.info["data_labels"] == ("up", "down", "left", "right")
    assert prepared.info["label_of_logit"] == (1, 2, 3, 0)
    assert "by name" in prepared.info["label_alignment"]


def test_other_classes_than_the_datas_are_not_compared(tmp_path: Path):
    wav2vec2(tmp_path, "layer", labels=("cat", "dog"))
    with pytest.raises(NotComparableError, match=r"2 classes \(cat, dog\)"):
        prepared_on(tmp_path)


def test_recordings_are_cut_after_the_seconds_that_the_task_allows(tmp_path: Path):
    model, extractor = wav2vec2(tmp_path, "group")
    prepared = prepared_on(tmp_path, max_seconds=0.8)
    expected = plain_loop(model, extractor, [wave[:12_800] for wave in WAVES])
    np.testing.assert_allclose(drive(prepared, len(WAVES), batch_size=8)["logits"], expected, rtol=0, atol=2e-5)
    assert prepared.notes == ("4 of 8 recordings were longer than 0.8 s and were cut",)
    assert prepared.lengths.max() == 40
    assert prepared_on(tmp_path).notes == ()


def test_what_a_spectrogram_of_a_fixed_length_leaves_out_is_said(tmp_path: Path):
    spectrogram_transformer(tmp_path)
    assert prepared_on(tmp_path).notes == ("4 of 8 recordings were longer than 1 s and were cut",)


def test_a_model_without_a_trained_head_is_refused(tmp_path: Path):
    model, extractor = wav2vec2(tmp_path / "whole", "layer")
    extractor.save_pretrained(tmp_path / "bare")
    model.wav2vec2.save_pretrained(tmp_path / "bare")
    with pytest.raises(BlockedError, match="classifier"):
        prepared_on(tmp_path / "bare")


def test_a_recording_that_the_feature_extractor_refuses_is_named(tmp_path: Path):
    spectrogram_transformer(tmp_path)
    prepared = prepared_on(tmp_path, [tone(1.0), tone(0.001)], [0, 1])
    with pytest.raises(DataError, match=r"'audio' in row 1, of 16 samples, could not be turned into"):
        drive(prepared, 2)


def test_a_stub_fits_the_data_and_runs(tmp_path: Path):
    task = task_of("audio-classification", COLUMNS, labels=NAMES)
    examples = examples_of(task, {"audio": structs(WAVES), "label": LABELS})
    save_stub(task.kind, examples, tmp_path)
    prepared = prepare(job_for(task, tmp_path), examples, np.arange(len(WAVES)), "cpu")
    columns = drive(prepared, len(WAVES), batch_size=8)
    assert columns["logits"].shape == (8, 4)
    np.testing.assert_allclose(columns["logits"], drive(prepared, len(WAVES))["logits"], rtol=0, atol=2e-5)


def test_recordings_named_by_their_paths_are_found_beside_the_data_file(tmp_path: Path):
    expected = plain_loop(*wav2vec2(tmp_path / "model", "layer"))
    (tmp_path / "data" / "clips").mkdir(parents=True)
    for i, wave in enumerate(WAVES):
        (tmp_path / "data" / "clips" / f"{i}.wav").write_bytes(encoded(wave, subtype="FLOAT"))
    source = DatasetSource("csv", data_files={"test": str(tmp_path / "data" / "list.csv")})
    task = replace(task_of("audio-classification", COLUMNS, labels=NAMES), dataset=source)
    examples = examples_of(task, {"audio": [f"clips/{i}.wav" for i in range(len(WAVES))], "label": LABELS})
    prepared = prepare(job_for(task, tmp_path / "model"), examples, np.arange(len(WAVES)), "cpu")
    np.testing.assert_allclose(drive(prepared, len(WAVES), batch_size=4)["logits"], expected, rtol=0, atol=2e-5)


def digits(split: str):
    file = SHARED / "data" / "fsdd" / "default" / f"{split}.parquet"
    return undecoded(datasets.load_dataset("parquet", data_files={split: str(file)}, split=split))


def heard(table) -> list[np.ndarray]:
    """The recordings of 8 kHz at 16 kHz, by soundfile and soxr alone."""
    files = (soundfile.read(io.BytesIO(row["bytes"]), dtype="float32") for row in table["audio"])
    return [soxr.resample(wave, rate, RATE, quality="HQ") for wave, rate in files]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A spectrogram transformer trained on 600 spoken digits, whose classes are named in words."""
    words = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    folder = tmp_path_factory.mktemp("digits")
    model, extractor = spectrogram_transformer(folder, words, frames=64, hidden=64)
    table = digits("train")
    inputs = extractor(heard(table), sampling_rate=RATE, return_tensors="pt")["input_values"]
    labels = torch.tensor(table["label"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(20):
        for batch in torch.randperm(len(labels), generator=generator).split(32):
            model(input_values=inputs[batch], labels=labels[batch]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    return folder, model, extractor, words


@needs_shared
@pytest.mark.slow
def test_spoken_digits_are_told_apart_as_a_plain_loop_does(trained):
    folder, model, extractor, words = trained
    table = digits("test")
    expected = plain_loop(model, extractor, heard(table))
    labels = tuple(table.features["label"].names)
    aliases = {digit: (word,) for digit, word in zip(labels, words, strict=True)}
    task = task_of("audio-classification", COLUMNS, labels=labels, aliases=aliases)
    rows = np.random.default_rng(0).permutation(len(table))
    prepared = prepare(job_for(task, folder), examples_of(task, table), rows, "cpu")
    columns = drive(prepared, len(rows), batch_size=32)
    np.testing.assert_allclose(columns["logits"], expected[rows], rtol=0, atol=1e-4)
    predicted = columns["logits"].argmax(axis=1)
    assert predicted.tolist() == expected[rows].argmax(axis=1).tolist()
    assert columns["reference"].tolist() == [table["label"][row] for row in rows.tolist()]
    assert prepared.info["label_of_logit"] == tuple(range(10))
    assert (predicted == columns["reference"]).mean() > 0.6
