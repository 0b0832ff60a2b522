"""Causes that lie in how transcripts are compared with what was said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import numpy as np

from verify.judging.cases import Case, Trial, exchanged, replaced, wanted
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.judging.hypotheses.statistics import statistics
from verify.metrics.additive import ratio
from verify.metrics.families.speech import NORMALIZERS, RATES, metrics
from verify.store.predictions import Family, TextPredictions

_WORDS: Mapping[str, str] = {
    "none": "texts are compared as they are",
    "lower": "case is ignored",
    "no_punctuation": "case and punctuation are ignored",
    "whisper_basic": "Whisper's basic normaliser",
    "whisper_english": "Whisper's English normaliser",
}

_ENGLISH = ("en", "eng", "english")

_RATIOS = ("wer", "cer")
_OTHER: Mapping[str, str] = {"wer": "cer", "cer": "wer"}


def _normalisers(case: Case) -> Iterator[Trial]:
    """The error rates after every other normaliser; that for English only where the speech may be English."""
    names = [name for name in wanted(case) if name in RATES]
    predictions, own = cast(TextPredictions, case.predictions), case.settings.get("normalizer", "none")
    for name in NORMALIZERS if names else ():
        if name != own and (name != "whisper_english" or _may_be_english(case)):
            found = metrics(predictions, {**case.settings, "normalizer": name}, predictions.spelling, names)
            with np.errstate(divide="ignore", invalid="ignore"):
                scores = {rate: float(one.value(one.statistics.sum(axis=0))) for rate, one in found.items()}
            yield Trial("normaliser", _WORDS[name], replaced(case, scores))


def _mislabelled(case: Case) -> Iterator[Trial]:
    """The claims that differ may hold the other of two rates."""
    yield from exchanged(case, "rate_mislabelled", _OTHER)


def _mean_of_rates(case: Case) -> Iterator[Trial]:
    """The mean of each utterance's rate; one without a word has none, and is left out."""
    found = statistics(case)
    rates = {name: ratio(found[name].statistics) for name in _RATIOS if name in wanted(case) and name in found}
    scores = {name: float(each[np.isfinite(each)].mean()) for name, each in rates.items() if np.isfinite(each).any()}
    if scores:
        setting = "the error rates of single utterances are averaged"
        yield Trial("mean_of_rates", setting, replaced(case, scores))


def _may_be_english(case: Case) -> bool:
    language = case.settings.get("language")
    return not language or str(language).lower().partition("-")[0].partition("_")[0] in _ENGLISH


_FAMILIES = frozenset({Family.TRANSCRIPTS})

HYPOTHESES = (
    Hypothesis(
        "normaliser",
        "texts are made alike in another way before they are compared ({setting})",
        _FAMILIES,
        _normalisers,
    ),
    Hypothesis(
        "rate_mislabelled", "another rate stands under this name ({setting})", _FAMILIES, _mislabelled, weight=0.8
    ),
    Hypothesis("mean_of_rates", "{setting}", _FAMILIES, _mean_of_rates, weight=0.8),
)
"""The hypotheses on transcripts, the most common first."""
