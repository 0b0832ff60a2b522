import math

import numpy as np
import pytest
from helpers.case_making import case, printed, scores_of, verdicts

from verify.judging.hypotheses import likelihood
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.store.predictions import LikelihoodPredictions
from verify.types import Unit, VerdictKind


def texts(n=400, seed=0):
    """Texts of unequal length and difficulty under a language model."""
    chance = np.random.default_rng(seed)
    words = np.maximum(1, chance.lognormal(3.5, 0.8, n)).astype(np.int64)
    tokens = (words * chance.uniform(1.1, 1.6, n)).astype(np.int64) + 1
    each = chance.gamma(30, 0.1, n)
    return LikelihoodPredictions(np.arange(n), tokens * each, tokens, words, words * 6, (tokens * 0.4).astype(np.int64))


RUN = texts()
NATS = RUN.nll.sum() / RUN.tokens.sum()
BY_WORD = RUN.nll.sum() / RUN.words.sum()
BY_BYTE = RUN.nll.sum() / RUN.bytes.sum()
EACH = RUN.nll / RUN.tokens


def raw(value, metric, digits=3):
    return printed(value, digits, metric, Unit.RAW)


def explained_by(*claims):
    about = case(RUN, claims)
    assert about.differing == {one.claim_id for one in claims}
    found = verdicts(about, HYPOTHESES)
    assert all(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    return found[0].explanation["found"]["hypothesis"], found[0].explanation["found"]["setting"]


@pytest.mark.parametrize(
    ("metric", "value", "setting"),
    [
        ("perplexity", math.exp(BY_WORD), "per word"),
        ("word_perplexity", math.exp(NATS), "per token"),
        ("loss", NATS / math.log(2), "in bits per token"),
        ("loss", math.exp(NATS), "the perplexity, printed as the cross-entropy"),
        ("perplexity", NATS, "the cross-entropy, printed as the perplexity"),
        ("perplexity", 2**NATS, "2 to the power of a cross-entropy in nats"),
        ("bits_per_byte", BY_BYTE, "in nats per byte"),
        ("bits_per_byte", math.exp(BY_BYTE), "the perplexity per byte, printed as bits"),
    ],
)
def test_another_unit_is_found(metric, value, setting):
    assert explained_by(raw(value, metric)) == ("likelihood_unit", setting)


def test_averages_over_texts_are_found():
    mean, of_perplexities = EACH.mean(), np.exp(EACH).mean()
    assert explained_by(raw(of_perplexities, "perplexity")) == ("text_by_text", "the mean of every text's perplexity")
    both = explained_by(raw(math.exp(mean), "perplexity"), raw(mean, "loss", 4))
    assert both == ("text_by_text", "the mean of every text's cross-entropy")


def test_a_loss_per_word_beside_a_perplexity_per_token_is_not_one_cause():
    claims = [raw(BY_WORD, "loss", 4), raw(EACH.mean() * 4, "perplexity")]
    found = verdicts(case(RUN, claims), likelihood.HYPOTHESES)
    assert all(verdict.explanation["found"] is None for verdict in found)


def test_claims_of_another_model_are_left_unexplained():
    explained = 0
    for seed in range(1, 21):
        other = scores_of(texts(seed=seed))
        about = case(RUN, [raw(other["perplexity"], "perplexity", 2), raw(other["loss"], "loss", 4)])
        explained += any(verdict.kind is VerdictKind.EXPLAINED for verdict in verdicts(about, likelihood.HYPOTHESES))
    assert explained <= 1
