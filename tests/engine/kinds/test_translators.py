"""Small models that have really learnt to translate, against a plain loop of transformers at batch size 1."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import built
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from helpers.writers import train, writer
from helpers.writing import SPECIAL, TRANSLATION, equal_but_for_near_ties, plain_loop, prepared
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from engine.driving import drive, task_of

DICTIONARY = {
    "a": "ein",
    "the": "der",
    "film": "film",
    "plot": "plan",
    "actor": "spieler",
    "scene": "bild",
    "joy": "freude",
    "bore": "weile",
    "wit": "witz",
    "dull": "fad",
    "sharp": "scharf",
    "slow": "lahm",
    "never": "nie",
}


def translated(folder: Path, pairs: list[tuple[str, str]], *, vocabulary: int, steps: int, **sizes: Any) -> None:
    """A model trained to translate, saved with its tokeniser."""
    words = tokenizer([text for pair in pairs for text in pair], vocab_size=vocabulary, max_length=64)
    sizes |= {f"{side}_ffn_dim": 4 * sizes["d_model"] for side in ("encoder", "decoder")}
    model = writer("marian", len(words), init_std=0.1, forced_eos_token_id=None, dropout=0.0, **sizes, **SPECIAL)
    ids = [tuple(words(text, truncation=True)["input_ids"] for text in pair) for pair in pairs]
    train(model, [(source, target[1:]) for source, target in ids], peak=4e-3, steps=steps)
    model.generation_config.update(max_length=48)
    save(folder, model, words)


def word_by_word(folder: Path) -> None:
    """A model that has learnt to translate word by word, sentences of up to twelve words."""
    chance, pairs, sizes = random.Random(0), [], {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1}
    for _ in range(4000):
        source = chance.choices(list(DICTIONARY), k=min(12, max(1, int(chance.lognormvariate(1.7, 0.7)))))
        pairs.append((" ".join(source), " ".join(DICTIONARY[word] for word in source)))
    translated(folder, pairs, vocabulary=200, steps=500, **sizes)


def captions(split: str) -> dict[str, list[str]]:
    return pq.read_table(SHARED / "data" / "multi30k" / "default" / f"{split}.parquet").to_pydict()


def of_captions(folder: Path) -> None:
    """A model that has learnt from real sentences."""
    train_rows = captions("train")
    pairs = list(zip(train_rows["de"], train_rows["en"], strict=True))
    translated(folder, pairs, vocabulary=3000, steps=340, d_model=128)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_trained_translator_is_that_of_a_plain_loop(beams):
    translator = built.shared(word_by_word)
    texts = [text for text in sentences(120, seed=99) if len(text.split()) <= 12]
    targets = [" ".join(DICTIONARY[word] for word in text.split()) for text in texts]
    task = task_of("translation", TRANSLATION, num_beams=beams)
    columns = drive(prepared(task, translator, {"source": texts, "target": targets}), len(texts), 24)
    model, words = AutoModelForSeq2SeqLM.from_pretrained(translator), AutoTokenizer.from_pretrained(translator)
    expected = []
    for text in texts:
        ids = words(text, return_tensors="pt", truncation=True)["input_ids"]
        expected += words.batch_decode(model.generate(ids, num_beams=beams), skip_special_tokens=True)
    equal_but_for_near_ties(columns, expected)
    assert len({len(text.split()) for text in columns["texts"]}) >= 6
    assert np.mean([text == target for text, target in zip(columns["texts"], targets, strict=True)]) > 0.5


@needs_shared
@pytest.mark.slow
def test_a_translator_of_real_sentences_is_that_of_a_plain_loop():
    translator, test = built.shared(of_captions), captions("test")
    data = {"source": test["de"][:200], "target": test["en"][:200]}
    made = prepared(task_of("translation", TRANSLATION), translator, data)
    columns = drive(made, 200, 64)
    expected = plain_loop(translator, data["source"], max_length=64)
    equal_but_for_near_ties(columns, expected)
    assert len({len(text) for text in columns["texts"]}) > 10
    assert columns["references"] == [[text] for text in data["target"]]
