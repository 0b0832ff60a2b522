import math

import numpy as np
import pytest
from helpers.case_making import case, classified, label_sets, printed, scores_of, verdicts
from sklearn import metrics as sklearn_metrics

from verify.judging.hypotheses import readings
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.store.predictions import LabelPredictions
from verify.types import Unit, VerdictKind

TWO = classified(seed=11, shares=(0.68, 0.32), skill=1.6)
THREE = classified(seed=15, shares=(0.6, 0.3, 0.1), skill=1.4)
NINE = classified(seed=13, shares=tuple(np.linspace(1.5, 0.5, 9)), skill=1.6)


def regression(n=600, seed=0):
    chance = np.random.default_rng(seed)
    rating = chance.uniform(0, 5, n)
    guesses = (0.9 * rating + chance.normal(0.3, 0.6, n))[:, None].astype(np.float32)
    return LabelPredictions(np.arange(n), guesses, rating, None)


def guessed(predictions):
    return predictions.reference, predictions.logits.argmax(axis=1)


def of(predictions, function, **options):
    return getattr(sklearn_metrics, function)(*guessed(predictions), **options)


def explained_by(predictions, *claims):
    """The hypothesis and setting that explain every claim that differs, or None where some are not explained."""
    about = case(predictions, claims)
    assert about.differing
    found = [verdict for verdict in verdicts(about, HYPOTHESES) if verdict.claim.claim_id in about.differing]
    if not all(verdict.kind is VerdictKind.EXPLAINED for verdict in found):
        return None
    return found[0].explanation["found"]["hypothesis"], found[0].explanation["found"]["setting"]


@pytest.mark.parametrize(("claimed", "meant"), [("macro", "weighted"), ("weighted", "macro")])
@pytest.mark.parametrize("predictions", [TWO, THREE, NINE])
def test_another_average_is_found(predictions, claimed, meant):
    f1 = of(predictions, "f1_score", average=meant)
    hypothesis, setting = explained_by(predictions, printed(f1, metric=f"f1_{claimed}"))
    assert hypothesis == "averaging"
    assert setting.startswith(meant)


def test_precision_recall_and_f1_move_to_the_other_average_together():
    claims = [
        printed(of(THREE, f"{name}_score", average="weighted"), metric=f"{name}_macro")
        for name in ("precision", "recall", "f1")
    ]
    assert explained_by(THREE, *claims)[0] == "averaging"


def test_micro_averages_of_three_claims_are_one_cause():
    claims = [printed(of(THREE, "accuracy_score"), metric=f"{name}_macro") for name in ("precision", "recall", "f1")]
    assert explained_by(THREE, *claims) == ("averaging", "micro")


def test_the_average_of_a_multi_label_f1_is_found():
    predictions = label_sets()
    guesses = predictions.logits > 0
    f1 = sklearn_metrics.f1_score(predictions.reference, guesses, average="samples", zero_division=0)
    assert explained_by(predictions, printed(f1, metric="f1_micro")) == ("averaging", "over examples")


def test_the_other_positive_class_is_found():
    claims = [printed(of(TWO, f"{name}_score", pos_label=0), metric=name) for name in ("f1", "precision", "recall")]
    assert explained_by(TWO, *claims, printed(of(TWO, "accuracy_score"))) == ("negative_label", "0")


def swapped(predictions, metric, other):
    return explained_by(predictions, printed(scores_of(predictions)[other], metric=metric))


@pytest.mark.parametrize(
    ("predictions", "metric", "other", "words"),
    [
        (TWO, "accuracy", "f1_binary", "the accuracy is the F1"),
        (THREE, "accuracy", "f1_macro", "the accuracy is the F1, averaged macro"),
        (THREE, "accuracy", "recall_macro", "the accuracy is the balanced accuracy"),
        (NINE, "accuracy", "top5_accuracy", "the accuracy is the top-5 accuracy"),
        (NINE, "top5_accuracy", "accuracy", "the top-5 accuracy is the top-1 accuracy"),
        (TWO, "f1_binary", "accuracy", "the F1 is the accuracy"),
        (TWO, "f1", "matthews_correlation", "the F1 is Matthews' correlation"),
        (TWO, "matthews_correlation", "accuracy", "Matthews' correlation is the accuracy"),
        (TWO, "precision", "recall_binary", "the precision is the recall"),
        (THREE, "recall_macro", "precision_macro", "the recall is the precision"),
    ],
)
def test_another_metric_under_this_name_is_found(predictions, metric, other, words):
    assert swapped(predictions, metric, other) == ("metric_mislabelled", words)


def test_the_other_claims_of_a_mislabelled_one_keep_holding():
    scores = scores_of(TWO)
    about = case(TWO, [printed(scores["accuracy"]), printed(scores["accuracy"], metric="f1_binary")])
    accuracy, f1 = verdicts(about, HYPOTHESES)
    assert accuracy.kind is VerdictKind.REPRODUCED
    assert accuracy.explanation is None
    assert f1.explanation["found"]["setting"] == "the F1 is the accuracy"


@pytest.mark.parametrize(
    ("predictions", "one", "two", "of_two"),
    [(TWO, "accuracy", "f1_binary", "f1_binary"), (THREE, "precision_macro", "recall_macro", "recall_macro")],
)
def test_two_columns_that_changed_places_are_found(predictions, one, two, of_two):
    scores = scores_of(predictions)
    claims = [printed(scores[of_two], metric=one), printed(scores[one], metric=two)]
    assert explained_by(predictions, *claims)[0] == "metrics_exchanged"


def test_the_mean_of_accuracy_and_f1_is_found_as_glue_reports_it():
    scores = scores_of(TWO)
    mean = (scores["accuracy"] + scores["f1_binary"]) / 2
    assert explained_by(TWO, printed(mean, metric="f1"))[0] == "mean_of_accuracy_and_f1"


@pytest.mark.parametrize("unit", [Unit.FRACTION, Unit.PERCENT])
def test_an_error_rate_under_the_name_of_the_accuracy_is_found(unit):
    accuracy = scores_of(TWO)["accuracy"]
    assert accuracy > 0.5
    assert explained_by(TWO, printed(1 - accuracy, 4 if unit is Unit.FRACTION else 2, unit=unit))[0] == "complement"
    assert explained_by(TWO, printed(accuracy, metric="error_rate"))[0] == "complement"


@pytest.mark.parametrize(("factor", "digits", "unit"), [(0.01, 4, Unit.PERCENT), (0.01, 6, Unit.FRACTION)])
def test_a_slip_of_a_factor_of_a_hundred_is_found(factor, digits, unit):
    scores = scores_of(THREE)
    claims = [printed(scores[name] * factor, digits, name, unit) for name in ("accuracy", "f1_macro")]
    assert explained_by(THREE, *claims)[0] == "factor_100"


def test_two_digits_suffice_for_a_percentage_that_is_a_fraction():
    assert explained_by(TWO, printed(scores_of(TWO)["accuracy"] / 100, 2, unit=Unit.PERCENT))[0] == "factor_100"


def test_a_root_under_the_name_of_the_square_is_found_and_the_reverse():
    predictions = regression()
    mse = float(np.mean((predictions.logits[:, 0] - predictions.reference) ** 2))
    expected = ("squared_error", "the root of the squared error")
    assert explained_by(predictions, printed(math.sqrt(mse), metric="mse", unit=Unit.RAW)) == expected
    assert explained_by(predictions, printed(mse, metric="rmse", unit=Unit.RAW)) == expected


def test_the_absolute_error_under_the_name_of_the_squared_one_is_found():
    predictions = regression()
    mae = float(np.mean(np.abs(predictions.logits[:, 0] - predictions.reference)))
    assert explained_by(predictions, printed(mae, metric="mse", unit=Unit.RAW))[0] == "metric_mislabelled"


@pytest.mark.parametrize("predictions", [TWO, THREE, NINE, label_sets(), regression()])
def test_numbers_of_nobody_are_left_unexplained(predictions):
    scores, chance, explained = scores_of(predictions), np.random.default_rng(5), 0
    names = ("pearson", "spearman") if "pearson" in scores else ("accuracy", "f1_macro")
    for _ in range(20):
        shift = chance.choice((-1, 1)) * chance.uniform(0.004, 0.06)
        claims = [printed(min(scores[name] + shift + chance.normal(0, 0.003), 1.0), metric=name) for name in names]
        found = verdicts(case(predictions, claims), readings.HYPOTHESES)
        explained += any(verdict.kind is VerdictKind.EXPLAINED for verdict in found)
    assert explained <= 1


def test_every_cause_is_a_sentence_with_the_setting_in_it():
    for hypothesis in readings.HYPOTHESES:
        assert "{setting}" in hypothesis.cause
        assert not hypothesis.cause.endswith(".")
