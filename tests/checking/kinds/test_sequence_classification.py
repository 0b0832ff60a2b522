"""Texts to classes, pairs of texts, several classes at once, and numbers: from a user's files to verdicts."""

import csv
import json

import numpy as np
import pytest
import torch
from helpers.builders import bert, sentences, write_parquet
from scipy import stats
from sklearn import metrics

from checking.kinds.checking import Place, Stated

COUNT = 200
TEXTS, OTHERS = sentences(COUNT), sentences(COUNT, seed=1)
NAMES = ["bad", "fair", "good"]
LABELS = [NAMES[i * 7 % 11 % 3] for i in range(COUNT)]


def plain_loop(model, words, *texts):
    """Logits of one row at a time, [N, C]."""
    with torch.inference_mode():
        return np.array(
            [
                model(**words(*row, truncation=True, return_tensors="pt")).logits[0].numpy()
                for row in zip(*texts, strict=True)
            ]
        )


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """One classifier with a CSV file of texts and a JSON Lines file of pairs."""
    place = Place(tmp_path_factory.mktemp("classes"))
    model, words = bert(place.model, TEXTS, ["good", "bad", "fair"])
    with place.file("data/reviews.csv").open("w") as file:
        csv.writer(file).writerows([("body", "verdict"), *zip(TEXTS, LABELS, strict=True)])
    place.task(
        "reviews",
        "kind: sequence-classification\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/reviews.csv}}\n"
        "columns: {text: body, label: verdict}\n"
        "metrics: [accuracy, f1_macro]\n"
        "aliases: [my reviews]\n",
    )
    with place.file("data/pairs.jsonl").open("w") as file:
        for one, other, label in zip(TEXTS, OTHERS, LABELS, strict=True):
            file.write(json.dumps({"one": one, "two": other, "answer": label}) + "\n")
    place.task(
        "pairs",
        "kind: sequence-classification\n"
        "dataset: {path: json, split: test, data_files: {test: ../data/pairs.jsonl}}\n"
        "columns: {text: one, text_pair: two, label: answer}\n"
        "metrics: [accuracy]\n"
        "aliases: [my pairs]\n",
    )
    own = np.array(["good", "bad", "fair"])
    single, pairs = (
        own[plain_loop(model, words, TEXTS).argmax(1)],
        own[plain_loop(model, words, TEXTS, OTHERS).argmax(1)],
    )
    assert (single != pairs).any()
    place.claim(
        "my-reviews",
        Stated("accuracy", "accuracy", metrics.accuracy_score(LABELS, single)),
        Stated("Macro F1", "f1_macro", metrics.f1_score(LABELS, single, average="macro"), percent=True, digits=2),
        Stated("mcc", "matthews_correlation", metrics.matthews_corrcoef(LABELS, single), flattery=0.06, digits=3),
    )
    place.claim(
        "my-pairs",
        Stated("acc", "accuracy", metrics.accuracy_score(LABELS, pairs), percent=True, digits=1, flattery=4),
        Stated(
            "Weighted F1", "f1_weighted", metrics.f1_score(LABELS, pairs, average="weighted"), percent=True, digits=2
        ),
    )
    return place


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A classifier that may give several classes, with a parquet file of lists of names."""
    place = Place(tmp_path_factory.mktemp("several"))
    model, words = bert(
        place.model, TEXTS, ["joy", "anger", "fear", "pride"], problem_type="multi_label_classification"
    )
    chance = np.random.default_rng(0)
    sets = chance.random((COUNT, 4)) < 0.4
    named = [[name for name, here in zip(["anger", "fear", "joy", "pride"], row, strict=True) if here] for row in sets]
    write_parquet(place.file("data/moods.parquet"), {"text": TEXTS, "moods": named})
    place.task(
        "moods",
        "kind: sequence-classification\n"
        "dataset: {path: parquet, split: test, data_files: {test: ../data/moods.parquet}}\n"
        "columns: {text: text, label: moods}\n"
        "metrics: [f1_micro, f1_macro, roc_auc_macro]\n"
        "aliases: [my moods]\n",
    )
    scores = torch.tensor(plain_loop(model, words, TEXTS)).sigmoid().numpy()[:, [1, 2, 0, 3]]
    chosen = scores > 0.5
    f1 = {
        average: metrics.f1_score(sets, chosen, average=average, zero_division=0)
        for average in ("micro", "macro", "samples")
    }
    place.claim(
        "my-moods",
        Stated("f1_micro", "f1_micro", f1["micro"]),
        Stated("F1 Macro", "f1_macro", f1["macro"], percent=True, digits=2, flattery=4),
        Stated("f1_samples", "f1_samples", f1["samples"]),
        Stated("Subset Accuracy", "accuracy", metrics.accuracy_score(sets, chosen)),
        Stated("hamming_loss", "hamming_loss", metrics.hamming_loss(sets, chosen)),
        Stated("Macro ROC AUC", "roc_auc_macro", metrics.roc_auc_score(sets, scores, average="macro"), within=1e-4),
    )
    return place


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    """A model that gives one number for a pair, with a CSV file of ratings that lean on what it gives."""
    place = Place(tmp_path_factory.mktemp("numbers"))
    model, words = bert(place.model, TEXTS, None)
    given = plain_loop(model, words, TEXTS, OTHERS)[:, 0].astype(np.float64)
    targets = np.round(given + np.random.default_rng(0).normal(0, given.std(), COUNT), 2)
    with place.file("data/ratings.csv").open("w") as file:
        csv.writer(file).writerows([("a", "b", "rating"), *zip(TEXTS, OTHERS, targets.tolist(), strict=True)])
    place.task(
        "ratings",
        "kind: sequence-classification\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/ratings.csv}}\n"
        "columns: {text: a, text_pair: b, label: rating}\n"
        "metrics: [pearson, spearman, mse]\n"
        "aliases: [my ratings]\n",
    )
    error = float(np.mean((given - targets) ** 2))
    place.claim(
        "my-ratings",
        Stated("pearsonr", "pearson", stats.pearsonr(given, targets).statistic, within=1e-5),
        Stated(
            "spearmanr",
            "spearman",
            stats.spearmanr(given, targets).statistic,
            percent=True,
            digits=2,
            flattery=3,
            within=1e-4,
        ),
        Stated("mse", "mse", error, within=1e-4),
        Stated("rmse", "mse", error**0.5, within=1e-4),
    )
    return place


def test_classes_and_pairs(classes):
    found = classes.check()
    assert found["exit_code"] == 1
    classes.assert_judged(found, "my-reviews")
    classes.assert_judged(found, "my-pairs")


def test_several_classes_at_once(several):
    found = several.check()
    assert found["exit_code"] == 1
    several.assert_judged(found, "my-moods")


def test_numbers(numbers):
    found = numbers.check()
    assert found["exit_code"] == 1
    numbers.assert_judged(found, "my-ratings")


@pytest.mark.parametrize(
    ("place", "task"), [("classes", "reviews"), ("classes", "pairs"), ("several", "moods"), ("numbers", "ratings")]
)
def test_each_task_can_be_tried(request, place, task, capsys, monkeypatch):
    request.getfixturevalue(place).assert_can_be_tried(task, capsys, monkeypatch)
