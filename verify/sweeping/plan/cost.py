"""What a cell is expected to cost: seconds, and bytes of memory. Estimates, good to a factor of two or three.

A row of a transformer takes about two floating-point operations for each parameter and token (Kaplan et al. 2020,
arXiv:2001.08361, section 2.1), embedding tables excepted, which are only looked up. What a device really does in a
second is read off measurements where there are any.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from verify.sweeping.plan.devices import CPU

DTYPE_BYTES: Mapping[str, int] = {
    "float64": 8,
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "int8": 1,
    "float8_e4m3fn": 1,
}

TYPICAL_TOKENS: Mapping[str, int] = {
    "sequence-classification": 45,
    "token-classification": 25,
    "question-answering": 215,
    "summarization": 900,
    "translation": 70,
    "automatic-speech-recognition": 550,
    "image-classification": 197,
    "audio-classification": 500,
    "sentence-similarity": 35,
    "perplexity": 90,
}
"""Tokens, patches or frames of one row, all its texts together, of a typical data set of each kind.

Those of texts are words × 1.3 of GLUE, AG News, Banking77, XQuAD, SICK-R, STS16 and WikiText-2; those of pictures are
the patches of a ViT-B/16; those of recordings and summaries stand for ten seconds and for a page, and are assumed.
"""

GENERATES = frozenset({"summarization", "translation", "automatic-speech-recognition"})
SLOWER_GENERATION = 8.0
"""How many times longer a token takes that is generated alone than one that is read with others; assumed."""

READS_LOGITS = GENERATES | {"perplexity"}
"""Kinds that compute a logit for every word of the vocabulary."""

CELL_SECONDS = 0.5
"""Loading the data, scoring and judging, on a CPU; this and the next two as the models of benchmarks/sweep take."""
ROW_SECONDS = 3e-4
"""Tokenising a row, and the calls around it."""
MODEL_SECONDS = 0.3
"""Reading the card and building the model."""
LOAD_RATE = 5e8  # bytes of weights per second, read and digested; assumed

CPU_BASE, GPU_BASE = 700 << 20, 800 << 20
"""Bytes that a worker takes before it has a model: its libraries, or a CUDA context; assumed."""
TOKEN_BUDGET: Mapping[str, int] = {"CPU": 2048, "GPU": 16384}
"""Padded tokens per batch, as in :mod:`verify.engine.inputs.text`."""

CPU_SHARE = 0.5
"""The part of the speed of one large matrix product that inference reaches on a CPU; assumed."""
GPU_RATE: Mapping[str, float] = {"float32": 1e13, "other": 1e14}
"""Operations per second of a GPU of a data centre, at about half of its peak; assumed."""


@dataclass(frozen=True, slots=True)
class Size:
    """A model in numbers: its ``parameters``, those that compute on every token, and the widths of its layers."""

    parameters: int
    active: int
    hidden: int = 768
    inner: int = 3072
    heads: int = 12
    vocabulary: int = 0


@dataclass(frozen=True)
class Rate:
    """Floating-point operations per second of one device, and one sentence on where that is known from."""

    operations: float
    source: str


def size_of(config: Mapping[str, Any], parameters: int) -> Size:
    """The size of a model from its config.json and the number of its parameters; what is not stated is assumed."""
    parts = [config, *(part for name in ("text_config", "encoder") if isinstance(part := config.get(name), dict))]

    def stated(*names: str, default: int) -> int:
        found = (part.get(name) for part in parts for name in names)
        return next((value for value in found if type(value) is int and value > 0), default)

    hidden = stated("hidden_size", "d_model", "n_embd", "dim", default=768)
    vocabulary = stated("vocab_size", default=0)
    table = vocabulary * hidden
    return Size(
        parameters=parameters,
        active=parameters - table if table < parameters else parameters,
        hidden=hidden,
        inner=stated("intermediate_size", "encoder_ffn_dim", "d_ff", "hidden_dim", "n_inner", default=4 * hidden),
        heads=stated("num_attention_heads", "encoder_attention_heads", "n_head", "n_heads", "num_heads", default=12),
        vocabulary=vocabulary,
    )


def operations(size: Size, kind: str) -> float:
    """Floating-point operations of one typical row of a kind; one generated token counts as several."""
    head = size.vocabulary * size.hidden if kind in READS_LOGITS else 0
    slower = SLOWER_GENERATION if kind in GENERATES else 1.0
    return 2.0 * (size.active + head) * TYPICAL_TOKENS.get(kind, 100) * slower


def cell_seconds(size: Size, kind: str, rows: int, rate: Rate, probe_share: float) -> float:
    """Seconds of one device for ``rows`` examples, ``probe_share`` of which (a fraction) are run twice."""
    return CELL_SECONDS + rows * (1 + probe_share) * (ROW_SECONDS + operations(size, kind) / rate.operations)


def model_seconds(weights: int) -> float:
    """Seconds until a model with ``weights`` bytes of files is open."""
    return MODEL_SECONDS + weights / LOAD_RATE


def memory_of(size: Size, kinds: Sequence[str], dtype: str, device: str, *, adaptive: bool, share: float = 1.0) -> int:
    """Bytes that a worker holds at most while it measures a model: its weights, and the activations of a batch.

    ``share`` is the part of the token budget that a batch has. The weights of one layer's activations are held in two
    copies, the attention of a batch as long as a typical row.
    """
    width = DTYPE_BYTES.get(dtype, 4)
    weights = size.parameters * (width + (2 if adaptive else 0))
    tokens = TOKEN_BUDGET[device] * share
    row = max((TYPICAL_TOKENS.get(kind, 100) for kind in kinds), default=0)
    logits = size.vocabulary if READS_LOGITS & set(kinds) else 0
    activations = tokens * (4 * size.hidden + 2 * size.inner + 2 * size.heads * row + 2 * logits) * width
    return int(weights + (activations if kinds else 0)) + (CPU_BASE if device == CPU else GPU_BASE)


def cpu_rate(threads: int) -> Rate:
    """The rate of a worker with so many threads, by a matrix product that takes a tenth of a second."""
    import numpy as np

    side, spent, done = 512, 0.0, 0
    left, right = np.ones((side, side), np.float32), np.ones((side, side), np.float32)
    left @ right
    while spent < 0.1:
        begun = time.process_time()  # of all threads together: what one core does
        left @ right
        spent += time.process_time() - begun
        done += 1
    each = 2.0 * side**3 * done / spent
    cores = f"{threads} core{'' if threads == 1 else 's'}"
    return Rate(
        CPU_SHARE * each * threads,
        f"Times are estimates: half of what a matrix product reaches here ({each / 1e9:.0f} GFLOP/s a core, {cores} a "
        "worker). Nothing comparable is stored in the results folder yet.",
    )


def gpu_rate(model: str, dtype: str) -> Rate:
    """The rate assumed of any GPU."""
    rate = GPU_RATE.get(dtype, GPU_RATE["other"])
    return Rate(
        rate,
        f"Times are rough: {rate / 1e12:.0f} TFLOP/s are assumed of {model} in {dtype}, because nothing comparable is "
        "stored in the results folder yet.",
    )


def calibrated(rate: Rate, seen: Sequence[tuple[float, float]]) -> Rate:
    """A rate corrected by runs, each with its operations and the seconds that they took beyond its rows' own.

    The median of the runs counts, each by its operations: in short ones it is other work that takes the time. Without
    any the rate stays.
    """
    found = sorted((done / seconds, done) for done, seconds in seen if seconds > 0 and done > 0)
    if not found:
        return rate
    passed = list(accumulate(done for _, done in found))
    middle = found[bisect_left(passed, passed[-1] / 2)][0]
    runs = "one run" if len(found) == 1 else f"{len(found)} runs"
    return Rate(middle, f"Times follow {runs} of these models in the results folder ({middle / 1e9:.3g} GFLOP/s).")
