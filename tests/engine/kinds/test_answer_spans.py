"""The search for the best span, and answers to real questions, against a plain search."""

import random
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.answering import (
    COLUMNS,
    KIND,
    SIZES,
    bert,
    check,
    plain_answer,
)
from helpers.builders import SHARED, needs_shared, save, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
)

from engine.driving import drive, examples_of, job_for, task_of
from verify.engine.kinds.answer_spans import Windows, answer, best_spans
from verify.engine.kinds.question_answering import prepare
from verify.metrics.families.answers import metrics
from verify.store.predictions import AnswerPredictions

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
