import numpy as np
import pytest
from helpers.case_making import case, label_sets, printed, scores_of, verdicts
from sklearn import metrics as sklearn_metrics

from verify.judging.hypotheses import multi_label
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.types import VerdictKind

RUN = label_sets()
PROBABILITY = 1 / (1 + np.exp(-RUN.logits.astype(np.float64)))


def chosen(threshold):
    return threshold < PROBABILITY


def claims_of(guesses):
    reference = RUN.reference
    return [
        printed(sklearn_metrics.accuracy_score(reference, guesses)),
        printed(sklearn_metrics.f1_score(reference, guesses, average="micro"), metric="f1_micro"),
        printed(sklearn_metrics.f1_score(reference, guesses, average="macro"), metric="f1_macro"),
    ]


def explained_by(*claims):
    about = case(RUN, claims)
    assert about.differing == {one.claim_id for one in claims}
    found = verdicts(about, HYPOTHESES)
    assert all(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    return found[0].explanation["found"]["hypothesis"], found[0].explanation["found"]["setting"]


@pytest.mark.parametrize("threshold", [0.3, 0.4, 0.6])
def test_another_threshold_is_found(threshold):
    assert explained_by(*claims_of(chosen(threshold))) == ("threshold", f"{threshold:g}")


def test_one_f1_is_enough_for_a_threshold():
    f1 = sklearn_metrics.f1_score(RUN.reference, chosen(0.3), average="micro")
    assert explained_by(printed(f1, metric="f1_micro")) == ("threshold", "0.3")


def test_outputs_without_a_sigmoid_are_found():
    hypothesis, setting = explained_by(*claims_of(RUN.logits > 0.5))
    assert hypothesis == "threshold"
    assert "without the sigmoid" in setting


def test_the_threshold_that_is_best_on_the_data_is_found():
    scores = {
        threshold: sklearn_metrics.f1_score(RUN.reference, chosen(threshold), average="micro")
        for threshold in (round(0.01 * step, 2) for step in range(5, 96))
    }
    best = max(scores, key=lambda threshold: scores[threshold])
    hypothesis, setting = explained_by(*claims_of(chosen(best)))
    assert hypothesis == "threshold"
    assert setting == "the best for micro F1 on these data"


def test_only_the_likeliest_class_is_found():
    guesses = np.zeros(RUN.reference.shape, bool)
    guesses[np.arange(len(guesses)), RUN.logits.argmax(axis=1)] = True
    assert explained_by(*claims_of(guesses))[0] == "largest_class_only"


@pytest.mark.parametrize(
    ("value", "setting"),
    [
        (1 - sklearn_metrics.hamming_loss(RUN.reference, chosen(0.5)), "that of every single label"),
        (
            sklearn_metrics.jaccard_score(RUN.reference, chosen(0.5), average="samples", zero_division=0),
            "the labels that prediction and truth share",
        ),
        (sklearn_metrics.f1_score(RUN.reference, chosen(0.5), average="micro"), "the micro F1"),
    ],
)
def test_another_accuracy_is_found(value, setting):
    assert explained_by(printed(value)) == ("label_accuracy", setting)


def test_what_no_threshold_moves_is_not_explained_by_one():
    scores = scores_of(RUN)
    f1 = sklearn_metrics.f1_score(RUN.reference, chosen(0.3), average="micro")
    claims = [printed(f1, metric="f1_micro"), printed(scores["roc_auc_macro"] + 0.01, metric="roc_auc_macro")]
    assert all(verdict.explanation["found"] is None for verdict in verdicts(case(RUN, claims), multi_label.HYPOTHESES))
    claims[1] = printed(scores["roc_auc_macro"], metric="roc_auc_macro")
    f1_verdict, auc_verdict = verdicts(case(RUN, claims), multi_label.HYPOTHESES)
    assert (f1_verdict.kind, auc_verdict.kind) == (VerdictKind.EXPLAINED, VerdictKind.REPRODUCED)


def test_claims_of_another_model_are_left_unexplained():
    explained = 0
    for seed in range(20):
        other = scores_of(label_sets(seed=1 + seed))
        claims = [printed(other[name], metric=name) for name in ("f1_micro", "f1_macro")]
        found = verdicts(case(RUN, claims), multi_label.HYPOTHESES)
        explained += any(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    assert explained <= 1
