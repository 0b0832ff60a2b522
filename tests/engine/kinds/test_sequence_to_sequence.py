"""Summaries and translations against a plain loop of transformers at batch size 1, with tokenisers of every sort."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sentencepiece
import torch
from helpers.builders import save, sentences, tokenizer
from helpers.writers import writer
from helpers.writing import SPECIAL, SUMMARIZATION, TRANSLATION, equal_but_for_near_ties, plain_loop, prepared
from transformers import (
    AutoModelForSeq2SeqLM,
    M2M100Tokenizer,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartTokenizer,
    NllbTokenizer,
    T5EncoderModel,
)

from engine.driving import drive, examples_of, job_for, task_of
from engine.job_making import events_of, job_on, predictions_of
from verify.engine.kinds.sequence_to_sequence import prepare
from verify.engine.stub import save_stub
from verify.errors import BlockedError, DataError, NotComparableError, UsageError
from verify.store.predictions import CLASSES, Family, TextPredictions
from verify.store.runs import PROBE, RunFolder

TEXTS = sentences(40, seed=3)
SUMMARIES = [" ".join(text.split()[:4]) for text in TEXTS]


def saved(folder: Any, kind: str, words: Any, **generation: Any) -> Any:
    """A model with random weights, and its tokeniser, whose texts end at different lengths."""
    special = SPECIAL if kind != "t5" else {**SPECIAL, "decoder_start_token_id": 0}
    model = writer(kind, len(words), **special)
    model.generation_config.update(sequence_bias=[[[3], 8.0]], max_length=24, **generation)
    save(folder, model, words)
    return model


@pytest.fixture
def words():
    return tokenizer(TEXTS, max_length=64)


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize(
    ("kind", "generation"),
    [
        ("t5", {}),
        ("bart", {"num_beams": 4, "min_length": 6, "no_repeat_ngram_size": 3, "forced_bos_token_id": 2}),
        ("led", {"length_penalty": 2.0, "num_beams": 2, "early_stopping": True}),
    ],
)
def test_summaries_are_those_of_a_plain_loop(tmp_path, words, kind, generation, batch_size):
    saved(tmp_path, kind, words, **generation)
    task = task_of("summarization", SUMMARIZATION)
    texts, summaries = (TEXTS[:12], SUMMARIES[:12]) if kind == "led" else (TEXTS, SUMMARIES)
    made = prepared(task, tmp_path, {"document": texts, "summary": summaries})
    assert made.family is Family.SUMMARIES
    assert made.lengths.tolist() == [min(64, len(words(text)["input_ids"])) for text in texts]
    columns = drive(made, len(texts), batch_size)
    assert set(columns) == set(CLASSES[made.family].COLUMNS) - {"example"}
    assert columns["references"] == [[text] for text in summaries]
    loop = led_loop(tmp_path, texts, words) if kind == "led" else plain_loop(tmp_path, texts, max_length=64)
    equal_but_for_near_ties(columns, loop)


def led_loop(folder: Any, texts: list[str], words: Any) -> list[str]:
    """LED, whose documentation puts global attention on the first token of what is summarised."""
    model, written = AutoModelForSeq2SeqLM.from_pretrained(folder), []
    for text in texts:
        ids = words(text, return_tensors="pt", truncation=True, max_length=64)["input_ids"]
        attention = torch.zeros_like(ids)
        attention[:, 0] = 1
        output = model.generate(ids, attention_mask=torch.ones_like(ids), global_attention_mask=attention)
        written += words.batch_decode(output, skip_special_tokens=True)
    return written


def test_settings_of_the_task_go_before_the_checkpoints(tmp_path, words):
    saved(tmp_path, "bart", words, num_beams=4)
    task = task_of("summarization", SUMMARIZATION, num_beams=1, max_new_tokens=5, min_new_tokens=5, prefix="film ")
    made = prepared(task, tmp_path, {"document": TEXTS, "summary": SUMMARIES})
    record = made.settings["generation"]
    assert (record["num_beams"], record["max_new_tokens"], record["min_new_tokens"]) == (1, 5, 5)
    assert made.settings["prefix"] == "film "
    tokens = made.forward(made.model, made.collate(range(40)))
    assert {len(ids) for ids, _ in tokens} == {6}, "the start and five tokens"
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    options = {"num_beams": 1, "max_new_tokens": 5, "min_new_tokens": 5}
    first = model.generate(words(f"film {TEXTS[0]}", return_tensors="pt")["input_ids"], **options)
    assert first[0].tolist() == tokens[0][0]


def test_the_checkpoints_prefix_and_what_only_pipelines_applied(tmp_path, words):
    model = saved(tmp_path, "t5", words)
    summary = {"prefix": "a film: ", "num_beams": 4, "max_length": 200}
    model.config.task_specific_params = {"summarization": summary, "translation_en_to_de": {"prefix": "to German: "}}
    save(tmp_path, model)
    made = prepared(task_of("summarization", SUMMARIZATION), tmp_path, {"document": TEXTS, "summary": SUMMARIES})
    assert made.settings["prefix"] == "a film: "
    assert made.settings["unused_task_specific_params"] == {"summarization": {"num_beams": 4, "max_length": 200}}
    assert "num_beams" not in made.settings["generation"] or made.settings["generation"]["num_beams"] == 1
    expected = plain_loop(tmp_path, [f"a film: {text}" for text in TEXTS], max_length=64)
    equal_but_for_near_ties(drive(made, 40, 8), expected)


def test_a_direction_is_told_by_the_task_or_by_its_columns(tmp_path, words):
    model = saved(tmp_path, "t5", words)
    model.config.task_specific_params = {
        f"translation_en_to_{code}": {"prefix": f"translate English to {name}: "}
        for code, name in (("de", "German"), ("fr", "French"))
    }
    save(tmp_path, model)
    data = {"source": TEXTS, "target": SUMMARIES}
    with pytest.raises(UsageError, match="translation_en_to_de, translation_en_to_fr"):
        prepared(task_of("translation", TRANSLATION), tmp_path, data)
    told = task_of("translation", TRANSLATION, source_language="en", target_language="fr")
    assert prepared(told, tmp_path, data).settings["prefix"] == "translate English to French: "
    pairs = {"translation": [{"en": text, "de": target} for text, target in zip(TEXTS, SUMMARIES, strict=True)]}
    dotted = task_of("translation", {"source": "translation.en", "target": "translation.de"})
    made = prepared(dotted, tmp_path, pairs)
    assert made.settings["prefix"] == "translate English to German: "
    assert drive(made, 40, 40)["references"] == [[text] for text in SUMMARIES]
    unknown = task_of("translation", TRANSLATION, source_language="en", target_language="ro")
    assert "states no prefix for translation_en_to_ro" in prepared(unknown, tmp_path, data).notes[0]


def test_long_inputs_are_cut_and_that_is_said(tmp_path, words):
    saved(tmp_path, "bart", words)
    task = task_of("summarization", SUMMARIZATION, max_input_tokens=12)
    data = {"document": TEXTS, "summary": SUMMARIES}
    made = prepared(task, tmp_path, data)
    longer = sum(len(words(text)["input_ids"]) > 12 for text in TEXTS)
    assert 0 < longer < 40
    assert made.notes == (f"{longer} of 40 inputs were longer than 12 tokens and were cut",)
    assert made.settings["truncated_texts"] == longer
    equal_but_for_near_ties(drive(made, 40, 16), plain_loop(tmp_path, TEXTS, max_length=12))
    assert prepared(task, tmp_path, data, max_length=20).lengths.max() == 20


def test_inputs_end_where_the_positions_do(tmp_path):
    unlimited = tokenizer(TEXTS, max_length=10**30)
    saved(tmp_path, "bart", unlimited)
    long = [" ".join(TEXTS)[:2000]]
    made = prepared(task_of("summarization", SUMMARIZATION), tmp_path, {"document": long, "summary": ["film"]})
    assert made.lengths.tolist() == [64]
    assert isinstance(drive(made, 1)["texts"][0], str)
    asked = task_of("summarization", SUMMARIZATION, max_input_tokens=65)
    with pytest.raises(UsageError, match="the model takes 64"):
        prepared(asked, tmp_path, {"document": long, "summary": ["film"]})
    asked = task_of("summarization", SUMMARIZATION, max_new_tokens=64)
    with pytest.raises(UsageError, match="decoder has 64 positions"):
        prepared(asked, tmp_path, {"document": long, "summary": ["film"]})


def test_a_length_that_nobody_states_is_said(tmp_path, words):
    model = writer("bart", len(words), **SPECIAL)
    save(tmp_path, model, words)
    made = prepared(task_of("summarization", SUMMARIZATION), tmp_path, {"document": TEXTS, "summary": SUMMARIES})
    assert any("at most 20 tokens" in note for note in made.notes)


def test_references_are_texts_or_lists_of_them(tmp_path, words):
    saved(tmp_path, "bart", words)
    task = task_of("translation", TRANSLATION)
    several = [[text, f"{text} too"] for text in SUMMARIES]
    made = prepared(task, tmp_path, {"source": TEXTS, "target": several})
    assert drive(made, 40, 20)["references"] == several
    for target, error, message in (
        ([*SUMMARIES[:-1], None], NotComparableError, "no reference in row 39"),
        ([[], *several[1:]], NotComparableError, "no reference in row 0"),
        ([7] * 40, DataError, "holds int in row 0"),
        ([{"de": "so"}] * 40, DataError, r"translation\.de"),
    ):
        with pytest.raises(error, match=message):
            prepared(task, tmp_path, {"source": TEXTS, "target": target})
    secret = examples_of(task, {"source": TEXTS, "target": SUMMARIES}, is_labelled=False)
    with pytest.raises(NotComparableError, match="kept secret"):
        prepare(job_for(task, tmp_path), secret, np.arange(40), "cpu")


def test_a_checkpoint_without_a_decoder_is_refused(tmp_path, words):
    save(tmp_path, T5EncoderModel(writer("t5", len(words)).config), words)
    with pytest.raises(BlockedError, match=r"decoder"):
        prepared(task_of("summarization", SUMMARIZATION), tmp_path, {"document": TEXTS, "summary": SUMMARIES})


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """A sentencepiece model of the texts: its file, and its pieces with their scores."""
    folder = tmp_path_factory.mktemp("pieces")
    (folder / "texts.txt").write_text("\n".join(TEXTS))
    options = {"vocab_size": 60, "hard_vocab_limit": False, "minloglevel": 2, "model_prefix": str(folder / "m")}
    sentencepiece.SentencePieceTrainer.train(input=str(folder / "texts.txt"), **options)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "m.model"))
    return folder / "m.model", [(processor.id_to_piece(i), processor.get_score(i)) for i in range(len(processor))]


def multilingual(name: str, pieces: Any, folder: Any) -> Any:
    file, scored = pieces
    names = ["<s>", "<pad>", "</s>", "<unk>", *(piece for piece, _ in scored[3:])]
    vocabulary = {piece: i for i, piece in enumerate(names)}
    if name == "m2m_100":
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        return M2M100Tokenizer(str(folder / "vocab.json"), str(file))
    if name == "nllb":
        return NllbTokenizer(vocab=vocabulary)
    return {"mbart": MBartTokenizer, "mbart50": MBart50Tokenizer}[name](vocab=scored)


@pytest.mark.parametrize(
    ("name", "source", "target", "option"),
    [
        ("mbart", "de_DE", "ro_RO", "decoder_start_token_id"),
        ("mbart50", "de_DE", "fr_XX", "forced_bos_token_id"),
        ("m2m_100", "de", "fr", "forced_bos_token_id"),
        ("nllb", "deu_Latn", "fra_Latn", "forced_bos_token_id"),
    ],
)
def test_multilingual_models_are_told_their_languages(tmp_path, pieces, name, source, target, option):
    words = multilingual(name, pieces, tmp_path)
    code = words.convert_tokens_to_ids(f"__{target}__" if name == "m2m_100" else target)
    model = writer("mbart" if name.startswith("mbart") else "m2m_100", len(words) + 120)
    model.generation_config.update(sequence_bias=[[[2], 8.0]], max_length=20, num_beams=2)
    save(tmp_path, model, words)
    data = {"source": TEXTS, "target": SUMMARIES}
    told = task_of("translation", TRANSLATION, source_language=source, target_language=target)
    made = prepared(told, tmp_path, data)
    assert made.settings["generation"][option] == code
    assert (made.settings["source_language"], made.settings["target_language"]) == (source, target)

    words.src_lang = source
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    expected = []
    for text in TEXTS:
        inputs = words(text, return_tensors="pt", truncation=True, max_length=64)
        expected += words.batch_decode(model.generate(**inputs, **{option: code}), skip_special_tokens=True)
    equal_but_for_near_ties(drive(made, 40, 16), expected)

    with pytest.raises(UsageError, match=rf"target_language: the model must be told it\. .*{target}"):
        prepared(replace(told, settings={"source_language": source}), tmp_path, data)
    with pytest.raises(UsageError, match="'xx' is no language of the model"):
        prepared(replace(told, settings={"source_language": source, "target_language": "xx"}), tmp_path, data)
    default = words.init_kwargs.get("src_lang") or {"m2m_100": "en", "nllb": "eng_Latn"}.get(name, "en_XX")
    with pytest.raises(UsageError, match="source_language: the model must be told it"):
        prepared(replace(told, settings={"target_language": default}), tmp_path, data)


def test_a_checkpoint_that_knows_its_languages_need_not_be_told(tmp_path, pieces):
    words = MBart50Tokenizer(vocab=pieces[1], src_lang="de_DE")
    model = writer("mbart", len(words))
    model.generation_config.update(max_length=12, forced_bos_token_id=words.convert_tokens_to_ids("fr_XX"))
    save(tmp_path, model, words)
    made = prepared(task_of("translation", TRANSLATION), tmp_path, {"source": TEXTS, "target": SUMMARIES})
    assert (made.settings["source_language"], made.settings["target_language"]) == ("de_DE", "fr_XX")
    equal_but_for_near_ties(drive(made, 40, 8), plain_loop(tmp_path, TEXTS, max_length=64))


def test_marian_is_told_its_target_by_a_word(tmp_path, pieces):
    file, scored = pieces
    names = ["</s>", "<unk>", *(piece for piece, _ in scored[3:]), ">>deu<<", "<pad>"]
    (tmp_path / "pieces.json").write_text(json.dumps({piece: i for i, piece in enumerate(names)}))
    words = MarianTokenizer(str(file), str(file), str(tmp_path / "pieces.json"), source_lang="en", target_lang="de")
    padding = words.pad_token_id
    model = writer("marian", len(names), pad_token_id=padding, decoder_start_token_id=padding, eos_token_id=0)
    model.generation_config.update(
        max_length=20, num_beams=3, bad_words_ids=[[padding]], sequence_bias=[[[0], 8.0]], forced_eos_token_id=0
    )
    save(tmp_path, model, words)
    data = {"source": TEXTS, "target": SUMMARIES}
    for target in ("deu", ">>deu<<"):
        made = prepared(task_of("translation", TRANSLATION, target_language=target), tmp_path, data)
        assert made.settings["prefix"] == ">>deu<< "
    expected = plain_loop(tmp_path, [f">>deu<< {text}" for text in TEXTS], max_length=64)
    equal_but_for_near_ties(drive(made, 40, 16), expected)
    with pytest.raises(UsageError, match=r"'>>fra<<' is no language of the model"):
        prepared(task_of("translation", TRANSLATION, target_language="fra"), tmp_path, data)


def test_the_stub_runs(tmp_path):
    task = task_of("translation", TRANSLATION)
    examples = examples_of(task, {"source": TEXTS, "target": SUMMARIES})
    save_stub("translation", examples, tmp_path)
    made = prepare(job_for(task, tmp_path), examples, np.arange(40), "cpu")
    columns = drive(made, 40, 40)
    assert len(columns["texts"]) == 40
    assert np.isfinite(columns["row_margins"]).all()


@pytest.mark.parametrize("batch_size", [None, 3])
def test_the_engine_runs_one_file_of_yaml(tmp_path, words, batch_size):
    saved(tmp_path / "model", "bart", words, num_beams=2)
    pairs = [{"de": text, "en": target} for text, target in zip(TEXTS, SUMMARIES, strict=True)]
    columns = {"source": "pair.de", "target": "pair.en"}
    job = job_on(tmp_path, "translation", {"pair": pairs}, columns, batch_size=batch_size, probe_share=0.25)
    events_of(job)
    stored = predictions_of(job)
    assert isinstance(stored, TextPredictions)
    assert list(stored.references) == [[text] for text in SUMMARIES]
    written = {"texts": list(stored.texts), "row_margins": stored.row_margins}
    equal_but_for_near_ties(written, plain_loop(tmp_path / "model", TEXTS, max_length=64))
    assert len(predictions_of(job, PROBE)) == 10
    assert RunFolder(tmp_path / "run").info()["preprocessing"]["generation"]["num_beams"] == 2


def test_memory_bounds_a_batch(tmp_path, words):
    data = {"document": TEXTS, "summary": SUMMARIES}
    saved(tmp_path / "small", "bart", words)
    assert prepared(task_of("summarization", SUMMARIZATION), tmp_path / "small", data).token_budget == 8192
    save(tmp_path / "large", writer("bart", 300_000, **SPECIAL), words)
    budgets = [
        prepared(task_of("summarization", SUMMARIZATION, num_beams=beams), tmp_path / "large", data).token_budget
        for beams in (1, 4)
    ]
    assert 8192 > budgets[0] == pytest.approx(4 * budgets[1], abs=4)
