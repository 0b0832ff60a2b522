import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as sklearn_metrics

from verify.errors import EngineError
from verify.metrics.additive import measure
from verify.metrics.families.multi_label import metrics, others
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import LabelSetPredictions

LOGITS = st.floats(-20, 20, width=32).filter(lambda logit: abs(logit) > 1e-3)
SHAPES = st.tuples(st.integers(1, 10), st.integers(2, 5))
AVERAGED = ("f1", "precision", "recall")


def run(logits, reference, mapping=None, threshold=0.5):
    logits, reference = np.asarray(logits, np.float32), np.asarray(reference, np.bool_)
    mapping = tuple(range(logits.shape[1])) if mapping is None else mapping
    return LabelSetPredictions(np.arange(len(logits)), logits, reference, mapping, threshold)


@st.composite
def runs(draw):
    shape = draw(SHAPES)
    logits, reference = draw(hnp.arrays(np.float32, shape, elements=LOGITS)), draw(hnp.arrays(np.bool_, shape))
    mapping = tuple(draw(st.permutations(range(shape[1]))))
    return run(logits, reference, mapping, draw(st.sampled_from([0.5, 0.3, 0.9])))


def expected_scores(reference, predicted):
    """What scikit-learn says of label sets, bool [N, L] each."""
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(reference, predicted),
        "hamming_loss": sklearn_metrics.hamming_loss(reference, predicted),
        "jaccard": sklearn_metrics.jaccard_score(reference, predicted, average="samples", zero_division=0),
    }
    for name in AVERAGED:
        function = getattr(sklearn_metrics, f"{name}_score")
        for average in ("micro", "macro", "weighted", "samples"):
            expected[f"{name}_{average}"] = function(reference, predicted, average=average, zero_division=0)
    return expected


@given(runs())
def test_every_set_metric_equals_scikit_learn(predictions):
    order = np.argsort(predictions.label_of_logit)
    predicted = torch.sigmoid(torch.from_numpy(predictions.logits[:, order]).double()).numpy() > predictions.threshold
    expected = expected_scores(predictions.reference, predicted)
    scores, notes = measure(metrics(predictions))
    assert notes == ()
    assert set(scores) == {*expected, "loss"}
    for name, value in expected.items():
        assert scores[name].value == pytest.approx(value, abs=1e-9), name
    hits = (predicted == predictions.reference).all(axis=1)
    assert (scores["accuracy"].count, scores["accuracy"].n) == (hits.sum(), len(hits))


@given(runs())
def test_the_loss_is_that_of_torch(predictions):
    targets = torch.from_numpy(predictions.reference[:, list(predictions.label_of_logit)]).double()
    logits = torch.from_numpy(predictions.logits).double()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    assert measure(metrics(predictions))[0]["loss"].value == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning", "ignore:No positive class")
@given(runs())
def test_rankings_equal_scikit_learn(predictions):
    order = np.argsort(predictions.label_of_logit)
    logits, reference = predictions.logits[:, order], predictions.reference
    ranked = others(predictions)
    assert set(ranked) == {"roc_auc_micro", "roc_auc_macro", "pr_auc"}
    average_precision = sklearn_metrics.average_precision_score(reference, logits, average="macro")
    assert ranked["pr_auc"]().value == pytest.approx(average_precision, abs=1e-9)
    has_both = reference.any(axis=0) & ~reference.all(axis=0)
    for average, is_defined in (("macro", has_both.all()), ("micro", 0 < reference.mean() < 1)):
        if is_defined:
            expected = sklearn_metrics.roc_auc_score(reference, logits, average=average)
            assert ranked[f"roc_auc_{average}"]().value == pytest.approx(expected, abs=1e-9)
        else:
            with pytest.raises(UndefinedScoreError, match="belong to all of the examples, or to none"):
                ranked[f"roc_auc_{average}"]()


def test_a_hand_checked_example():
    predictions = run([[2, -1, 3], [-2, -1, -3], [1, 1, -1]], [[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    scores, _ = measure(metrics(predictions))
    assert (scores["accuracy"].count, scores["accuracy"].n) == (1, 3)
    assert scores["hamming_loss"].value == pytest.approx(2 / 9)
    assert scores["jaccard"].value == pytest.approx((1 / 2 + 0 + 2 / 3) / 3)
    assert scores["f1_micro"].value == pytest.approx(2 * 3 / (4 + 4))
    assert scores["f1_macro"].value == pytest.approx((1 + 1 + 0) / 3)
    assert scores["f1_samples"].value == pytest.approx((2 / 3 + 0 + 4 / 5) / 3)


def test_a_class_that_the_data_lack_is_wrong_wherever_it_is_predicted():
    logits, reference = np.array([[2, 3, -1], [2, -3, -1]]), np.array([[1, 0], [1, 0]], np.bool_)
    scores, _ = measure(metrics(run(logits, reference, (0, -1, 1))))
    predicted = np.array([[1, 0, 1], [1, 0, 0]], np.bool_)
    widened = np.array([[1, 0, 0], [1, 0, 0]], np.bool_)
    for name, value in expected_scores(widened, predicted).items():
        assert scores[name].value == pytest.approx(value, abs=1e-9), name
    targets = torch.tensor([[1.0, 0.0, 0.0]] * 2)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits).float(), targets)
    assert scores["loss"].value == pytest.approx(float(loss), abs=1e-6)

    never, _ = measure(metrics(run(np.array([[2, -3, -1], [2, -3, -1]]), reference, (0, -1, 1))))
    for name, value in expected_scores(reference, reference).items():
        assert never[name].value == pytest.approx(value, abs=1e-9), name


def test_a_label_that_the_model_lacks_is_never_predicted():
    reference = np.array([[1, 1], [0, 1]], np.bool_)
    for threshold in (0.0, 0.5):
        predictions = run([[3.0], [-2.0]], reference, (0,), threshold)
        scores, _ = measure(metrics(predictions))
        predicted = np.array([[1, 0], [threshold == 0, 0]], np.bool_)
        for name, value in expected_scores(reference, predicted).items():
            assert scores[name].value == pytest.approx(value, abs=1e-9), name
        assert "loss" not in scores
        assert set(others(predictions)) == {"roc_auc_micro", "roc_auc_macro", "pr_auc", "loss"}
        for name, score in others(predictions).items():
            with pytest.raises(
                UndefinedScoreError, match=f"{name} is undefined: the model has no class for label ids 1"
            ):
                score()


def test_two_classes_of_the_model_for_one_label():
    predictions = run([[3, -2, -1], [-3, -2, -1], [-3, 2, 1]], [[1, 0], [0, 0], [1, 1]], (0, 0, 1))
    scores, _ = measure(metrics(predictions))
    assert scores["accuracy"].count == 3
    assert others(predictions)["roc_auc_macro"]().value == 1
    with pytest.raises(UndefinedScoreError, match="several of the model's classes"):
        others(predictions)["loss"]()


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        (run([[0, np.nan]], [[0, 1]]), "not finite on 1 of 1"),
        (run([[0, 1]], [[0, 1]], (0,)), "shapes 1 × 2 and 1 × 2"),
        (run([[0, 1]], [[0, 1], [0, 1]]), "shapes 1 × 2 and 2 × 2"),
        (run([[0, 1]], np.empty((1, 0))), "shapes 1 × 2 and 1 × 0"),
    ],
)
def test_arrays_that_cannot_be_scored_are_refused(predictions, says):
    with pytest.raises(EngineError, match=says):
        metrics(predictions)
