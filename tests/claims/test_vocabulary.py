import pytest

from verify.claims.meaning.vocabulary import load
from verify.errors import UsageError


@pytest.mark.parametrize(
    ("label", "metric", "split"),
    [
        ("Accuracy", "accuracy", None),
        ("eval_accuracy", "accuracy", None),
        ("Test WER", "wer", "test"),
        ("Matthews Correlation", "matthews_correlation", None),
        ("Overall F1", "f1", None),
        ("NER F Score", "f1", None),
        ("Macro-f1", "f1_macro", None),
        ("F1 (weighted)", "f1_weighted", None),
        ("Rougelsum", "rougeLsum", None),
        ("Accuracy (eval-f1)", "f1", None),
        ("Validation Loss", "loss", "validation"),
        ("Mse", "mse", None),
        ("acc_norm", "acc_norm", None),
        ("Top-5 Accuracy", "top5_accuracy", None),
        ("HasAns_exact", "has_answer_exact_match", None),
        ("NoAns_f1", "no_answer_f1", None),
        ("eval_exact", "exact_match", None),
        ("best_exact", "best_exact_match", None),
        ("F1 (samples)", "f1_samples", None),
        ("Subset Accuracy", "accuracy", None),
        ("Spearman Cosine", "spearman", None),
        ("cosine_spearman", "spearman", None),
        ("cos_sim_pearson", "pearson", None),
        ("pearson_manhattan", "manhattan_pearson", None),
        ("Word Perplexity", "word_perplexity", None),
    ],
)
def test_labels_of_cards_have_one_canonical_name(label, metric, split):
    read = load().label(label)
    assert (read.metric.name, read.split, read.known) == (metric, split, True)


def test_an_unknown_label_keeps_the_words_of_the_card():
    read = load().label("Zorb index")
    assert (read.metric.name, read.metric.unit, read.known) == ("Zorb index", "unknown", False)


def test_quantities_that_say_nothing_of_quality():
    words = load()
    for name in ("Epoch", "Gen Len", "eval_runtime", "eval_samples_per_second", "Train Loss", "step"):
        assert words.is_not_metric(name)
    assert not words.is_not_metric("eval_loss")


def test_users_extend_the_vocabulary(tmp_path):
    extra = tmp_path / "mine.yaml"
    extra.write_text("metrics:\n  zorb: {unit: raw, greater_is_better: false, aliases: [zorb index]}\n")
    metric = load((extra,)).metric("Zorb Index")
    assert (metric.name, metric.unit, metric.greater_is_better) == ("zorb", "raw", False)
    assert load((extra,)).metric("acc").name == "accuracy"


@pytest.mark.parametrize("content", ["metrics: [a]\n", "metrics: {a: {unit: metres}}\n", "- a\n", "a: [\n"])
def test_a_wrong_vocabulary_file_is_named(tmp_path, content):
    extra = tmp_path / "wrong.yaml"
    extra.write_text(content)
    with pytest.raises(UsageError, match=r"wrong\.yaml"):
        load((extra,))


def test_every_metric_says_its_unit_and_direction():
    for metric in load().canonical.values():
        assert metric.greater_is_better is not None
