"""How much data may cost: limits far beyond honest data, so that a small file cannot take a machine's memory or a day.

Each is checked where the size is first known, before anything of that size is read: in a header, a footer or a table's
offsets. Sizes are in bytes unless a name says otherwise.
"""

from __future__ import annotations

PICTURE_PIXELS = 100_000_000
"""Of one picture. Whole-slide histology and satellite tiles reach 90 million; Pillow itself warns from 89 million."""

BATCH_PIXELS = 100_000_000
"""Of the pictures that are in memory together: 32 photographs of three million pixels, as RGB 0.3 GB."""

INPUT_EDGE = 4096
"""Pixels of an edge to which a model's processor brings a picture; classifiers of today take 224 to 1,024."""

INPUT_PIXELS = 2048 * 2048
"""Of one picture as the model takes it: 32 of them in float32 are 1.6 GB."""

RECORDING_SECONDS = 2 * 60 * 60
"""Of one recording: hearings and earnings calls last an hour or so."""

RECORDING_FRAMES = 400_000_000
"""Samples of a channel of one recording as it is stored: two hours at 48 kHz are 346 million, in float32 1.4 GB."""

RECORDING_CHANNELS = 64
"""The most that microphone arrays and ambisonics have."""

RECORDING_RATES = (500, 1_000_000)
"""Samples a second: heart sounds and whales are recorded at some 1,000, bats at 384,000."""

MODEL_RATES = (1_000, 192_000)
"""Samples a second that a model asks for: 8,000 to 48,000 today."""

TEXT_BYTES = 10_000_000
"""Of one text in UTF-8, and of all words of one row together: the Bible has 4.4 million, the longest novels 8."""

LINE_BYTES = 64 * 2**20
"""Of one line of a table of lines (CSV, JSON lines, text): a row of many texts, or with a picture in it as base64."""

DOCUMENT_BYTES = 512 * 2**20
"""Of a JSON file that is a single document, which can only be read whole."""

UNPACKED_RATIO = 100
"""How many times as large as its file compressed data may be: text comes to 3 to 10, monotonous logs to 50."""

UNPACKED_FLOOR = 64 * 2**20
"""Below this, the ratio does not matter."""

ROWS = 20_000_000
"""Of one split: the largest that are evaluated on have some 5 million."""
