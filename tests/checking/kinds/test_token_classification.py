"""Tags for words: entities and parts of speech, one's own in JSON Lines and real ones."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import seqeval.metrics
import seqeval.scheme
from helpers.builders import SHARED, needs_shared, sentences
from helpers.tagging import bert, plain_loop
from sklearn import metrics

from checking.kinds.checking import Place, Stated

WORDS = [text.split() for text in sentences(150)]
ENTITIES = ("O", "B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER")
TWEETS = SHARED / "data/broad_twitter_corpus/default/test.parquet"
WEB = SHARED / "data/universal_dependencies/en_ewt/test.parquet"


def tagged(model, words, texts):
    """The tag of every word, one sentence at a time; no sentence here is cut."""
    names = model.config.id2label
    found = plain_loop(model, words, texts)
    assert [len(row) for row in found] == [len(text) for text in texts]
    return [[names[int(logits.argmax())] for _, logits in sorted(row.items())] for row in found]


def near(rows, names):
    """References that agree with most of the tags given."""
    chance = np.random.default_rng(0)
    return [[tag if chance.random() < 0.8 else str(chance.choice(names)) for tag in row] for row in rows]


def write(place, name, texts, tags):
    with place.file(f"data/{name}.jsonl").open("w") as file:
        for text, row in zip(texts, tags, strict=True):
            file.write(json.dumps({"words": text, "tags": row}) + "\n")
    place.task(
        name,
        "kind: token-classification\n"
        f"dataset: {{path: json, split: test, data_files: {{test: ../data/{name}.jsonl}}}}\n"
        "columns: {tokens: words, tags: tags}\n"
        f"metrics: [{'accuracy' if name == 'parts' else 'f1, precision, recall'}]\n"
        f"aliases: [my {name}]\n",
    )


def claim_entities(place, data, reference, found, flattery):
    """Numbers as seqeval and the Trainer's example for entities name them."""
    strict = seqeval.metrics.f1_score(reference, found, mode="strict", scheme=seqeval.scheme.IOB2)
    place.claim(
        data,
        Stated("overall_f1", "f1", seqeval.metrics.f1_score(reference, found)),
        Stated("precision", "precision", seqeval.metrics.precision_score(reference, found), percent=True, digits=2),
        Stated("recall", "recall", seqeval.metrics.recall_score(reference, found), digits=3, flattery=flattery),
        Stated("Macro F1", "f1_macro", seqeval.metrics.f1_score(reference, found, average="macro"), digits=5),
        Stated("Strict F1", "f1_strict", strict, digits=6),
        Stated("accuracy", "accuracy", seqeval.metrics.accuracy_score(reference, found), percent=True, digits=1),
    )


def claim_parts(place, data, reference, found, flattery):
    right, given = ([tag for row in rows for tag in row] for rows in (reference, found))
    place.claim(
        data,
        Stated("accuracy", "accuracy", metrics.accuracy_score(right, given), digits=4),
        Stated("POS accuracy", "accuracy", metrics.accuracy_score(right, given), 2, percent=True, flattery=flattery),
        Stated("Macro F1", "f1_macro", metrics.f1_score(right, given, average="macro"), digits=5),
    )


@pytest.fixture(scope="module")
def entities(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("entities"))
    table = pq.read_table(TWEETS).slice(0, 300) if TWEETS.is_file() else None
    real = table["tokens"].to_pylist() if table else []
    model, words = bert(place.model, [" ".join(text) for text in [*WORDS, *real]], ENTITIES, max_length=512)
    found = tagged(model, words, WORDS)
    reference = near(found, ENTITIES)
    write(place, "entities", WORDS, reference)
    claim_entities(place, "my-entities", reference, found, flattery=0.03)
    if table:
        pq.write_table(table, place.file("data/tweets.parquet"))
        place.task(
            "tweets",
            "kind: token-classification\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/tweets.parquet}}\n"
            "columns: {tokens: tokens, tags: ner_tags}\n"
            "metrics: [f1]\n"
            "aliases: [my tweets]\n",
        )
        names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["ner_tags"]["feature"]["names"]
        reference = [[names[tag] for tag in row] for row in table["ner_tags"].to_pylist()]
        claim_entities(place, "my-tweets", reference, tagged(model, words, real), flattery=0.04)
    return place


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("parts"))
    names = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT")
    names += ("SCONJ", "SYM", "VERB", "X", "_")
    table = pq.read_table(WEB).slice(0, 300) if WEB.is_file() else None
    real = table["tokens"].to_pylist() if table else []
    model, words = bert(place.model, [" ".join(text) for text in [*WORDS, *real]], names, max_length=512)
    found = tagged(model, words, WORDS)
    reference = near(found, names)
    write(place, "parts", WORDS, reference)
    claim_parts(place, "my-parts", reference, found, flattery=2)
    if table:
        pq.write_table(table, place.file("data/web.parquet"))
        place.task(
            "web",
            "kind: token-classification\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/web.parquet}}\n"
            "columns: {tokens: tokens, tags: upos}\n"
            "metrics: [accuracy]\n"
            "aliases: [my web texts]\n",
        )
        stated = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["upos"]["feature"]["names"]
        reference = [[stated[tag] for tag in row] for row in table["upos"].to_pylist()]
        claim_parts(place, "my-web-texts", reference, tagged(model, words, real), flattery=2)
    return place


def test_entities(entities):
    found = entities.check()
    assert found["exit_code"] == 1
    entities.assert_judged(found, "my-entities")
    if TWEETS.is_file():
        entities.assert_judged(found, "my-tweets")


def test_parts_of_speech(parts):
    found = parts.check()
    assert found["exit_code"] == 1
    parts.assert_judged(found, "my-parts")
    if WEB.is_file():
        parts.assert_judged(found, "my-web-texts")


@pytest.mark.parametrize(
    ("place", "task"),
    [
        ("entities", "entities"),
        ("parts", "parts"),
        pytest.param("entities", "tweets", marks=needs_shared),
        pytest.param("parts", "web", marks=needs_shared),
    ],
)
def test_each_task_can_be_tried(request, place, task, capsys, monkeypatch):
    request.getfixturevalue(place).assert_can_be_tried(task, capsys, monkeypatch)
