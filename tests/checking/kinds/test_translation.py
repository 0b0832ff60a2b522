"""Texts from one language to another: nested JSON Lines of one's own, and Multi30k with a model trained on it."""

import json

import pyarrow.parquet as pq
import pytest
import sacrebleu
from helpers import built
from helpers.builders import SHARED, needs_shared, save, sentences
from helpers.writers import train
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from checking.kinds.checking import Place, Stated
from checking.kinds.test_summarization import model_and_words, near, written

COUNT = 60
TEXTS = sentences(COUNT)
MULTI30K = SHARED / "data/multi30k/default"


def claim(place, data, found, references, flattery):
    """BLEU as cards print it, from 0 to 100, and chrF beside it."""
    bleu, chrf = sacrebleu.corpus_bleu(found, [references]), sacrebleu.corpus_chrf(found, [references])
    ter = sacrebleu.corpus_ter(found, [references])
    assert bleu.score > 1
    place.claim(
        data,
        Stated("sacrebleu", "bleu", bleu.score / 100, percent=True, digits=2, flattery=flattery),
        Stated("chrf", "chrf", chrf.score / 100, percent=True, digits=3),
        Stated("TER", "ter", ter.score / 100, percent=True, digits=1),
    )


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("own"))
    model, words = model_and_words(TEXTS)
    save(place.model, model, words)
    found = written(model, words, TEXTS)
    references = near(found)
    with place.file("data/sentences.jsonl").open("w") as file:
        for source, target in zip(TEXTS, references, strict=True):
            file.write(json.dumps({"translation": {"xx": source, "yy": target}}) + "\n")
    place.task(
        "sentences",
        "kind: translation\n"
        "dataset: {path: json, split: test, data_files: {test: ../data/sentences.jsonl}}\n"
        "columns: {source: translation.xx, target: translation.yy}\n"
        "metrics: [bleu, chrf]\n"
        "aliases: [my sentences]\n",
    )
    claim(place, "my-sentences", found, references, flattery=7)
    return place


def captions():
    """150 sentences of Multi30k, English and German."""
    return pq.read_table(MULTI30K / "test.parquet").slice(0, 150)


def translator(folder):
    """A small model that has learnt some of the captions by heart: else BLEU would be 0."""
    english, german = captions()["en"].to_pylist(), captions()["de"].to_pylist()
    model, words = model_and_words(
        [*english, *german], "bart", vocab_size=800, d_model=64, init_std=0.02, forced_eos_token_id=None
    )
    ids = [words(side, truncation=True)["input_ids"] for side in (english, german)]
    train(model, list(zip(*ids, strict=True)), peak=4e-3, steps=250)
    save(folder, model, words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("trained"))
    built.copied(place.model, translator)
    model = AutoModelForSeq2SeqLM.from_pretrained(place.model).eval()
    words = AutoTokenizer.from_pretrained(place.model)
    table = captions()
    english, german = table["en"].to_pylist(), table["de"].to_pylist()
    pq.write_table(table, place.file("data/captions.parquet"))
    place.task(
        "captions",
        "kind: translation\n"
        "dataset: {path: parquet, split: test, data_files: {test: ../data/captions.parquet}}\n"
        "columns: {source: en, target: de}\n"
        "metrics: [bleu, chrf]\n"
        "aliases: [my captions]\n",
    )
    claim(place, "my-captions", written(model, words, english), german, flattery=4)
    return place


@pytest.mark.parametrize(
    ("place", "data"),
    [("own", "my-sentences"), pytest.param("trained", "my-captions", marks=[needs_shared, pytest.mark.slow])],
)
def test_translations(request, place, data):
    place = request.getfixturevalue(place)
    found = place.check()
    assert found["exit_code"] == 1
    place.assert_judged(found, data)


@pytest.mark.parametrize(
    ("place", "task"),
    [("own", "sentences"), pytest.param("trained", "captions", marks=[needs_shared, pytest.mark.slow])],
)
def test_each_task_can_be_tried(request, place, task, capsys, monkeypatch):
    request.getfixturevalue(place).assert_can_be_tried(task, capsys, monkeypatch)
