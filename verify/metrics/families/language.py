"""Metrics of language models: functions of the likelihood that a model gives to texts.

All but the accuracy fall as the model gets better. Logarithms are natural, so losses are in nats per token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats, ratio, share_of
from verify.store.predictions import LikelihoodPredictions


def exp_of_ratio(sums: Floats) -> Floats:
    """A perplexity: exp of the first statistic's sum divided by the second's. Infinite beyond float64."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(ratio(sums)), dtype=np.float64)


def bits_of_ratio(sums: Floats) -> Floats:
    """The first statistic's sum, in nats, divided by the second's, in bits."""
    return np.asarray(ratio(sums) / np.log(2), dtype=np.float64)


def metrics(predictions: LikelihoodPredictions) -> Mapping[str, Additive]:
    """Loss, perplexities, bits per byte and accuracy, of the corpus as a whole: sums over all examples, then a ratio.

    loss is the negative log-likelihood per scored token (nats) and perplexity its exp; word_perplexity and
    byte_perplexity divide by the words and bytes of the texts instead, which makes models with other tokenisers
    comparable; bits_per_byte is log2 of byte_perplexity. accuracy is the share of scored tokens that were the most
    likely. Where a row is a word, not a document (LAMBADA), perplexity is that per word, and accuracy the share of rows
    all of whose tokens were the most likely: the definitions of lm-evaluation-harness.

    A perplexity beyond the range of float64, and one without a token, word or byte to divide by, is undefined.
    """
    by_tokens, by_words, by_bytes = (
        _per(predictions.nll, count) for count in (predictions.tokens, predictions.words, predictions.bytes)
    )
    whole = predictions.unit != "document"
    rates: Mapping[str, tuple[Floats, Callable[[Floats], Floats]]] = {
        "loss": (by_tokens, ratio),
        "perplexity": (by_words if whole else by_tokens, exp_of_ratio),
        "word_perplexity": (by_words, exp_of_ratio),
        "byte_perplexity": (by_bytes, exp_of_ratio),
        "bits_per_byte": (by_bytes, bits_of_ratio),
    }
    return {
        **{name: Additive(statistics, value) for name, (statistics, value) in rates.items()},
        "accuracy": share_of(predictions.hits == predictions.tokens)
        if whole
        else Additive(_per(predictions.hits, predictions.tokens), ratio, is_share=True),
    }


def _per(amount: NDArray[np.float64] | NDArray[np.int64], count: NDArray[np.int64]) -> Floats:
    return np.stack([amount, count], axis=1).astype(np.float64)
