import numpy as np
import pytest

from verify.metrics.constant import constant_note
from verify.store.predictions import LikelihoodPredictions


def likelihoods(each, tokens):
    counts = np.asarray(tokens, dtype=np.int64)
    nll = np.asarray(each, dtype=np.float64) * counts
    return LikelihoodPredictions(np.arange(len(counts)), nll, counts, counts, counts, np.zeros_like(counts))


def test_one_likelihood_for_every_token_is_said():
    (note,) = constant_note(likelihoods([np.log(50_257)] * 12, range(12)))
    assert "one likelihood for every token" in note


@pytest.mark.parametrize(
    ("each", "tokens"),
    [([3.0] * 11 + [3.1], [5] * 12), ([3.0] * 9, [5] * 9), ([3.0] * 12, [0] * 12)],
    ids=["another", "few", "no tokens"],
)
def test_what_differs_or_is_little_is_not(each, tokens):
    assert constant_note(likelihoods(each, tokens)) == ()
