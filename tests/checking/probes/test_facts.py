"""What is read off a rerun's record and a repository's files."""

import json

import numpy as np
import pytest
from helpers.claim_making import claim, measurement

from verify.checking.probes.facts import facts_of
from verify.judging.cases import Case
from verify.store.predictions import LabelPredictions
from verify.tasks.registry import load_registry


def case_of(task="sst2", rows=None, **provenance):
    predictions = LabelPredictions(np.arange(2), np.eye(2, dtype=np.float32), np.arange(2), (0, 1))
    found = measurement({"accuracy": 0.9}, n=872, flips=2, provenance=provenance)
    return Case(load_registry()[task], predictions, {}, found, (claim(),), frozenset(), rows or {})


def test_the_record_of_the_rerun(tmp_path):
    (tmp_path / "config.json").write_text('{"torch_dtype": "float16"}')
    recorded = {"max_length": 128, "truncated_texts": 3, "generation": {"num_beams": 4}}
    facts = facts_of(case_of(preprocessing=recorded, dtype="float32"), tmp_path)
    assert (facts.dtype, facts.stated_dtype, facts.flips, facts.input_limit) == ("float32", "float16", 2, 128)
    assert facts.used(load_registry()["cnn_dailymail"], "num_beams") == 4
    assert facts.used(load_registry()["cnn_dailymail"], "use_stemmer") is True, "else the default of the kind"


def test_the_other_splits_with_references_and_their_sizes(tmp_path):
    facts = facts_of(case_of(rows={"extra": 436}), tmp_path)
    assert facts.splits == {"train": 67349 / 872, "extra": 0.5}


@pytest.mark.parametrize(
    ("file", "content", "lowercases"),
    [
        ("tokenizer_config.json", {"do_lower_case": True}, True),
        ("tokenizer_config.json", {"do_lower_case": False}, False),
        ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "lowercase": True}}, True),
        ("tokenizer.json", {"normalizer": {"type": "BertNormalizer", "lowercase": False}}, False),
        ("tokenizer.json", {"normalizer": {"type": "Lowercase"}}, True),
        (
            "tokenizer.json",
            {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}},
            True,
        ),
        ("tokenizer.json", {"normalizer": None}, False),
        ("tokenizer.json", [1], False),
    ],
)
def test_whether_the_tokeniser_itself_lowercases(tmp_path, file, content, lowercases):
    (tmp_path / file).write_text(json.dumps(content))
    assert facts_of(case_of(), tmp_path).lowercases is lowercases


def test_texts_that_the_repository_puts_before_an_input(tmp_path):
    stated = {
        "summarization": {"prefix": "summarize: "},
        "translation_en_to_de": {"prefix": "translate English to German: "},
        "translation_en_to_fr": {"num_beams": 4},
    }
    (tmp_path / "config.json").write_text(json.dumps({"task_specific_params": stated}))
    prompts = {"query": "Find: ", "document": "", "again": "Find: "}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    assert facts_of(case_of("cnn_dailymail"), tmp_path).prefixes == ("summarize: ",)
    assert facts_of(case_of("wmt16_en_to_de"), tmp_path).prefixes == ("translate English to German: ",)
    assert facts_of(case_of("sick_r"), tmp_path).prefixes == ("Find: ",)
    assert facts_of(case_of("sst2"), tmp_path).prefixes == ()


@pytest.mark.parametrize("content", ["{", '{"task_specific_params": 3, "dtype": 4}', "[" * 100_000, "\0"])
def test_files_that_cannot_be_understood_tell_nothing(tmp_path, content):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "config_sentence_transformers.json"):
        (tmp_path / name).write_text(content)
    facts = facts_of(case_of("sick_r"), tmp_path)
    assert (facts.stated_dtype, facts.lowercases, facts.prefixes) == (None, False, ())
