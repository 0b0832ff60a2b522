from itertools import permutations

import numpy as np
import pytest
from helpers.case_making import case, classified, printed, scores_of, verdicts
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn import metrics as sklearn_metrics

from verify.judging.explain import search
from verify.judging.hypotheses import labels
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.types import Unit, VerdictKind

SHARES = {2: (0.55, 0.45), 3: (0.45, 0.35, 0.2), 4: (0.4, 0.3, 0.2, 0.1), 5: (0.3, 0.25, 0.2, 0.15, 0.1)}
NAMES = ("entailment", "neutral", "contradiction")


def predicted(predictions, mapping=None):
    """Labels by argmax; -1 for a class that the data lack."""
    return np.array(mapping or predictions.label_of_logit)[predictions.logits.argmax(axis=1)]


def claims_of(reference, guesses, average="macro"):
    """What a card would print of these labels, by scikit-learn."""
    f1 = sklearn_metrics.f1_score(reference, guesses, average=average, zero_division=0)
    return [
        printed(sklearn_metrics.accuracy_score(reference, guesses)),
        printed(f1, metric=f"f1_{average}"),
        printed(sklearn_metrics.matthews_corrcoef(reference, guesses), metric="matthews_correlation"),
    ]


def found_first(about, *names):
    """Whether the claims that differ are all explained, and by one of these hypotheses."""
    about_all = verdicts(about, HYPOTHESES)
    assert about.differing
    for verdict in about_all:
        if verdict.claim.claim_id in about.differing:
            assert verdict.kind is VerdictKind.EXPLAINED, verdict.reason
            assert verdict.explanation["found"]["hypothesis"] in names
    return next(verdict for verdict in about_all if verdict.claim.claim_id in about.differing)


@pytest.mark.parametrize(
    "order", [(1, 0), (2, 1, 0), (1, 2, 0), (0, 2, 1), (3, 0, 1, 2), (1, 0, 3, 2), (0, 4, 2, 3, 1), (2, 3, 4, 0, 1)]
)
def test_a_wrong_order_of_the_labels_is_found(order):
    predictions = classified(shares=SHARES[len(order)], seed=len(order))
    guesses = np.array(order)[predicted(predictions)]
    found_first(case(predictions, claims_of(predictions.reference, guesses)), "label_order")


@pytest.mark.parametrize("order", [(1, 0), (2, 1, 0), (1, 2, 0)])
def test_two_or_three_digits_are_enough_where_the_rerun_has_the_wrong_order(order):
    predictions = classified(shares=SHARES[len(order)], skill=3.5, seed=7)
    value = sklearn_metrics.accuracy_score(predictions.reference, predicted(predictions))
    wrong = type(predictions)(predictions.example, predictions.logits, predictions.reference, order)
    for digits in (2, 3):
        found_first(case(wrong, [printed(value, digits)]), "label_order", "class_numbers")


def test_a_wrong_order_in_our_own_run_is_found_the_same_way():
    predictions = classified(shares=SHARES[3], mapping=(2, 1, 0), seed=1)
    right = claims_of(predictions.reference, predicted(predictions))
    swapped = classified(shares=SHARES[3], mapping=(2, 1, 0), seed=1)
    wrong = type(swapped)(swapped.example, swapped.logits, swapped.reference, (0, 1, 2))
    verdict = found_first(case(wrong, right, NAMES), "label_order")
    assert verdict.explanation["found"]["setting"] == "entailment and contradiction exchanged"


def test_outputs_taken_as_class_numbers_are_found_before_any_order():
    predictions = classified(shares=SHARES[3], mapping=(2, 0, 1), seed=2)
    guesses = predictions.logits.argmax(axis=1)
    about = case(predictions, claims_of(predictions.reference, guesses), NAMES)
    verdict = found_first(about, "class_numbers")
    assert "output 0 is entailment, output 1 is neutral, output 2 is contradiction" in verdict.reason


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_every_order_is_tried_with_scikit_learns_scores(classes):
    predictions = classified(n=300, shares=SHARES[classes], seed=5)
    claims = [printed(0.5), printed(0.5, metric="f1_macro"), printed(0.5, metric="precision_weighted")]
    tried = [one.trial for one in search(case(predictions, claims), labels.HYPOTHESES).tried]
    tried = [trial for trial in tried if trial.hypothesis == "label_order"]
    expected = []
    for order in list(permutations(range(classes)))[1:]:
        guesses = np.array(order)[predicted(predictions)]
        scores = (
            sklearn_metrics.accuracy_score(predictions.reference, guesses),
            sklearn_metrics.f1_score(predictions.reference, guesses, average="macro"),
            sklearn_metrics.precision_score(predictions.reference, guesses, average="weighted", zero_division=0),
        )
        expected.append(tuple(round(score, 9) for score in scores))
    given = [tuple(round(trial.values[one.claim_id], 9) for one in claims) for trial in tried]
    assert len(given) == len(set(given))
    assert set(given) == set(expected)


@given(st.permutations(range(4)), st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_the_loss_of_an_order_is_that_of_scores_against_the_moved_labels(order, seed):
    predictions = classified(n=120, shares=SHARES[4], seed=seed, mapping=(2, 3, 1, 0))
    moved = np.array(order)[np.array(predictions.label_of_logit)]
    columns = np.argsort(moved)[predictions.reference]
    rows = predictions.logits.astype(np.float64)
    loss = (logsumexp(rows, axis=1) - rows[np.arange(len(rows)), columns]).mean()
    claims = [printed(0.5), printed(9.99, metric="loss", unit=Unit.RAW)]
    tried = search(case(predictions, claims), labels.HYPOTHESES).tried
    losses = [one.trial.values[claims[1].claim_id] for one in tried if one.trial.hypothesis == "label_order"]
    if list(order) != [0, 1, 2, 3]:
        assert min(abs(np.array(losses) - loss)) < 1e-5


def test_bare_names_on_several_classes_are_tried_under_every_average():
    predictions = classified(shares=SHARES[3], seed=3)
    guesses = np.array([2, 1, 0])[predicted(predictions)]
    weighted = sklearn_metrics.f1_score(predictions.reference, guesses, average="weighted")
    accuracy = sklearn_metrics.accuracy_score(predictions.reference, guesses)
    about = case(predictions, [printed(accuracy), printed(weighted, metric="f1")])
    assert "averaged weighted" in found_first(about, "label_order").explanation["found"]["setting"]


MANY = tuple(np.linspace(1.5, 0.5, 12))


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (list(range(12))[::-1], "reversed"),
        ([*range(1, 12), -1], "numbered from 1 and not from 0"),
        ([-1, *range(11)], "numbered from 0 and not from 1"),
        (sorted(range(12), key=str), "numbers sorted as text"),
    ],
)
def test_of_many_classes_the_usual_slips_are_tried(order, words):
    predictions = classified(shares=MANY, seed=4)
    guesses = np.array(order)[predicted(predictions)]
    verdict = found_first(case(predictions, claims_of(predictions.reference, guesses)), "label_order")
    assert words in verdict.explanation["found"]["setting"]


def test_of_many_classes_names_sorted_by_the_alphabet_are_tried():
    names = ("world", "sports", "business", "science", "arts", "food", "travel", "law", "music", "health")
    predictions = classified(shares=MANY[:10], seed=6)
    guesses = np.array(sorted(range(10), key=lambda i: names[i]))[predicted(predictions)]
    verdict = found_first(case(predictions, claims_of(predictions.reference, guesses), names), "label_order")
    assert verdict.explanation["found"]["setting"] == "sorted by name"


def test_of_many_classes_an_order_that_we_have_wrong_is_found_by_assignment():
    order = tuple(np.random.default_rng(9).permutation(12).tolist())
    predictions = classified(shares=MANY, mapping=order, seed=8, skill=3.0)
    right = claims_of(predictions.reference, predicted(predictions))
    wrong = type(predictions)(predictions.example, predictions.logits, predictions.reference, tuple(range(12)))
    verdict = found_first(case(wrong, right), "label_order")
    assert "agree best" in verdict.explanation["found"]["setting"]


def three_way(seed=0):
    """A model of three classes on data that have two of them."""
    return classified(shares=(0.5, 0.5), mapping=(0, -1, 1), extra=1, seed=seed, skill=1.2)


def test_a_choice_among_the_classes_of_the_data_is_found():
    predictions = three_way()
    guesses = (predictions.logits[:, 2] > predictions.logits[:, 0]).astype(int)
    claims = claims_of(predictions.reference, guesses)
    found_first(case(predictions, claims, ("entailment", "contradiction")), "known_classes_only")


@pytest.mark.parametrize("label", [0, 1])
def test_a_class_that_the_data_lack_may_have_counted_as_one_of_theirs(label):
    predictions = three_way(seed=1)
    guesses = np.where(predicted(predictions) < 0, label, predicted(predictions))
    about = case(predictions, claims_of(predictions.reference, guesses), ("entailment", "not_entailment"))
    verdict = found_first(about, "absent_classes_counted")
    assert verdict.explanation["found"]["setting"] == ("entailment", "not_entailment")[label]


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (0, 2)])
def test_two_of_three_classes_taken_as_one_are_found(pair):
    predictions = classified(shares=SHARES[3], seed=3, skill=1.5)
    reference, guesses = (
        np.where(labels == pair[1], pair[0], labels) for labels in (predictions.reference, predicted(predictions))
    )
    about = case(predictions, claims_of(reference, guesses), NAMES)
    setting = found_first(about, "classes_merged").explanation["found"]["setting"]
    assert setting == " and ".join(NAMES[place] for place in pair)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_claims_of_other_models_are_left_unexplained(classes):
    explained = 0
    for seed in range(20):
        predictions = classified(shares=SHARES[classes], seed=100 + seed)
        scores = scores_of(classified(shares=SHARES[classes], skill=2.2 + seed / 50, seed=200 + seed))
        claims = [printed(scores["accuracy"]), printed(scores["f1_macro"], metric="f1_macro")]
        about = case(predictions, claims)
        explained += any(verdict.kind is VerdictKind.EXPLAINED for verdict in verdicts(about, labels.HYPOTHESES))
    assert explained <= 1


def test_a_claim_that_a_wrong_order_does_not_touch_keeps_it_from_being_the_cause():
    predictions = classified(shares=SHARES[3], seed=3)
    scores = scores_of(predictions)
    guesses = np.array([2, 1, 0])[predicted(predictions)]
    claims = [
        printed(sklearn_metrics.accuracy_score(predictions.reference, guesses)),
        printed(scores["f1_macro"], metric="f1_macro"),
    ]
    first, second = verdicts(case(predictions, claims), labels.HYPOTHESES)
    assert (first.kind, second.kind) == (
        VerdictKind.OVERSTATED if first.delta < 0 else VerdictKind.UNDERSTATED,
        VerdictKind.REPRODUCED,
    )
    assert first.explanation["found"] is None
