"""Causes that lie in the unit of a language model's score: per token or word, in nats or bits, a mean over texts."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from verify.judging.cases import Case, Trial, differing_readings
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.additive import Floats
from verify.store.predictions import Family, LikelihoodPredictions


@dataclass(frozen=True)
class _Sums:
    """Of a run: nats per token (``loss``), per word and per byte, and the ``losses`` per token of each text [N]."""

    loss: float
    by_word: float
    by_byte: float
    losses: Floats

    @classmethod
    def of(cls, predictions: LikelihoodPredictions) -> _Sums:
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = predictions.nll / predictions.tokens
        by_token, by_word, by_byte = (
            float(predictions.nll.sum()) / float(count.sum()) if count.any() else math.nan
            for count in (predictions.tokens, predictions.words, predictions.bytes)
        )
        return cls(by_token, by_word, by_byte, losses[np.isfinite(losses)])


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _mean_of_perplexities(sums: _Sums) -> float:
    return float(np.mean([_exp(loss) for loss in sums.losses])) if len(sums.losses) else math.nan


def _mean_of_losses(sums: _Sums) -> float:
    return float(sums.losses.mean()) if len(sums.losses) else math.nan


_Settings = Mapping[str, Mapping[str, Callable[[_Sums], float]]]

_UNITS: _Settings = {
    "per word": {"perplexity": lambda sums: _exp(sums.by_word), "loss": lambda sums: sums.by_word},
    "per token": {"perplexity": lambda sums: _exp(sums.loss), "word_perplexity": lambda sums: _exp(sums.loss)},
    "in bits per token": {
        "loss": lambda sums: sums.loss / math.log(2),
        "bits_per_byte": lambda sums: sums.loss / math.log(2),
    },
    "in nats per byte": {"bits_per_byte": lambda sums: sums.by_byte},
    "the cross-entropy, printed as the perplexity": {"perplexity": lambda sums: sums.loss},
    "the perplexity, printed as the cross-entropy": {"loss": lambda sums: _exp(sums.loss)},
    "the perplexity per byte, printed as bits": {"bits_per_byte": lambda sums: _exp(sums.by_byte)},
    "2 to the power of a cross-entropy in nats": {"perplexity": lambda sums: _exp(sums.loss * math.log(2))},
}
"""What may be printed under the name of a metric, by the words that say it."""

_TEXT_BY_TEXT: _Settings = {
    "the mean of every text's cross-entropy": {
        "loss": _mean_of_losses,
        "perplexity": lambda sums: _exp(_mean_of_losses(sums)),
    },
    "the mean of every text's perplexity": {"perplexity": _mean_of_perplexities},
}
"""`evaluate`'s perplexity averages over texts; means over batches come close to it."""


def _units(case: Case) -> Iterator[Trial]:
    return _tried(case, _UNITS, "likelihood_unit")


def _text_by_text(case: Case) -> Iterator[Trial]:
    return _tried(case, _TEXT_BY_TEXT, "text_by_text")


def _tried(case: Case, settings: _Settings, hypothesis: str) -> Iterator[Trial]:
    sums = _Sums.of(cast(LikelihoodPredictions, case.predictions))
    differing = list(differing_readings(case))
    for words, values in settings.items():
        bearing = {claim.claim_id: values[name](sums) for claim, name in differing if name in values}
        yield Trial(hypothesis, words, bearing)


_FAMILIES = frozenset({Family.LIKELIHOOD})

HYPOTHESES = (
    Hypothesis("likelihood_unit", "the number is another one ({setting})", _FAMILIES, _units, weight=2.0),
    Hypothesis("text_by_text", "the score is an average over texts ({setting})", _FAMILIES, _text_by_text, weight=2.0),
)
"""The hypotheses on language models."""
