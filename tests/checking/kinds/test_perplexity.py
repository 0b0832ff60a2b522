"""How likely texts are: under a causal and a masked model, whole texts and last words, one's own and real ones."""

import json
import math

import pyarrow.parquet as pq
import pytest
from engine.kinds.test_perplexity import CONTEXT, documented, last_word, pseudo
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from helpers.language_models import byte_pairs, gpt2, masked_bert

from checking.kinds.checking import Place, Stated

TEXTS = [text for text in sentences(60) if " " in text]
WIKITEXT = SHARED / "data/wikitext/wikitext-2-v1/test.parquet"
LAMBADA = SHARED / "data/lambada_openai/default/test.parquet"


def task(place, name, settings=""):
    place.task(
        name,
        "kind: perplexity\n"
        f"dataset: {{path: json, split: test, data_files: {{test: ../data/{name}.jsonl}}}}\n"
        "columns: {text: line}\n"
        "metrics: [perplexity, word_perplexity]\n"
        f"aliases: [my {name}]\n{settings}",
    )


def write(place, name, texts):
    place.file(f"data/{name}.jsonl").write_text("".join(json.dumps({"line": text}) + "\n" for text in texts))


def perplexity(label, metric, nll, count, flattery=0.0):
    """A perplexity as cards print it; ``flattery`` is the share that it is given too low."""
    true = math.exp(nll / count)
    return Stated(label, metric, true, digits=2 if true < 10_000 else 0, flattery=-flattery * true, within=1e-4 * true)


def claim(place, data, scored, flattery):
    """``scored`` holds (nll, tokens, hits) of each text; nothing but tokens is divided by."""
    nll, tokens, hits = (sum(column) for column in zip(*scored, strict=True))
    place.claim(
        data,
        perplexity("perplexity", "perplexity", nll, tokens, flattery),
        Stated("loss", "loss", nll / tokens, digits=4, within=1e-4),
        Stated("accuracy", "accuracy", hits / tokens, digits=6),
    )


@pytest.fixture(scope="module")
def causal(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("causal"))
    real = pq.read_table(WIKITEXT)["text"].to_pylist()[:40] if WIKITEXT.is_file() else []
    passages = pq.read_table(LAMBADA)["text"].to_pylist()[:200] if LAMBADA.is_file() else []
    words = byte_pairs([*TEXTS, *real, *passages], max_length=CONTEXT)
    model = gpt2(len(words), CONTEXT)
    model.transformer.wte.weight.data *= 0.3  # logits that a card could be about: perplexities below a million
    save(place.model, model, words)

    write(place, "lines", TEXTS)
    task(place, "lines")
    claim(place, "my-lines", [documented(model, row, CONTEXT, CONTEXT) for row in words(TEXTS)["input_ids"]], 0.03)
    write(place, "endings", TEXTS)
    task(place, "endings", "settings: {target: last_word}\n")
    claim_last_words(place, "my-endings", [last_word(model, words, text, special=False) for text in TEXTS])
    if real:
        write(place, "articles", real)
        task(place, "articles", 'settings: {join: "\\n\\n", stride: 32}\n')
        text = "\n\n".join(real)
        claim(place, "my-articles", [documented(model, words(text)["input_ids"], CONTEXT, 32)], 0.02)
    if passages:
        passages = [text for text in passages if len(words(f" {text.rsplit(' ', 1)[1]}")["input_ids"]) < 3]
        write(place, "passages", passages)
        task(place, "passages", "settings: {target: last_word}\n")
        claim_last_words(place, "my-passages", [last_word(model, words, text, special=False) for text in passages])
    return place


def claim_last_words(place, data, scored):
    """Perplexity per last word, and the share of last words all of whose tokens are the likeliest."""
    place.claim(
        data,
        perplexity("ppl", "perplexity", sum(nll for nll, _, _ in scored), len(scored)),
        Stated("acc", "accuracy", sum(hits == tokens for _, tokens, hits in scored) / len(scored), flattery=0.1),
    )


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("masked"))
    words = tokenizer(TEXTS, max_length=CONTEXT)
    words.add_special_tokens({"mask_token": "[MASK]"})
    model = masked_bert(len(words), CONTEXT)
    save(place.model, model, words)
    write(place, "lines", TEXTS[:25])
    task(place, "lines")
    size = CONTEXT - 2
    claim(place, "my-lines", [pseudo(model, words, text, size, size) for text in TEXTS[:25]], 0.03)
    return place


def test_a_causal_model(causal):
    found = causal.check()
    assert found["exit_code"] == 1
    causal.assert_judged(found, "my-lines")
    causal.assert_judged(found, "my-endings")
    if WIKITEXT.is_file():
        causal.assert_judged(found, "my-articles")
    if LAMBADA.is_file():
        causal.assert_judged(found, "my-passages")


def test_a_masked_model(masked):
    found = masked.check()
    assert found["exit_code"] == 1
    masked.assert_judged(found, "my-lines")


@pytest.mark.parametrize(
    "name", ["lines", "endings", *(pytest.param(n, marks=needs_shared) for n in ("articles", "passages"))]
)
def test_each_task_can_be_tried(causal, name, capsys, monkeypatch):
    causal.assert_can_be_tried(name, capsys, monkeypatch)
