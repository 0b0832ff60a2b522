"""The registry of probes: which causes are worth another run, and how likely each is."""

from __future__ import annotations

from verify.checking.probes import variants
from verify.checking.probes.probe import Probe

_TEXTS = ("sequence-classification", "token-classification", "question-answering")
_WRITTEN = ("summarization", "translation")
_MEASURED_WITH = "it was measured with {setting}"

PROBES: tuple[Probe, ...] = (
    Probe("another split", "it was measured on {setting}", None, variants.splits, 0.9),
    Probe(
        "length of the input",
        _MEASURED_WITH,
        (*_TEXTS, *_WRITTEN, "sentence-similarity"),
        variants.lengths,
        0.8,
    ),
    Probe("side of truncation", _MEASURED_WITH, ("sequence-classification",), variants.truncation_side, 0.4),
    Probe("case of the input", _MEASURED_WITH, _TEXTS, variants.lower_case, 0.4),
    Probe(
        "pooling",
        "the embeddings are {setting}",
        ("sentence-similarity",),
        variants.other_values(
            "pooling",
            {
                "mean": "the mean over all tokens",
                "cls": "those of the first token",
                "max": "the maximum over all tokens",
                "last": "those of the last token",
            },
        ),
        0.9,
    ),
    Probe(
        "normalisation of embeddings",
        _MEASURED_WITH,
        ("sentence-similarity",),
        variants.normalisation,
        0.2,
    ),
    Probe("text before the input", _MEASURED_WITH, (*_WRITTEN, "sentence-similarity"), variants.prefixes, 0.7),
    Probe(
        "subword of a tagged word",
        "the tag of a word is read from {setting}",
        ("token-classification",),
        variants.other_values(
            "subword", {"last": "its last token", "mean": "the mean of its tokens", "max": "the maximum of its tokens"}
        ),
        0.5,
    ),
    Probe("number of beams", _MEASURED_WITH, (*_WRITTEN, "automatic-speech-recognition"), variants.beams, 0.7),
    Probe(
        "length of the output", _MEASURED_WITH, (*_WRITTEN, "automatic-speech-recognition"), variants.new_tokens, 0.5
    ),
    Probe(
        "length penalty",
        _MEASURED_WITH,
        _WRITTEN,
        variants.other_values("length_penalty", {value: f"a length penalty of {value:g}" for value in (1.0, 2.0, 0.6)}),
        0.2,
    ),
    Probe(
        "repeated n-grams",
        _MEASURED_WITH,
        _WRITTEN,
        variants.other_values(
            "no_repeat_ngram_size", {3: "no three tokens written twice", 0: "any tokens written as often as it comes"}
        ),
        0.2,
    ),
    Probe(
        "interpolation",
        _MEASURED_WITH,
        ("image-classification",),
        variants.other_values(
            "interpolation",
            {name: f"images resized by {name} interpolation" for name in ("bicubic", "bilinear", "nearest")},
        ),
        0.6,
    ),
    Probe("resizing and cropping", _MEASURED_WITH, ("image-classification",), variants.crops, 0.6),
    Probe(
        "length of recordings",
        _MEASURED_WITH,
        ("audio-classification",),
        variants.other_values("max_seconds", {float(s): f"recordings cut at {s} s" for s in (1, 5, 10, 3, 30)}),
        0.5,
    ),
    Probe("window of the language model", _MEASURED_WITH, ("perplexity",), variants.windows, 0.7),
    Probe("overlap of windows", _MEASURED_WITH, ("perplexity", "question-answering"), variants.overlaps, 0.4),
    Probe("joining of rows", _MEASURED_WITH, ("perplexity",), variants.joins, 0.6),
    Probe("number format", _MEASURED_WITH, None, variants.dtypes, 0.3),
    Probe("batches of one", _MEASURED_WITH, None, variants.one_by_one, 0.2),
)
"""What :func:`verify.checking.probes.trials.paid_trials` tries, but for earlier revisions, which come last."""
