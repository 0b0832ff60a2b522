"""Recordings in every form in which data sets hold them, against soundfile and soxr called by hand."""

import io
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import soxr
from helpers.builders import SHARED, needs_shared
from helpers.recordings import encoded, tone
from hypothesis import given
from hypothesis import strategies as st

from engine.driving import examples_of, task_of
from verify.engine.inputs.audio import Recordings, decode, duration
from verify.errors import DataError, EngineError
from verify.tasks.audio import storable_audio, undecoded
from verify.tasks.places import data_folder
from verify.types import DatasetSource, TaskSpec

WAVE = tone(0.5, seed=1)
STEREO = np.stack([tone(0.5, seed=1), tone(0.5, seed=2)], axis=1)
PLACE = "'audio' in row 3"


def test_a_file_is_decoded_to_float_samples_at_the_models_rate():
    wave = decode(encoded(WAVE), 16_000, None, PLACE)
    assert wave.dtype == np.float32
    np.testing.assert_array_equal(wave, soundfile.read(io.BytesIO(encoded(WAVE)), dtype="float32")[0])


def test_a_file_at_another_rate_is_resampled_after_its_channels_were_averaged():
    content = encoded(STEREO, rate=44_100, form="FLAC")
    samples, _ = soundfile.read(io.BytesIO(content), dtype="float32")
    expected = soxr.resample(samples.mean(axis=1), 44_100, 16_000, quality="HQ")
    np.testing.assert_allclose(decode(content, 16_000, None, PLACE), expected, rtol=0, atol=1e-7)


def test_resampling_keeps_a_tone_where_it_was():
    time = np.arange(8000) / 8000
    wave = decode(encoded(np.sin(2 * np.pi * 440 * time), rate=8000), 16_000, None, PLACE)
    spectrum = np.abs(np.fft.rfft(wave))
    assert int(spectrum.argmax()) == 440
    assert len(wave) == 16_000


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "PCM_16"), ("FLAC", None), ("OGG", "VORBIS"), ("MP3", None)])
def test_every_usual_file_form_is_read(form, subtype):
    wave = decode(encoded(WAVE, form=form, subtype=subtype), 16_000, None, PLACE)
    assert np.corrcoef(wave[: len(WAVE)], WAVE[: len(wave)])[0, 1] > 0.95


def test_bytes_structs_paths_arrays_and_lists_hold_the_same_recording(tmp_path: Path):
    content = encoded(WAVE, subtype="FLOAT")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(content)
    forms = [
        content,
        {"bytes": content, "path": "a.wav"},
        {"bytes": None, "path": "clips/a.wav"},
        {"path": str(tmp_path / "clips" / "a.wav")},
        "clips/a.wav",
        {"array": WAVE.tolist(), "sampling_rate": 16_000, "path": None},
        {"array": np.stack([WAVE, WAVE]), "sampling_rate": 16_000},
        WAVE.tolist(),
        WAVE,
    ]
    for form in forms:
        np.testing.assert_array_equal(decode(form, 16_000, tmp_path, PLACE), WAVE)


def test_an_array_is_resampled_from_the_rate_that_stands_beside_it():
    expected = soxr.resample(WAVE, 8000, 16_000, quality="HQ")
    struct = {"array": WAVE.tolist(), "sampling_rate": 8000}
    np.testing.assert_array_equal(decode(struct, 16_000, None, PLACE), expected)


@given(
    samples=st.integers(1, 5000),
    stated=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    rate=st.sampled_from([8000, 16_000, 24_000]),
    is_file=st.booleans(),
)
def test_the_duration_in_the_header_is_that_of_the_samples(samples, stated, rate, is_file):
    wave = np.linspace(-0.5, 0.5, samples, dtype=np.float32)
    value = encoded(wave, rate=stated) if is_file else {"array": wave, "sampling_rate": stated}
    assert abs(duration(value, rate, None, PLACE) - len(decode(value, rate, None, PLACE))) <= 1


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "holds nothing, where a recording is expected"),
        (7, "a value of type int"),
        (b"RIFF and then nothing", "could not be decoded"),
        ("no/such.wav", "there is no file no/such.wav"),
        ({"bytes": None, "path": None}, "holds nothing"),
        ({"array": [0.0, 0.1]}, "no sampling_rate"),
        ([1, 2, 3], "not a list of decimal numbers"),
        ([[0.1, 0.2], [0.3]], "not a list of decimal numbers"),
        ([float("nan")] * 9, "not finite"),
        (encoded(np.zeros(0)), "no samples"),
    ],
)
def test_what_is_no_recording_is_an_error_that_names_the_row(value, says):
    with pytest.raises(DataError, match="'audio' in row 3") as failed:
        decode(value, 16_000, None, PLACE)
    assert says in str(failed.value)
    if "finite" not in says:
        with pytest.raises(DataError, match="'audio' in row 3"):
            duration(value, 16_000, None, PLACE)


def test_a_missing_library_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    with pytest.raises(EngineError, match=r'soxr.*pip install "verify-claims\[audio\]"'):
        decode(encoded(WAVE), 16_000, None, PLACE)


def test_recordings_are_read_by_row_and_cut(tmp_path: Path):
    waves = [tone(0.1 * (i + 1), seed=i) for i in range(4)]
    task = task_of("audio-classification", {"audio": "clip", "label": "label"})
    data = {"clip": [{"bytes": encoded(wave, subtype="FLOAT"), "path": None} for wave in waves], "label": [0, 1, 0, 1]}
    recordings = Recordings(examples_of(task, data), np.array([3, 0, 2]), 16_000, None, longest=2000)
    assert recordings.durations().tolist() == [6400, 1600, 4800]
    first, second = recordings.waveforms([2, 1])
    np.testing.assert_array_equal(first, waves[2][:2000])
    np.testing.assert_array_equal(second, waves[0])
    assert recordings.place(0) == "'clip' in row 3"


def test_an_audio_column_of_a_parquet_file_is_read_undecoded(tmp_path: Path):
    features = datasets.Features({"audio": datasets.Audio(sampling_rate=16_000), "label": datasets.Value("int64")})
    table = pa.table({"audio": [{"bytes": encoded(WAVE), "path": "a.wav"}], "label": [0]}, features.arrow_schema)
    pq.write_table(table, tmp_path / "data.parquet")
    loaded = datasets.load_dataset("parquet", data_files={"test": str(tmp_path / "data.parquet")}, split="test")
    assert isinstance(loaded.features["audio"], datasets.Audio)
    value = undecoded(loaded).select([0])["audio"][0]
    assert value["path"] == "a.wav"
    assert len(decode(value, 16_000, None, PLACE)) == len(WAVE)


def test_a_table_without_recordings_comes_back_as_it_is():
    table = datasets.Dataset.from_dict({"text": ["a"]})
    assert undecoded(table) is table


def write_clips(folder: Path) -> None:
    for i, name in enumerate(("no", "yes", "no", "yes")):
        (folder / "test" / name).mkdir(parents=True, exist_ok=True)
        (folder / "test" / name / f"{i}.wav").write_bytes(encoded(tone(0.1, seed=i), subtype="FLOAT"))


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_folder_of_recordings_is_loaded_with_its_classes(tmp_path: Path, is_streamed):
    write_clips(tmp_path / "data")
    with storable_audio():
        table = datasets.load_dataset(
            str(tmp_path / "data"), split="test", cache_dir=str(tmp_path / "cache"), streaming=is_streamed
        )
        first = list(undecoded(table).take(4))
        rows = list(datasets.Dataset.from_list(first, features=undecoded(table).features))
    assert table.features["label"].names == ["no", "yes"]
    assert sorted(row["label"] for row in rows) == [0, 0, 1, 1]
    for row in rows:
        number = int(Path(row["audio"]["path"]).stem)
        np.testing.assert_array_equal(decode(row["audio"], 16_000, None, PLACE), tone(0.1, seed=number))


def test_a_folder_of_recordings_is_loaded_with_its_table_of_transcripts(tmp_path: Path):
    write_clips(tmp_path / "data")
    (tmp_path / "data" / "test" / "metadata.csv").write_text("file_name,text\nyes/3.wav,three\nno/0.wav,nought\n")
    with storable_audio():
        table = datasets.load_dataset(str(tmp_path / "data"), split="test", cache_dir=str(tmp_path / "cache"))
    rows = {row["text"]: row["audio"] for row in undecoded(table)}
    np.testing.assert_array_equal(decode(rows["three"], 16_000, None, PLACE), tone(0.1, seed=3))
    np.testing.assert_array_equal(decode(rows["nought"], 16_000, None, PLACE), tone(0.1, seed=0))


def test_the_way_datasets_stores_audio_is_restored_afterwards():
    before = datasets.Audio.encode_example
    with storable_audio():
        assert datasets.Audio().encode_example("a.wav") == {"bytes": None, "path": "a.wav"}
        assert datasets.Audio().encode_example(b"RIFF") == {"bytes": b"RIFF", "path": None}
    assert datasets.Audio.encode_example is before


def test_relative_paths_begin_at_the_data_file_or_the_data_folder(tmp_path: Path):
    def folder_of(source: DatasetSource) -> Path | None:
        columns = {"audio": "file", "label": "label"}
        return data_folder(TaskSpec("mine", "audio-classification", source, columns, (), "mine.yaml"), "test")

    assert folder_of(DatasetSource("csv", data_files={"test": str(tmp_path / "list.csv")})) == tmp_path
    assert folder_of(DatasetSource("csv", data_files={"train": str(tmp_path / "list.csv")})) is None
    assert folder_of(DatasetSource(str(tmp_path))) == tmp_path
    assert folder_of(DatasetSource("org/data")) is None


@needs_shared
def test_real_recordings_are_decoded_and_doubled_in_rate():
    file = SHARED / "data" / "fsdd" / "default" / "test.parquet"
    loaded = datasets.load_dataset("parquet", data_files={"test": str(file)}, split="test")
    task = task_of("audio-classification", {"audio": "audio", "label": "label"})
    recordings = Recordings(examples_of(task, undecoded(loaded)), np.arange(150), 16_000)
    counts = recordings.durations()
    waves = recordings.waveforms(range(0, 150, 10))
    assert [abs(len(wave) - count) <= 1 for wave, count in zip(waves, counts[::10], strict=True)] == [True] * 15
    native = soundfile.info(io.BytesIO(undecoded(loaded)[0]["audio"]["bytes"]))
    assert native.samplerate == 8000
    assert abs(counts[0] - 2 * native.frames) <= 1
