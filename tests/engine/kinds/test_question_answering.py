"""Extractive question answering against plain windows at batch size 1 and a plain search for the best span."""

import numpy as np
import pytest
import torch
from helpers.answering import (
    ANSWERS,
    COLUMNS,
    CONTEXTS,
    DATA,
    INPUTS,
    KIND,
    QUESTIONS,
    SIZES,
    bert,
    byte_level,
    check,
    prepared_of,
)
from helpers.builders import save
from tokenizers import processors
from transformers import (
    ByT5Tokenizer,
    RobertaConfig,
    RobertaForQuestionAnswering,
    T5Config,
    T5ForQuestionAnswering,
)

from engine.driving import drive, examples_of, state_in_tokenizer_config, task_of
from verify.engine.stub import save_stub
from verify.errors import DataError, EngineError, NotComparableError, UsageError
from verify.metrics.families.answers import normalised


@pytest.fixture
def pointer(tmp_path):
    return bert(tmp_path, CONTEXTS + QUESTIONS)


def test_answers_are_those_of_a_plain_search_over_plain_windows_whatever_the_batch(tmp_path, pointer):
    prepared = prepared_of(tmp_path)
    assert len(prepared.owner) > 2 * 24, "several windows a context"
    assert prepared.settings["windows"] == len(prepared.owner)
    assert prepared.lengths.max() == 48
    for batch_size in (1, 7, 32):
        columns = drive(prepared, 24, batch_size)
        check(columns, *pointer, DATA)
        assert columns["references"] == [[text] for text in ANSWERS]
        assert (columns["null_scores"] == -np.inf).all()
    assert len(set(columns["texts"])) > 12
    assert prepared.notes == ()


def test_windows_are_those_of_the_tokeniser(tmp_path, pointer):
    words = pointer[1]
    for stride in (0, 12, 20):
        prepared = prepared_of(tmp_path, stride=stride)
        encoding = words(
            QUESTIONS, CONTEXTS, truncation="only_second", max_length=48, stride=stride, return_overflowing_tokens=True
        )
        assert prepared.owner.tolist() == encoding["overflow_to_sample_mapping"]
        ours = [prepared.collate([unit])["input_ids"][0].tolist() for unit in range(len(prepared.owner))]
        assert ours == encoding["input_ids"]
        kinds = [prepared.collate([unit])["token_type_ids"][0].tolist() for unit in range(len(prepared.owner))]
        assert kinds == encoding["token_type_ids"]


@pytest.mark.parametrize("threshold", [-3.0, 0.0, 2.5])
def test_no_answer_is_said_where_its_score_exceeds_the_best_spans_by_more_than_the_threshold(
    tmp_path, pointer, threshold
):
    data = {
        **DATA,
        "answers": [{"text": [text][: i % 2], "answer_start": [0][: i % 2]} for i, text in enumerate(ANSWERS)],
    }
    prepared = prepared_of(tmp_path, data, no_answer_threshold=threshold)
    columns = drive(prepared, 24, 7)
    check(columns, *pointer, data, threshold=threshold)
    assert columns["references"] == [[text][: i % 2] for i, text in enumerate(ANSWERS)]
    said = np.array([text == "" for text in columns["texts"]])
    assert (said == (columns["null_scores"] > threshold)).all()
    assert prepared.settings["no_answer"] is True


def test_whether_no_answer_counts_is_read_off_the_references_or_told(tmp_path, pointer):
    some = {**DATA, "answers": [*([text] for text in ANSWERS[:-1]), []]}
    assert prepared_of(tmp_path, some, rows=[0, 1]).settings["no_answer"] is True, "of all the split"
    assert prepared_of(tmp_path, some, no_answer="no").settings["no_answer"] is False
    assert prepared_of(tmp_path, no_answer="yes").settings["no_answer"] is True
    none = {**DATA, "answers": [""] * 24}
    assert prepared_of(tmp_path, none, no_answer="yes").settings["no_answer"] is True
    with pytest.raises(NotComparableError, match="carries no answers"):
        prepared_of(tmp_path, none)


@pytest.mark.parametrize(
    "given",
    [
        list(ANSWERS),
        [[text] for text in ANSWERS],
        [{"text": [text], "answer_start": [3]} for text in ANSWERS],
        [[{"text": text, "answer_start": 3}] for text in ANSWERS],
    ],
    ids=["text", "list", "squad", "list of structs"],
)
def test_answers_may_come_in_any_of_the_usual_forms(tmp_path, pointer, given):
    columns = drive(prepared_of(tmp_path, {**DATA, "answers": given}), 24, 32)
    assert columns["references"] == [[text] for text in ANSWERS]


def test_the_rows_asked_for_are_the_rows_run_in_any_order_of_positions(tmp_path, pointer):
    chosen = [20, 3, 11]
    prepared = prepared_of(tmp_path, rows=chosen)
    columns = drive(prepared, 3, 2)
    some = {name: [values[i] for i in chosen] for name, values in DATA.items()}
    check(columns, *pointer, some)
    with torch.inference_mode():
        outputs = [
            prepared.forward(prepared.model, prepared.collate(np.flatnonzero(prepared.owner == i))) for i in range(3)
        ]
    turned = prepared.rows(np.array([2, 0]), [outputs[2], outputs[0]])
    assert turned["texts"] == [columns["texts"][2], columns["texts"][0]]
    assert turned["references"] == [columns["references"][2], columns["references"][0]]
    assert turned["n_best"] == [columns["n_best"][2], columns["n_best"][0]]


def test_a_byte_level_tokeniser(tmp_path):
    torch.manual_seed(0)
    words = byte_level(CONTEXTS + QUESTIONS)
    config = RobertaConfig(vocab_size=len(words), max_position_embeddings=130, pad_token_id=1, num_labels=2, **SIZES)
    model = RobertaForQuestionAnswering(config).eval()
    save(tmp_path, model, words)
    for batch_size in (1, 7):
        columns = drive(prepared_of(tmp_path, max_input_tokens=96), 24, batch_size)
        check(columns, model, words, DATA, limit=96)


def test_a_tokeniser_that_pads_on_the_left_has_the_context_first(tmp_path, pointer):
    model, words = pointer
    words.padding_side = "left"
    state_in_tokenizer_config(tmp_path, padding_side="left")
    for batch_size in (1, 7, 32):
        prepared = prepared_of(tmp_path)
        check(drive(prepared, 24, batch_size), model, words, DATA)
    assert prepared.settings["question_first"] is False


def test_white_space_before_a_question_is_dropped(tmp_path, pointer):
    padded = {**DATA, "question": [" \n  " + question for question in QUESTIONS]}
    assert drive(prepared_of(tmp_path, padded), 24)["texts"] == drive(prepared_of(tmp_path), 24)["texts"]


def test_the_window_is_the_jobs_else_the_tasks_but_never_more_than_the_model_takes(tmp_path, pointer):
    assert prepared_of(tmp_path).lengths.max() == 48
    assert prepared_of(tmp_path, job={"max_length": 64}).lengths.max() == 64
    prepared = prepared_of(tmp_path, max_input_tokens=384)
    assert prepared.settings["max_input_tokens"] == 128
    assert prepared.lengths.max() == 128


def test_long_questions_and_wide_strides_still_get_windows_and_that_is_said(tmp_path, pointer):
    long = {
        "question": ["what is " + "the film " * 60, "what?", "a plot " * 9],
        "context": [CONTEXTS[0], CONTEXTS[1], CONTEXTS[2]],
        "answers": ["joy", "wit", "bore"],
    }
    prepared = prepared_of(tmp_path, long, stride=28)
    assert prepared.lengths.max() == 48
    assert prepared.notes == (
        "1 of 3 questions left no room for the context and were cut",
        "in 2 of 3 examples the question left too little room for windows that share 28 tokens, so they share fewer",
    )
    columns = drive(prepared, 3, 4)
    assert all(text in context for text, context in zip(columns["texts"], long["context"], strict=True))
    seen = {unit: prepared.collate([unit])["input_ids"][0].tolist() for unit in range(len(prepared.owner))}
    for example, context in enumerate(long["context"]):
        ids = pointer[1](context, add_special_tokens=False)["input_ids"]
        shown = [token for unit in np.flatnonzero(prepared.owner == example) for token in seen[unit]]
        assert set(ids) <= set(shown), "every part of the context is in some window"


def test_an_empty_context_gets_no_answer(tmp_path, pointer):
    data = {"question": ["what is joy?", "a"], "context": ["", "the film"], "answers": [[], ["film"]]}
    columns = drive(prepared_of(tmp_path, data), 2)
    assert columns["texts"][0] == ""
    assert columns["n_best"][0] == []
    assert np.isfinite(columns["null_scores"]).all()


def test_margins_say_how_much_it_takes_for_another_answer(tmp_path, pointer):
    prepared = prepared_of(tmp_path, no_answer="yes", no_answer_threshold=-0.5)
    columns = drive(prepared, 24, 32)
    for i in range(24):
        texts, scores = columns["n_best"][i], columns["n_best_scores"][i]
        best = next(j for j, text in enumerate(texts) if text)
        null = abs(columns["null_scores"][i] + 0.5)
        others = [
            scores[best] - score
            for text, score in zip(texts, scores, strict=True)
            if normalised(text) != normalised(texts[best])
        ]
        expected = null if columns["texts"][i] == "" else min([null, *others])
        assert columns["row_margins"][i] == pytest.approx(expected, abs=1e-5)
    assert (columns["row_margins"] > 0).all()


@pytest.mark.parametrize(
    ("column", "value", "error", "words"),
    [
        ("question", None, DataError, "'question' holds NoneType in row 0"),
        ("context", None, DataError, "'context' holds NoneType in row 0"),
        ("answers", None, NotComparableError, "no value in row 0"),
        ("answers", 3, DataError, "holds int in row 0, where answers are expected"),
        ("answers", {"start": 3}, DataError, "holds dict in row 0, where answers are expected"),
        ("answers", [1, 2], DataError, "holds list in row 0, where answers are expected"),
    ],
)
def test_bad_data_are_told_by_row(tmp_path, pointer, column, value, error, words):
    data = {"question": ["what?"], "context": ["the film"], "answers": [["film"]], column: [value]}
    with pytest.raises(error, match=words):
        prepared_of(tmp_path, data)


def test_hopeless_settings_and_models_are_refused(tmp_path, pointer):
    with pytest.raises(UsageError, match="Windows of 4 tokens"):
        prepared_of(tmp_path, max_input_tokens=4)
    with pytest.raises(UsageError, match="n_best must be at least 1"):
        prepared_of(tmp_path, n_best=0)
    bare = byte_level(CONTEXTS)
    bare.backend_tokenizer.post_processor = processors.ByteLevel()
    bare.save_pretrained(tmp_path)
    with pytest.raises(DataError, match="both empty"):
        prepared_of(tmp_path, {"question": [""], "context": [""], "answers": [["a"]]})
    secret = examples_of(task_of(KIND, COLUMNS), DATA, is_labelled=False)
    with pytest.raises(NotComparableError, match="kept secret"):
        prepared_of(tmp_path, examples=secret)
    config = T5Config(vocab_size=384, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0)
    save(tmp_path / "slow", T5ForQuestionAnswering(config), ByT5Tokenizer(extra_ids=0))
    with pytest.raises(EngineError, match="needs a fast tokeniser"):
        prepared_of(tmp_path / "slow")


def test_a_stub_fits_any_data(tmp_path):
    examples = examples_of(task_of(KIND, COLUMNS), DATA)
    save_stub(KIND, examples, tmp_path)
    columns = drive(prepared_of(tmp_path, examples=examples, max_input_tokens=384, stride=128), 24, 16)
    assert len(columns["texts"]) == 24


def test_question_and_context_are_put_in_lower_case_only_if_asked(tmp_path, pointer):
    model, words = pointer
    words.backend_tokenizer.normalizer = None
    save(tmp_path, words)
    state_in_tokenizer_config(tmp_path, model_input_names=INPUTS)
    shouted = {**DATA, "question": [text.upper() for text in QUESTIONS], "context": [text.title() for text in CONTEXTS]}
    columns = drive(prepared_of(tmp_path, shouted, lowercase_input=True), 24, 7)
    check(columns, model, words, {"question": QUESTIONS, "context": CONTEXTS})
    as_given = drive(prepared_of(tmp_path, shouted), 24, 7)
    check(as_given, model, words, shouted)
    assert [normalised(text) for text in columns["texts"]] != [normalised(text) for text in as_given["texts"]]
