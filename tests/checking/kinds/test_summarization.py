"""Texts to summaries: a CSV file and a model that writes."""

import csv

import pytest
import torch
from helpers.builders import save, sentences, tokenizer
from helpers.writers import writer
from rouge_score.rouge_scorer import RougeScorer
from tokenizers import decoders

from checking.kinds.checking import Place, Stated

COUNT = 60
ARTICLES = [" ".join(sentences(4, seed=i)) for i in range(COUNT)]
ROUGE = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def model_and_words(texts, kind="t5", vocab_size=400, **options):
    """A writer of random weights, and its tokeniser."""
    words = tokenizer(texts, vocab_size, max_length=64)
    words.backend_tokenizer.decoder = decoders.WordPiece()
    start = words.pad_token_id if kind == "t5" else words.sep_token_id
    tokens = {"pad_token_id": words.pad_token_id, "eos_token_id": words.sep_token_id, "decoder_start_token_id": start}
    model = writer(kind, len(words), **tokens, **options)
    model.generation_config.max_length, model.generation_config.no_repeat_ngram_size = 24, 2
    return model, words


def written(model, words, texts):
    """What the model writes for one text at a time, as its own configuration has it."""
    found = []
    for text in texts:
        inputs = words(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            found.append(words.decode(model.generate(**inputs)[0], skip_special_tokens=True))
    return found


def near(texts):
    """References: some as written, others with words left out or added."""
    changed = (lambda words: words, lambda words: [*words[1:], "plot"], lambda words: [*words[::2], "a", "film"])
    return [" ".join(changed[i % 3](text.split())) for i, text in enumerate(texts)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("summaries"))
    model, words = model_and_words(ARTICLES, "bart")
    save(place.model, model, words)
    found = written(model, words, ARTICLES)
    assert len(set(found)) > COUNT / 2
    summaries = near(found)
    with place.file("data/articles.csv").open("w") as file:
        csv.writer(file).writerows([("article", "highlights"), *zip(ARTICLES, summaries, strict=True)])
    place.task(
        "articles",
        "kind: summarization\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/articles.csv}}\n"
        "columns: {text: article, summary: highlights}\n"
        "metrics: [rouge1, rouge2, rougeL, rougeLsum]\n"
        "aliases: [my articles]\n",
    )
    scorer = RougeScorer(ROUGE, use_stemmer=True)
    scores = [scorer.score(summary, text) for text, summary in zip(found, summaries, strict=True)]
    means = {name: sum(score[name].fmeasure for score in scores) / COUNT for name in ROUGE}
    place.claim(
        "my-articles",
        Stated("rouge1", "rouge1", means["rouge1"], percent=True, digits=4),
        Stated("rouge2", "rouge2", means["rouge2"], percent=True, digits=3, flattery=6),
        Stated("rougeL", "rougeL", means["rougeL"], percent=True, digits=2),
        Stated("rougeLsum", "rougeLsum", means["rougeLsum"], percent=True, digits=5),
    )
    return place


def test_summaries(place):
    found = place.check()
    assert found["exit_code"] == 1
    place.assert_judged(found, "my-articles")


def test_the_task_can_be_tried(place, capsys, monkeypatch):
    place.assert_can_be_tried("articles", capsys, monkeypatch)
