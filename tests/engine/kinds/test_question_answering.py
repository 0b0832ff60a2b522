"""Extractive question answering against plain windows at batch size 1 and a plain search for the best span."""

import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.builders import SHARED, needs_shared, save, sentences, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    T5Config,
    T5ForQuestionAnswering,
)

from engine.driving import drive, examples_of, job_for, state_in_tokenizer_config, task_of
from verify.engine.kinds.answer_spans import Windows, answer, best_spans
from verify.engine.kinds.question_answering import prepare
from verify.engine.stub import save_stub
from verify.errors import DataError, EngineError, NotComparableError, UsageError
from verify.metrics.families.answers import metrics, normalised
from verify.store.predictions import AnswerPredictions

KIND = "question-answering"
COLUMNS = {"question": "question", "context": "context", "answers": "answers"}
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}
CONTEXTS = [" ".join(sentences(6, seed=i)) + "." for i in range(24)]
QUESTIONS = ["what is " + " ".join(sentences(1, seed=100 + i)[0].split()[:8]) + "?" for i in range(24)]
ANSWERS = [context.split()[i % 5] for i, context in enumerate(CONTEXTS)]
DATA = {"question": QUESTIONS, "context": CONTEXTS, "answers": [[text] for text in ANSWERS]}
NEAR = 4e-5  # what the order of additions in float32 may change here
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
SHORT = {"max_input_tokens": 48, "stride": 12, "max_answer_tokens": 6, "n_best": 8}


def bert(folder, texts, max_length=128):
    torch.manual_seed(0)
    words = tokenizer(texts, max_length=max_length)
    words.model_input_names = INPUTS
    model = BertForQuestionAnswering(
        BertConfig(vocab_size=len(words), max_position_embeddings=max_length, num_labels=2, **SIZES)
    ).eval()
    save(folder, model, words)
    state_in_tokenizer_config(folder, model_input_names=INPUTS)
    return model, words


def byte_level(texts):
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=340,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = {"pad_token": "<pad>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=core, model_max_length=128, **names)


def plain_windows(model, words, question, context, limit, stride):
    """Each window's start logits, end logits and offsets (None outside the context), one window at a time."""
    is_first = words.padding_side == "right"
    encoding = words(
        *((question, context) if is_first else (context, question)),
        truncation="only_second" if is_first else "only_first",
        max_length=limit,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    for i, ids in enumerate(encoding["input_ids"]):
        inputs = {"input_ids": torch.tensor([ids])}
        if "token_type_ids" in encoding:
            inputs["token_type_ids"] = torch.tensor([encoding["token_type_ids"][i]])
        with torch.inference_mode():
            output = model(**inputs)
        inside = [sequence == int(is_first) for sequence in encoding.sequence_ids(i)]
        offsets = [pair if own else None for pair, own in zip(encoding["offset_mapping"][i], inside, strict=True)]
        yield output.start_logits[0].tolist(), output.end_logits[0].tolist(), offsets


def plain_answer(windows, context, *, n_best, max_answer_tokens, threshold=None):
    """Every pair of a start and an end, in plain Python. Returns the answer, the candidates and the null score."""
    found, null = [], float("inf")
    for starts, ends, offsets in windows:
        null = min(null, starts[0] + ends[0])
        best_starts = sorted(range(len(starts)), key=lambda i: -starts[i])[:n_best]
        best_ends = sorted(range(len(ends)), key=lambda i: -ends[i])[:n_best]
        for i in best_starts:
            for j in best_ends:
                if offsets[i] is not None and offsets[j] is not None and i <= j < i + max_answer_tokens:
                    found.append((starts[i] + ends[j], context[offsets[i][0] : offsets[j][1]]))
    found.sort(key=lambda one: -one[0])
    found = found[:n_best]
    if threshold is None:
        return (found[0][1] if found else ""), found, null
    score, text = next(one for one in found if one[1])
    return ("" if null - score > threshold else text), found, null


def prepared_of(folder, data=DATA, *, rows=None, job=None, examples=None, **chosen):
    task = task_of(KIND, COLUMNS, **{**SHORT, **chosen})
    examples = examples or examples_of(task, data)
    rows = np.arange(len(examples)) if rows is None else np.array(rows)
    return prepare(job_for(task, folder, **(job or {})), examples, rows, "cpu")


def check(columns, model, words, data, *, limit=48, stride=12, threshold=None, n_best=8, max_answer_tokens=6):
    for i, (question, context) in enumerate(zip(data["question"], data["context"], strict=True)):
        windows = plain_windows(model, words, question.lstrip(), context, limit, stride)
        options = {"n_best": n_best, "max_answer_tokens": max_answer_tokens, "threshold": threshold}
        _, found, null = plain_answer(windows, context, **options)
        if not found:
            assert (columns["texts"][i], columns["n_best"][i]) == ("", [])
            continue
        best = next(score for score, text in found if text)
        allowed = {normalised(text) for score, text in found if text and score > best - NEAR}
        if threshold is not None:
            assert columns["null_scores"][i] == pytest.approx(null - best, abs=NEAR)
            allowed = allowed if null - best <= threshold + NEAR else set()
            allowed |= {""} if null - best > threshold - NEAR else set()
        assert normalised(columns["texts"][i]) in allowed
        np.testing.assert_allclose(columns["n_best_scores"][i], [score for score, _ in found], atol=NEAR)


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


LOGITS = st.floats(-9, 9, width=32)


@st.composite
def windows_of_examples(draw):
    """Up to four examples, each with up to three windows of up to nine tokens, of which some are context."""
    owner, place, count, logits = [], [], [], []
    for example in range(draw(st.integers(1, 4))):
        for _ in range(draw(st.integers(1, 3))):
            before, shown, after = draw(st.integers(1, 3)), draw(st.integers(0, 5)), draw(st.integers(0, 1))
            owner.append(example)
            place.append(before)
            count.append(shown)
            length = before + shown + after
            logits.append(
                np.array(draw(st.lists(st.lists(LOGITS, min_size=length, max_size=length), min_size=2, max_size=2)))
            )
    first = np.cumsum([0, *count[:-1]])
    offsets = np.stack([np.arange(sum(count)) * 2, np.arange(sum(count)) * 2 + 1], axis=1)
    arrays = [np.array(values, dtype=np.int64) for values in (owner, place, count, first, [0] * len(owner))]
    return Windows(*arrays, offsets.astype(np.int64)), [one.astype(np.float32) for one in logits]


@settings(max_examples=150, deadline=None)
@given(windows_of_examples(), st.integers(1, 5), st.integers(1, 4), st.one_of(st.none(), st.floats(-4, 4)))
def test_the_search_agrees_with_a_plain_one(case, n_best, max_answer_tokens, threshold):
    windows, logits = case
    context = "abcdefghijklmnopqrstuvwxyz" * 5
    found = list(best_spans(windows, logits, n_best, max_answer_tokens))
    assert len(found) == windows.owner[-1] + 1
    for example, spans in enumerate(found):
        plain = []
        for unit in np.flatnonzero(windows.owner == example):
            starts, ends = logits[unit].astype(float).tolist()
            tokens = [i - windows.place[unit] for i in range(len(starts))]
            plain.append(
                (
                    starts,
                    ends,
                    [
                        tuple(windows.offsets[windows.first[unit] + token])
                        if 0 <= token < windows.count[unit]
                        else None
                        for token in tokens
                    ],
                )
            )
        options = {"n_best": n_best, "max_answer_tokens": max_answer_tokens}
        text, candidates, null = plain_answer(plain, context, **options)
        assert spans.scores.tolist() == pytest.approx([score for score, _ in candidates], abs=1e-9)
        assert spans.null_score == pytest.approx(null, abs=1e-9)
        ours = answer(context, spans, n_best, threshold)
        distinct = len({score for score, _ in candidates}) == len(candidates)
        if threshold is None and distinct and candidates:
            assert ours.text == text
        if threshold is not None and candidates and distinct:
            assert ours.text == plain_answer(plain, context, **options, threshold=threshold)[0]
        assert ours.margin >= 0


def test_ten_thousand_windows_take_seconds():
    chance, many = np.random.default_rng(0), 10_000
    logits = [chance.normal(0, 4, (2, 384)).astype(np.float32) for _ in range(many)]
    full = np.full(many, 360)
    offsets = np.stack([np.arange(many * 360) % 360 * 3, np.arange(many * 360) % 360 * 3 + 2], axis=1)
    owner = np.arange(many)
    windows = Windows(owner, np.full(many, 20), full, owner * 360, np.zeros(many, dtype=np.int64), offsets)
    context = "ab " * 400
    began = time.process_time()
    answers = [answer(context, spans, 20, 0.0) for spans in best_spans(windows, logits, 20, 30)]
    assert len(answers) == many
    assert time.process_time() - began < 20, "a plain search in Python takes minutes"


@needs_shared
@pytest.mark.parametrize("language", ["en", "de"])
def test_real_questions_over_several_windows_score_as_the_plain_search_does(tmp_path, language):
    import datasets

    file = SHARED / "data" / "xquad" / f"xquad.{language}" / "validation.parquet"
    table = datasets.Dataset.from_parquet(str(file)).shuffle(seed=0).select(range(60))
    model, words = bert(tmp_path, [*table["context"], *table["question"]], max_length=160)
    task = task_of(KIND, COLUMNS, max_input_tokens=160, stride=64)
    prepared = prepare(job_for(task, tmp_path), examples_of(task, table), np.arange(60), "cpu")
    assert len(prepared.owner) > 90
    columns = drive(prepared, 60, 16)
    options = {"limit": 160, "stride": 64, "n_best": 20, "max_answer_tokens": 30}
    check(columns, model, words, table[:], **options)
    assert columns["references"] == [answers["text"] for answers in table["answers"]]
    scores = metrics(AnswerPredictions(np.arange(60), **columns))
    assert 0 <= scores["f1"].score("f1").value < 0.5


@needs_shared
def test_a_model_trained_on_real_questions_finds_their_answers(tmp_path):
    """Trained and tested on the same few questions, so that right answers occur: the whole path, offsets included."""
    import datasets

    file = SHARED / "data" / "xquad" / "xquad.en" / "validation.parquet"
    table = datasets.Dataset.from_parquet(str(file)).filter(lambda row: len(row["context"]) < 500).select(range(40))
    torch.manual_seed(0)
    words = tokenizer([*table["context"], *table["question"]], vocab_size=2000, max_length=192)
    sizes = {**SIZES, "hidden_size": 64, "num_hidden_layers": 1, "initializer_range": 0.05}
    model = BertForQuestionAnswering(BertConfig(vocab_size=len(words), max_position_embeddings=192, **sizes))
    inputs = words(list(table["question"]), list(table["context"]), padding=True, return_tensors="pt")
    spans = [
        (answers["answer_start"][0], answers["answer_start"][0] + len(answers["text"][0]) - 1)
        for answers in table["answers"]
    ]
    targets = torch.tensor([[inputs.char_to_token(i, at, 1) for at in span] for i, span in enumerate(spans)])
    optimizer, chance = torch.optim.AdamW(model.parameters(), lr=5e-3), random.Random(0)
    for _ in range(60):
        batch = chance.sample(range(40), 20)
        part = {name: values[batch] for name, values in inputs.items()}
        model(**part, start_positions=targets[batch, 0], end_positions=targets[batch, 1]).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    save(tmp_path, model.eval(), words)
    task = task_of(KIND, COLUMNS, max_input_tokens=96, stride=32)
    prepared = prepare(job_for(task, tmp_path), examples_of(task, table), np.arange(40), "cpu")
    columns = drive(prepared, 40, 8)
    check(columns, model, words, table[:], limit=96, stride=32, n_best=20, max_answer_tokens=30)
    scores = metrics(AnswerPredictions(np.arange(40), **columns))
    assert scores["f1"].score("f1").value > 0.3
    whole = prepare(job_for(replace(task, settings={}), tmp_path), examples_of(task, table), np.arange(40), "cpu")
    assert metrics(AnswerPredictions(np.arange(40), **drive(whole, 40, 8)))["exact_match"].score("em").value > 0.6


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
