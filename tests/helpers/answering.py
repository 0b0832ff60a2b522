"""Small models that point at answers, and a plain search over plain windows at batch size 1."""

import numpy as np
import pytest
import torch
from engine.driving import examples_of, job_for, state_in_tokenizer_config, task_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    PreTrainedTokenizerFast,
)

from helpers.builders import save, sentences, tokenizer
from verify.engine.kinds.question_answering import prepare
from verify.metrics.families.answers import normalised

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
