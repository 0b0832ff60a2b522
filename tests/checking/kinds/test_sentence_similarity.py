"""How close two texts are: a table of rated pairs, and SICK-R, with one encoder."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from scipy import stats
from transformers import BertConfig, BertModel

from checking.kinds.checking import Place, Stated

FIRST, SECOND = sentences(150), sentences(150, seed=1)
SICK = SHARED / "data/sickr-sts/default/test.parquet"


def plain_loop(model, words, texts):
    """The mean over the tokens of one text at a time, [N, D]."""
    with torch.inference_mode():
        return np.array(
            [
                model(**words(text, truncation=True, return_tensors="pt")).last_hidden_state[0].double().mean(0).numpy()
                for text in texts
            ]
        )


def cosine(one, other):
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def claim(place, data, one, other, ratings, flattery):
    """Numbers as sentence-transformers and MTEB name them, in percent as on MTEB's cards."""
    near = {
        "cosine": cosine(one, other),
        "euclidean": -np.linalg.norm(one - other, axis=1),
        "manhattan": -np.abs(one - other).sum(1),
        "dot": (one * other).sum(1),
    }
    rank = {name: stats.spearmanr(values, ratings).statistic for name, values in near.items()}
    line = {name: stats.pearsonr(values, ratings).statistic for name, values in near.items()}
    loose = {"percent": True, "within": 1e-4}
    place.claim(
        data,
        Stated("spearman_cosine", "spearman", rank["cosine"], digits=2, **loose),
        Stated("cosine_pearson", "pearson", line["cosine"], digits=3, **loose),
        Stated("euclidean_spearman", "euclidean_spearman", rank["euclidean"], digits=2, **loose),
        Stated("pearson_manhattan", "manhattan_pearson", line["manhattan"], digits=3, **loose),
        Stated("dot_spearman", "dot_spearman", rank["dot"], digits=2, flattery=flattery, **loose),
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("similarity"))
    torch.manual_seed(0)
    real = pq.read_table(SICK).slice(0, 400).to_pydict() if SICK.is_file() else {"sentence1": [], "sentence2": []}
    words = tokenizer([*FIRST, *SECOND, *real["sentence1"], *real["sentence2"]], vocab_size=1000)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    model = BertModel(config).eval()
    save(place.model, model, words)
    one, other = plain_loop(model, words, FIRST), plain_loop(model, words, SECOND)
    close = cosine(one, other)
    ratings = np.round(5 * stats.rankdata(close + np.random.default_rng(0).normal(0, close.std(), 150)) / 150, 1)
    with place.file("data/pairs.csv").open("w") as file:
        csv.writer(file).writerows([("a", "b", "rating"), *zip(FIRST, SECOND, ratings.tolist(), strict=True)])
    place.task(
        "pairs",
        "kind: sentence-similarity\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/pairs.csv}}\n"
        "columns: {text: a, text_pair: b, score: rating}\n"
        "metrics: [spearman, pearson]\n"
        "aliases: [my pairs]\n",
    )
    claim(place, "my-pairs", one, other, ratings, flattery=3)
    if SICK.is_file():
        pq.write_table(pq.read_table(SICK).slice(0, 400), place.file("data/sick.parquet"))
        place.task(
            "sick",
            "kind: sentence-similarity\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/sick.parquet}}\n"
            "columns: {text: sentence1, text_pair: sentence2, score: score}\n"
            "metrics: [spearman]\n"
            "aliases: [my part of sick]\n",
        )
        sides = (plain_loop(model, words, real[side]) for side in ("sentence1", "sentence2"))
        claim(place, "my-part-of-sick", *sides, real["score"], flattery=4)
    return place


@pytest.fixture(scope="module")
def found(place):
    return place.check()


def test_a_table_of_rated_pairs(place, found):
    assert found["exit_code"] == 1
    place.assert_judged(found, "my-pairs")


@needs_shared
def test_real_pairs(place, found):
    place.assert_judged(found, "my-part-of-sick")


@pytest.mark.parametrize("task", ["pairs", pytest.param("sick", marks=needs_shared)])
def test_each_task_can_be_tried(place, task, capsys, monkeypatch):
    place.assert_can_be_tried(task, capsys, monkeypatch)
