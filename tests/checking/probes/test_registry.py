"""The registry of probes: everything in it can be asked of the engine, and says what it is."""

import string
from dataclasses import replace

import pytest

from verify.checking.probes.probe import Facts
from verify.checking.probes.registry import PROBES
from verify.configuration.schema import VerifyConfig
from verify.tasks.kinds import KINDS
from verify.tasks.registry import load_registry

TASKS = {task.kind: task for task in load_registry().values()}
RECORDS = {
    "sequence-classification": {"max_length": 512, "truncated_texts": 9, "truncation_side": "right"},
    "token-classification": {"max_length": 512, "words_beyond_max_length": 9, "subword": "first"},
    "question-answering": {"max_input_tokens": 384, "stride": 128},
    "summarization": {"max_input_tokens": 512, "truncated_texts": 9, "generation": {"num_beams": 4}},
    "translation": {"max_input_tokens": 512, "truncated_texts": 0, "generation": {"num_beams": 1}},
    "automatic-speech-recognition": {"generation": {"num_beams": 1}},
    "image-classification": {"interpolation": "BILINEAR"},
    "audio-classification": {"max_seconds": None},
    "sentence-similarity": {"max_length": 256, "truncated_texts": 9, "pooling": "mean", "steps": ["normalize"]},
    "perplexity": {"context": 1024, "stride": 1024},
}


def variants_of(kind, **facts):
    known = Facts(preprocessing=RECORDS[kind], splits={"other": 2.0}, flips=1, **facts)
    task = replace(TASKS[kind], settings={})
    return [
        (probe, variant)
        for probe in PROBES
        if probe.applies(kind)
        for variant in probe.variants(task, "test", VerifyConfig(), known)
    ]


def settings_tried(kind, name, **facts):
    return [one.task.settings[name] for _, one in variants_of(kind, **facts) if name in one.task.settings]


def test_kinds_and_records_of_the_test_are_complete():
    assert set(RECORDS) == set(TASKS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_tried_is_one_that_a_task_file_may_state(kind):
    found = variants_of(kind)
    assert len(found) >= 4
    for _, variant in found:
        assert variant.task.kind == kind
        for name, value in variant.task.settings.items():
            spec = KINDS[kind].settings[name]
            assert type(value) is spec.type
            assert not spec.allowed or value in spec.allowed
            assert not spec.is_scoring, "that needs no other run"
        assert variant.cost > 0


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_settings_are_the_same_and_each_differs_from_the_rerun(kind):
    found = [one for _, one in variants_of(kind)]
    asked = [repr((one.task, one.split, one.config, one.is_alone)) for one in found]
    assert len(set(asked)) == len(asked)
    assert len({one.setting for one in found}) == len(found)
    assert repr((replace(TASKS[kind], settings={}), "test", VerifyConfig(), False)) not in asked


def test_causes_complete_a_sentence_and_names_are_used_once():
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    for probe in PROBES:
        (field,) = [name for _, name, _, _ in string.Formatter().parse(probe.cause) if name]
        assert field == "setting"
        assert not probe.cause.endswith(".")
        assert 0 < probe.weight < 1
        assert not list(probe.hypothesis.replay(None)), "it is tried by running, not by replay"
        assert set(probe.kinds or KINDS) <= set(KINDS)


def test_what_the_rerun_used_is_not_tried_again():
    assert settings_tried("image-classification", "interpolation") == ["bicubic", "nearest"]
    assert settings_tried("token-classification", "subword") == ["last", "mean", "max"]
    assert settings_tried("sentence-similarity", "pooling") == ["cls", "max", "last"]
    assert settings_tried("sentence-similarity", "normalize") == ["no"]
    assert settings_tried("sequence-classification", "truncation_side") == ["left"]
    assert settings_tried("question-answering", "stride") == [64, 0]
    assert 4 not in settings_tried("summarization", "num_beams")
    assert 1024 not in settings_tried("perplexity", "context")


def test_limits_of_the_input_are_those_in_use_and_larger_ones_only_where_something_was_cut():
    cut, whole = (
        [one.cut_at for _, one in variants_of(kind) if one.cut_at]
        for kind in ("sequence-classification", "translation")
    )
    assert cut[:3] == [128, 256, 64]
    assert {16, 32, 384, 1024} <= set(cut)
    assert 512 not in cut
    assert max(whole) == 384
    assert all(
        one.config.override.max_length == one.cut_at for _, one in variants_of("translation") if one.cut_at is not None
    )


def test_lower_case_is_not_tried_where_the_tokeniser_does_it_anyhow():
    assert settings_tried("sequence-classification", "lowercase_input") == [True]
    assert settings_tried("sequence-classification", "lowercase_input", lowercases=True) == []


def test_the_checkpoints_own_number_format_is_tried_first_and_in_full_precision_of_the_settings():
    formats = [
        one.config.engine.dtype
        for probe, one in variants_of("translation", stated_dtype="bfloat16")
        if probe.name == "number format"
    ]
    assert formats == ["bfloat16", "float16"]
    assert all(one.config.engine.precision == "exact" for _, one in variants_of("translation", dtype="float16"))


def test_texts_before_the_input_begin_with_those_that_the_repository_names():
    assert settings_tried("summarization", "prefix", prefixes=("tl;dr ",)) == ["tl;dr ", "summarize: "]
    assert settings_tried("sentence-similarity", "prefix")[:2] == ["query: ", "passage: "]


def test_a_recogniser_that_does_not_write_has_no_beams():
    known = Facts(preprocessing={"decoding": "ctc, greedy"})
    task = TASKS["automatic-speech-recognition"]
    for probe in PROBES:
        if probe.name in ("number of beams", "length of the output"):
            assert not list(probe.variants(task, "test", VerifyConfig(), known))


def test_batches_of_one_are_run_only_where_batches_changed_something():
    names = [probe.name for probe, _ in variants_of("sequence-classification")]
    assert names.count("batches of one") == 1
    (probe,) = [probe for probe in PROBES if probe.name == "batches of one"]
    assert not list(probe.variants(TASKS["sequence-classification"], "test", VerifyConfig(), Facts(flips=0)))
