import math

import pytest

from verify.claims.meaning.vocabulary import load
from verify.metrics.meanings import FORMS, OTHER_NAMES, is_measured_for, measured_for, readings
from verify.metrics.names import METRICS
from verify.tasks.kinds import KINDS
from verify.types import Unit

CLASSES_2 = ("accuracy", *(f"f1_{average}" for average in ("micro", "binary", "macro", "weighted")))


@pytest.mark.parametrize(
    ("name", "measured", "expected"),
    [
        ("f1", CLASSES_2, ("f1_binary", "f1_macro", "f1_weighted", "f1_micro")),
        ("f1", ("f1_weighted", "f1_micro", "f1_macro"), ("f1_macro", "f1_weighted", "f1_micro")),
        ("f1", ("f1", "f1_macro", "exact_match"), ("f1",)),
        ("f1_micro", ("f1", "f1_macro"), ("f1",)),
        ("f1_micro", CLASSES_2, ("f1_micro",)),
        ("recall", CLASSES_2, ()),
        ("accuracy", CLASSES_2, ("accuracy",)),
        ("best_f1", ("f1", "best_f1"), ("best_f1",)),
        ("best_f1", ("f1_macro", "f1_micro"), ("f1_macro", "f1_micro")),
        ("roc_auc", ("f1_macro", "roc_auc_micro", "roc_auc_macro"), ("roc_auc_macro", "roc_auc_micro")),
        ("pos_accuracy", ("accuracy",), ("accuracy",)),
        ("error_rate", ("accuracy", "f1"), ("accuracy",)),
        ("error_rate", ("accuracy", "error_rate"), ("error_rate",)),
        ("a module's own key", (), ("a module's own key",)),
    ],
)
def test_readings_of_a_name(name, measured, expected):
    assert readings(name, measured) == expected


@pytest.mark.parametrize(
    ("name", "kind", "measured"),
    [
        ("f1", "sequence-classification", True),
        ("roc_auc", "sequence-classification", True),
        ("rmse", "sequence-classification", True),
        ("accuracy", "question-answering", False),
        ("exact_match", "question-answering", True),
        ("loss", "token-classification", False),
        ("tag_accuracy", "token-classification", True),
        ("spearman", "sentence-similarity", True),
        ("bleu", "summarization", False),
        ("error_rate", "automatic-speech-recognition", False),
    ],
)
def test_whether_a_kind_gives_a_metric(name, kind, measured):
    assert is_measured_for(name, kind) is measured


def test_every_kind_gives_the_metrics_that_are_its_default():
    for kind in KINDS.values():
        assert set(kind.metrics) <= set(measured_for(kind.name))


def test_whatever_is_measured_has_a_name_on_cards_with_the_same_scale_and_direction():
    words = load()
    for name, metric in METRICS.items():
        entry = words.canonical[name]
        assert words.label(name).metric == entry
        assert entry.greater_is_better is metric.greater_is_better
        assert (entry.unit == "raw") is (metric.unit is Unit.RAW)
    assert {*OTHER_NAMES, *FORMS} <= set(words.canonical)
    assert all(words.canonical[name].greater_is_better is form.greater_is_better for name, form in FORMS.items())


def test_forms_are_what_their_names_say():
    assert FORMS["error_rate"].value(0.9) == pytest.approx(0.1)
    assert FORMS["rmse"].value(2.0) == math.sqrt(2.0)
