import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.metrics.families import language
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import LikelihoodPredictions

PROBABILITIES = st.lists(st.floats(1e-6, 1), min_size=1, max_size=12)
DOCUMENTS = st.lists(st.tuples(PROBABILITIES, st.integers(1, 9), st.integers(1, 60)), min_size=1, max_size=6)


def run(documents, unit="document"):
    """Documents of token probabilities, words and bytes; a token counts as the most likely one from 0.5 on."""
    return LikelihoodPredictions(
        np.arange(len(documents)),
        np.array([-sum(map(math.log, tokens)) for tokens, _, _ in documents], np.float64),
        *(
            np.array(counts, np.int64)
            for counts in (
                [len(tokens) for tokens, _, _ in documents],
                [words for _, words, _ in documents],
                [size for _, _, size in documents],
                [sum(p >= 0.5 for p in tokens) for tokens, _, _ in documents],
            )
        ),
        unit=unit,
    )


def scores(predictions):
    return {name: metric.score(name).value for name, metric in language.metrics(predictions).items()}


@given(DOCUMENTS)
def test_every_metric_is_its_definition_over_single_tokens(documents):
    tokens = [p for probabilities, _, _ in documents for p in probabilities]
    bits = -math.fsum(math.log2(p) for p in tokens)
    words, size = (sum(document[part] for document in documents) for part in (1, 2))
    expected = {
        "loss": -math.fsum(map(math.log, tokens)) / len(tokens),
        "perplexity": math.prod(p ** (-1 / len(tokens)) for p in tokens),
        "word_perplexity": 2 ** (bits / words),
        "byte_perplexity": 2 ** (bits / size),
        "bits_per_byte": bits / size,
        "accuracy": sum(p >= 0.5 for p in tokens) / len(tokens),
    }
    assert scores(run(documents)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_the_order_of_documents_changes_nothing_and_sums_give_every_subset(documents, chance):
    metrics = language.metrics(run(documents))
    assert scores(run(chance.sample(documents, len(documents)))) == pytest.approx(scores(run(documents)), rel=1e-9)
    first = scores(run(documents[:1]))
    for name, metric in metrics.items():
        sums = np.stack([metric.statistics[0], metric.statistics.sum(axis=0)])
        assert metric.value(sums) == pytest.approx([first[name], metric.score(name).value], rel=1e-9)


def test_certainty_is_the_best_score_of_all():
    best = {"loss": 0, "perplexity": 1, "word_perplexity": 1, "byte_perplexity": 1, "bits_per_byte": 0, "accuracy": 1}
    assert scores(run([([1.0, 1.0], 2, 9), ([1.0], 1, 4)])) == best


def test_a_last_word_is_right_when_all_of_its_tokens_are():
    words = [([0.9, 0.9], 1, 5), ([0.9, 0.1, 0.9], 1, 8), ([0.2], 1, 3)]
    accuracy = language.metrics(run(words, unit="last word"))["accuracy"].score("accuracy")
    assert (accuracy.count, accuracy.n) == (1, 3)
    assert scores(run(words))["accuracy"] == pytest.approx(4 / 6)


def test_the_perplexity_of_last_words_by_word_is_lm_evals():
    words = [([0.9, 0.5], 1, 5), ([0.1], 1, 8)]
    mean = np.mean([math.log(0.9 * 0.5), math.log(0.1)])
    assert scores(run(words, unit="last word"))["word_perplexity"] == pytest.approx(math.exp(-mean), rel=1e-12)


def test_what_no_float_can_hold_is_undefined_without_a_warning(recwarn):
    metrics = language.metrics(run([([1e-300] * 2000, 1, 4000)]))
    assert metrics["loss"].score("loss").value == pytest.approx(300 * math.log(10))
    assert metrics["perplexity"].score("perplexity").value == pytest.approx(1e300)
    with pytest.raises(UndefinedScoreError, match="word_perplexity is undefined: it came out as inf"):
        metrics["word_perplexity"].score("word_perplexity")
    assert not recwarn.list


def test_nothing_to_divide_by_is_undefined():
    metrics = language.metrics(run([([0.5], 0, 3)]))
    with pytest.raises(UndefinedScoreError, match="word_perplexity is undefined"):
        metrics["word_perplexity"].score("word_perplexity")
    assert metrics["perplexity"].score("perplexity").value == pytest.approx(2)
