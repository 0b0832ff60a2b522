"""What a random part of a split shows of a claim, from stored predictions."""

import numpy as np
import pytest
from helpers.claim_making import claim

from verify.engine.running.plan import example_order
from verify.judging.sampled import Rule, Sample, estimated, is_settled, sampled
from verify.judging.sequential import ANSWERS, OUTSIDE, Answer
from verify.metrics.registry import measure
from verify.store.predictions import Family, LabelPredictions, SimilarityPredictions, TagPredictions, TextPredictions
from verify.types import Unit

N = 10_000
CONTRADICTS = Rule(OUTSIDE, margin=0.005, alpha=0.01)
SCREENS = Rule(ANSWERS, margin=0.01, alpha=0.05)


def of_classes(right: float, n: int, seed: int = 0) -> Sample:
    """The first ``n`` of 10,000 examples of two classes, of which a share is right."""
    chance, order = np.random.default_rng(seed + 1000), example_order(N, seed)
    reference = chance.integers(2, size=N)
    hits = np.zeros(N, dtype=bool)
    hits[chance.permutation(N)[: round(right * N)]] = True
    predicted = np.where(hits, reference, 1 - reference)
    logits = np.eye(2, dtype=np.float32)[predicted]
    part = np.sort(order[:n])
    return Sample(LabelPredictions(part, logits[part], reference[part], (0, 1)), order[:n], N)


@pytest.mark.parametrize(
    ("literal", "metric", "unit"),
    [
        ("0.91", "accuracy", Unit.FRACTION),
        ("91.0", "accuracy", Unit.PERCENT),
        ("0.91", "f1", Unit.FRACTION),
        ("0.91", "precision", Unit.FRACTION),
    ],
)
def test_a_gross_difference_shows_after_few_examples_and_an_honest_claim_is_left_open(literal, metric, unit):
    made = claim(literal, metric, unit)
    assert sampled(made, of_classes(0.75, 800), CONTRADICTS).answer is Answer.BELOW
    assert sampled(made, of_classes(0.91, 800), CONTRADICTS).answer is None


def test_an_error_rate_is_contradicted_in_its_own_direction():
    made = claim("0.09", "error_rate")
    found = sampled(made, of_classes(0.75, 800), CONTRADICTS)
    assert found.answer is Answer.ABOVE
    assert found.interval.low < 0.25 < found.interval.high
    assert sampled(claim("0.25", "error_rate"), of_classes(0.75, 9000), SCREENS).answer is Answer.INSIDE


def test_screening_shows_that_a_claim_lies_within_a_point():
    found = sampled(claim("0.91"), of_classes(0.91, 6000), SCREENS)
    assert (found.answer, found.more) == (Answer.INSIDE, 0)
    assert found.interval.low < 0.91 < found.interval.high
    assert sampled(claim("0.91"), of_classes(0.91, 6000), CONTRADICTS).answer is None


def test_what_an_earlier_look_has_shown_stays_shown():
    """The first 400 examples of this order miss the claim by far, and all those after them make up for it."""
    order = example_order(N, 0)
    hits = np.ones(N, dtype=bool)
    hits[order[:120]] = False
    logits = np.eye(2, dtype=np.float32)[np.where(hits, 1, 0)]
    reference = np.ones(N, dtype=np.int64)

    def first(n):
        part = np.sort(order[:n])
        return Sample(LabelPredictions(part, logits[part], reference[part], (0, 1)), order[:n], N)

    assert sampled(claim("0.98"), first(128), CONTRADICTS).answer is Answer.BELOW
    assert sampled(claim("0.98"), first(4000), CONTRADICTS).answer is Answer.BELOW


def test_many_claims_share_the_chance_of_a_wrong_word():
    sample = of_classes(0.88, 1100)
    alone = sampled(claim("0.91"), sample, CONTRADICTS)
    among = sampled(claim("0.91"), sample, Rule(OUTSIDE, 0.005, 0.01, attempted=10_000))
    assert alone.evidence == among.evidence
    assert (among.level, alone.level) == (pytest.approx(1e-6), pytest.approx(0.01))
    assert among.interval.low < alone.interval.low


def test_a_metric_that_is_no_mean_waits_for_the_whole_split():
    chance, order = np.random.default_rng(0), example_order(N, 0)[:500]
    numbers = chance.random((500, 4)), chance.random(500)
    sample = Sample(SimilarityPredictions(np.sort(order), *numbers), order, N)
    assert sampled(claim("0.99", "spearman"), sample, CONTRADICTS) is None
    assert sampled(claim("0.5", "matthews_correlation"), of_classes(0.5, 500), CONTRADICTS) is None
    assert sampled(claim("0.1", "rmse", Unit.RAW), of_classes(0.5, 500), CONTRADICTS) is None


def test_a_bare_f1_of_several_classes_has_no_standard_average_to_test():
    chance, order = np.random.default_rng(0), example_order(N, 0)[:500]
    logits = chance.random((500, 3)).astype(np.float32)
    sample = Sample(LabelPredictions(np.sort(order), logits, chance.integers(3, size=500), (0, 1, 2)), order, N)
    assert sampled(claim("0.99", "f1"), sample, CONTRADICTS) is None
    assert sampled(claim("0.99", "f1_micro"), sample, CONTRADICTS).answer is Answer.BELOW


def test_word_errors_show_only_where_the_longest_transcript_is_known():
    order = example_order(N, 0)[:3000]
    examples = np.sort(order)
    texts = ["one two three wrong wrong"] * 3000
    predictions = TextPredictions(
        examples, texts, [["one two three four five"]] * 3000, np.ones(3000), Family.TRANSCRIPTS
    )
    assert sampled(claim("0.05", "wer"), Sample(predictions, order, N, {}, 12), CONTRADICTS).answer is Answer.ABOVE
    assert sampled(claim("0.05", "wer"), Sample(predictions, order, N), CONTRADICTS).answer is None
    unsure = Sample(predictions, order, N, {"normalizer": "whisper_english"}, 12)
    assert sampled(claim("0.05", "wer"), unsure, CONTRADICTS).answer is None


def test_entities_are_tested_by_their_counts():
    order = example_order(N, 0)[:2000]
    tags = [["B-PER", "O", "O"], ["O", "B-LOC", "O"]] * 1000
    reference = [["B-PER", "O", "O"], ["O", "B-PER", "O"]] * 1000
    predictions = TagPredictions(np.sort(order), tags, reference, [[1.0] * 3] * 2000)
    found = sampled(claim("0.93", "f1"), Sample(predictions, order, N, {}, 3), CONTRADICTS)
    assert found.answer is Answer.BELOW
    assert found.interval.low < 0.5 < found.interval.high


def test_a_run_is_settled_only_if_every_claim_is():
    sample = of_classes(0.75, 800)
    assert is_settled([claim("0.91"), claim("0.92", "f1")], sample, CONTRADICTS)
    assert not is_settled([claim("0.91"), claim("0.75", "f1")], sample, CONTRADICTS)
    assert not is_settled([claim("0.91"), claim("0.75", "f1_macro")], sample, CONTRADICTS)
    assert not is_settled([], sample, CONTRADICTS)


def test_honest_claims_are_contradicted_no_more_often_than_stated():
    wrong = sum(
        sampled(claim("0.91"), of_classes(0.91, 3000, seed), CONTRADICTS).answer is not None for seed in range(60)
    )
    assert wrong <= 3


def test_a_score_that_is_no_mean_is_estimated_and_not_judged():
    sample, whole = of_classes(0.8, 2000), of_classes(0.8, N)
    truth = measure(whole.predictions, only=["matthews_correlation"])[0]["matthews_correlation"].value
    found = estimated(claim("0.99", "matthews_correlation"), sample)
    assert (found.answer, found.more) == (None, N - 2000)
    assert found.interval.low < truth < found.interval.high
    assert found.interval.high - found.interval.low < 0.1
