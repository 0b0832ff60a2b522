"""Speech to text with a CTC model and with a Whisper: WAV files that a table names, and real speech."""

import csv
import io

import jiwer
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from engine.kinds.test_speech_recognition import plain_ctc, plain_whisper
from helpers.builders import SHARED, needs_shared
from helpers.recordings import RATE, tone, wav2vec2_ctc, whisper

from checking.kinds.checking import Place, Stated

COUNT = 40
FSDD = SHARED / "data/fsdd/default/test.parquet"
SPOKEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def near(text, i):
    """What was said, for a model that heard ``text``: the same, or with some words and letters changed."""
    words = text.split() or ["nothing"]
    if i % 3 == 1:
        words[i % len(words)] = "another"
    if i % 3 == 2:
        words = [word[:-1] or word for word in words] + ["more"]
    return " ".join(words)


def claim(place, data, spoken, heard, *, percent):
    """True word error rates, and a character error rate that is five points too low."""
    words, characters = jiwer.process_words(spoken, heard), jiwer.process_characters(spoken, heard)
    place.claim(
        data,
        Stated("wer", "wer", words.wer, 2 if percent else 4, percent),
        Stated("Test CER", "cer", characters.cer, 2 if percent else 4, percent, flattery=-5 if percent else -0.05),
        Stated("mer", "mer", words.mer, 3 if percent else 5, percent),
        Stated("wip", "wil", words.wip, 4 if percent else 6, percent),
    )


def write_clips(place, waves, spoken):
    for i, wave in enumerate(waves):
        soundfile.write(place.file(f"data/clips/{i}.wav"), wave, RATE, subtype="FLOAT")
    with place.file("data/clips.csv").open("w") as file:
        rows = ((f"clips/{i}.wav", text) for i, text in enumerate(spoken))
        csv.writer(file).writerows([("clip", "sentence"), *rows])
    place.task(
        "clips",
        "kind: automatic-speech-recognition\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/clips.csv}}\n"
        "columns: {audio: clip, text: sentence}\n"
        "metrics: [wer, cer]\n"
        "aliases: [my clips]\n",
    )


@pytest.fixture(scope="module")
def ctc(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("ctc"))
    parts = wav2vec2_ctc(place.model, "layer")
    waves = [tone(0.4 + 0.05 * (i % 13), seed=i) for i in range(COUNT)]
    heard, _ = plain_ctc(*parts, waves)
    spoken = [near(text, i) for i, text in enumerate(heard)]
    write_clips(place, waves, spoken)
    claim(place, "my-clips", spoken, heard, percent=True)
    if FSDD.is_file():
        table = pq.read_table(FSDD)
        digits = [SPOKEN[label] for label in table["label"].to_pylist()]
        stored = table.select(["audio"]).append_column("words", [digits]).replace_schema_metadata()
        pq.write_table(stored, place.file("data/digits.parquet"))
        place.task(
            "digits",
            "kind: automatic-speech-recognition\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/digits.parquet}}\n"
            "columns: {audio: audio, text: words}\n"
            "metrics: [wer]\n"
            "aliases: [my digits]\n",
        )
        files = [soundfile.read(io.BytesIO(one["bytes"]), dtype="float32") for one in table["audio"].to_pylist()]
        digits_heard, _ = plain_ctc(
            *parts, [soxr.resample(wave, rate, RATE, quality="HQ").astype(np.float32) for wave, rate in files]
        )
        claim(place, "my-digits", digits, digits_heard, percent=True)
    return place


@pytest.fixture(scope="module")
def seq2seq(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("whisper"))
    parts = whisper(place.model, is_multilingual=False, window=2)
    waves = [tone(0.5 + 0.1 * (i % 10), seed=i) for i in range(COUNT)]
    heard = plain_whisper(*parts, waves)
    spoken = [near(" ".join(text.split()), i) for i, text in enumerate(heard)]
    write_clips(place, waves, spoken)
    claim(place, "my-clips", spoken, heard, percent=False)
    return place


def test_ctc(ctc):
    found = ctc.check()
    assert found["exit_code"] == 1
    ctc.assert_judged(found, "my-clips")
    if FSDD.is_file():
        ctc.assert_judged(found, "my-digits")


def test_whisper(seq2seq):
    found = seq2seq.check()
    assert found["exit_code"] == 1
    seq2seq.assert_judged(found, "my-clips")


@pytest.mark.parametrize("task", ["clips", pytest.param("digits", marks=needs_shared)])
def test_each_task_can_be_tried(ctc, task, capsys, monkeypatch):
    ctc.assert_can_be_tried(task, capsys, monkeypatch)
