"""Recordings to samples: float32, one channel, at the rate that a model wants.

Files are decoded by soundfile (libsndfile) and resampled by soxr at its high quality, which is what `datasets` did up
to version 3 by way of librosa. Channels are averaged before resampling, as there.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.errors import DataError, EngineError
from verify.tasks.data import Examples
from verify.tasks.limits import RECORDING_CHANNELS, RECORDING_FRAMES, RECORDING_RATES, RECORDING_SECONDS
from verify.tasks.places import stored_file

Waveform = NDArray[np.float32]

RESAMPLER = "soxr HQ"
_SAMPLES_AT_ONCE = 2**25  # of all channels together
_HEADERS_AT_ONCE = 64  # rows whose files are in memory together while their durations are read


@dataclass(frozen=True)
class Recordings:
    """The recordings in some ``rows`` of a split, read and decoded when they are asked for.

    ``rate`` is in samples a second; ``folder`` is where relative paths begin (None: there are none to follow);
    ``longest`` is the number of samples after which a recording is cut (None: the whole is used).
    """

    examples: Examples
    rows: NDArray[np.int64]
    rate: int
    folder: Path | None = None
    longest: int | None = None

    def durations(self) -> NDArray[np.int64]:
        """Samples of every recording at ``rate``, before any cut, from the files' headers: within one of the truth.

        Raises DataError if one is not a recording.
        """
        counts = np.empty(len(self.rows), dtype=np.int64)
        for start in range(0, len(self.rows), _HEADERS_AT_ONCE):
            positions = range(start, min(start + _HEADERS_AT_ONCE, len(self.rows)))
            for position, (value, place) in zip(positions, self._values(positions), strict=True):
                counts[position] = duration(value, self.rate, self.folder, place)
        return counts

    def waveforms(self, positions: Sequence[int]) -> list[Waveform]:
        """The samples of some positions of ``rows``, cut to ``longest``. Raises DataError if one is not a recording."""
        return [
            decode(value, self.rate, self.folder, place)[: self.longest] for value, place in self._values(positions)
        ]

    def place(self, position: int) -> str:
        return f"{self.examples.columns['audio']!r} in row {self.rows[position]}"

    def _values(self, positions: Sequence[int]) -> Iterator[tuple[Any, str]]:
        values = self.examples.column("audio", self.rows[list(positions)].tolist())
        yield from zip(values, map(self.place, positions), strict=True)


def decode(value: Any, rate: int, folder: Path | None, place: str) -> Waveform:
    """The samples [n] of one recording at ``rate``, between −1 and 1.

    ``value`` is a file's bytes, its path (relative to ``folder``), a struct of ``bytes`` and ``path`` or of ``array``
    and ``sampling_rate``, or plain samples, which are taken to be at ``rate``. Raises DataError, which names ``place``
    (column and row), if it is none of these.
    """
    soundfile, soxr = _libraries()
    source = _source(value, folder, place)
    if isinstance(source, _Samples):
        samples, stated = source.samples, source.rate or rate
        _check_size(len(samples), stated, 1, place)
    else:
        with _named_errors(soundfile, place), soundfile.SoundFile(source) as file:
            stated = file.samplerate
            _check_size(file.frames, stated, file.channels, place)
            samples = _averaged(file)
    if not len(samples) or not np.isfinite(samples).all():
        problem = "samples that are not finite" if len(samples) else "no samples"
        raise DataError(f"The recording {place} holds {problem}. Leave it out of the data.")
    if stated != rate:
        samples = soxr.resample(samples, stated, rate, quality="HQ")
    return np.ascontiguousarray(samples, dtype=np.float32)


def duration(value: Any, rate: int, folder: Path | None, place: str) -> int:
    """The number of samples that :func:`decode` will give, to within one. Raises DataError as it does."""
    soundfile, _ = _libraries()
    source = _source(value, folder, place)
    if isinstance(source, _Samples):
        count, stated = len(source.samples), source.rate or rate
        _check_size(count, stated, 1, place)
    else:
        with _named_errors(soundfile, place):
            header = soundfile.info(source)
        count, stated = header.frames, header.samplerate
        _check_size(count, stated, header.channels, place)
    if not count:
        raise DataError(f"The recording {place} holds no samples. Leave it out of the data.")
    return round(count * rate / stated)


def _averaged(file: Any) -> Waveform:
    """The mean of all channels of an open file, read in blocks where there are many samples."""
    if file.frames * file.channels <= _SAMPLES_AT_ONCE:
        mean: Waveform = file.read(dtype="float32", always_2d=True).mean(axis=1)
        return mean
    blocks = file.blocks(max(_SAMPLES_AT_ONCE // file.channels, 1), dtype="float32", always_2d=True)
    return np.concatenate([block.mean(axis=1) for block in blocks])


def _check_size(count: int, rate: int, channels: int, place: str) -> None:
    """Raise DataError if a recording of ``count`` samples a channel is beyond what honest ones come to."""
    lowest, highest = RECORDING_RATES
    if not lowest <= rate <= highest:
        problem = f"states {rate:,} samples a second, where {lowest:,} to {highest:,} are read"
    elif count > rate * RECORDING_SECONDS or count > RECORDING_FRAMES:
        longest = min(RECORDING_SECONDS, RECORDING_FRAMES // rate)
        problem = f"is {count / rate / 60:,.0f} minutes long, and at most {longest / 60:g} are read at its rate"
    elif channels > RECORDING_CHANNELS:
        problem = f"has {channels:,} channels, and at most {RECORDING_CHANNELS} are read"
    else:
        return
    raise DataError(f"The recording {place} {problem}. Correct its header, cut it, or leave it out of the data.")


@dataclass(frozen=True)
class _Samples:
    """Samples that need no decoding: float32 [n], one channel; ``rate`` None is the rate that the model wants."""

    samples: Waveform
    rate: int | None


def _source(value: Any, folder: Path | None, place: str) -> io.BytesIO | str | _Samples:
    """What soundfile can open, or samples."""
    rate = None
    if isinstance(value, Mapping):
        if value.get("array") is not None:
            stated = value.get("sampling_rate")
            if not isinstance(stated, int) or stated <= 0:
                raise DataError(f"The recording {place} states no sampling_rate beside its array. Add it to the data.")
            value, rate = value["array"], stated
        else:
            value = value["bytes"] if value.get("bytes") is not None else value.get("path")
    if isinstance(value, bytes):
        return io.BytesIO(value)
    if isinstance(value, str):
        return _file(value, folder, place)
    if isinstance(value, (list, np.ndarray)):
        return _Samples(_one_channel(value, place), rate)
    found = "nothing" if value is None else f"a value of type {type(value).__name__}"
    raise DataError(
        f"The column {place} holds {found}, where a recording is expected. Correct columns.audio in the task."
    )


def _file(path: str, folder: Path | None, place: str) -> io.BytesIO | str:
    stored = stored_file(path, folder)
    if stored is not None:
        return io.BytesIO(stored) if isinstance(stored, bytes) else str(stored)
    where = "" if folder is None else f" (paths are relative to {folder})"
    raise DataError(
        f"The recording {place}: there is no file {path}{where}. Correct the path, or columns.audio in the task."
    )


def _one_channel(value: Any, place: str) -> Waveform:
    """Float samples [n], or the mean of channels [c, n] or [n, c]; a recording has more samples than channels."""
    try:
        samples = np.asarray(value)
    except ValueError:
        samples = np.empty(0, dtype=object)
    if samples.dtype.kind != "f" or samples.ndim not in (1, 2):
        raise DataError(
            f"The recording {place} is not a list of decimal numbers between -1 and 1. Store it as a file, or scale it."
        )
    if samples.ndim == 2:
        samples = samples.mean(axis=int(np.argmin(samples.shape)))
    return samples.astype(np.float32)


def _libraries() -> tuple[Any, Any]:
    try:
        return importlib.import_module("soundfile"), importlib.import_module("soxr")
    except ImportError as error:
        raise EngineError(
            f'Reading recordings needs {error.name}, which is not installed here: pip install "verify-claims[audio]".'
        ) from error


@contextmanager
def _named_errors(soundfile: Any, place: str) -> Iterator[None]:
    """Turn what soundfile raises on a bad file into a DataError that names the recording."""
    try:
        yield
    except (soundfile.SoundFileError, RuntimeError, OSError, TypeError) as error:
        raise DataError(
            f"The recording {place} could not be decoded: {' '.join(str(error).split())[:200]} Known are WAV, FLAC, "
            "Ogg, Opus, MP3 and what else libsndfile reads: convert it, or leave it out of the data."
        ) from error
