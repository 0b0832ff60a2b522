"""How a text is put before a classifier, against a plain transformers loop over single texts."""

import numpy as np
import pytest
import torch
from helpers.builders import bert, save, sentences

from engine.driving import drive, examples_of, job_for, state_in_tokenizer_config, task_of
from verify.engine.kinds.sequence_classification import prepare
from verify.errors import UsageError
from verify.tasks.schema import parse_task

TEXTS, OTHERS = sentences(50), sentences(50, seed=1)
COLUMNS = {"text": "text", "label": "label"}
LIMIT = 16


def logits_of(folder, texts=TEXTS, others=None, **settings):
    columns = {**COLUMNS, "text_pair": "other"} if others else COLUMNS
    task = task_of("sequence-classification", columns, labels=("no", "yes"), **settings)
    data = {"text": texts, "label": [0, 1] * 25, **({"other": others} if others else {})}
    prepared = prepare(job_for(task, folder), examples_of(task, data), np.arange(50), "cpu")
    return drive(prepared, 50, 7)["logits"], prepared


def plain_loop(model, words, *texts, **options):
    with torch.inference_mode():
        return np.array(
            [
                model(**words(*row, truncation=True, return_tensors="pt", **options)).logits[0].numpy()
                for row in zip(*texts, strict=True)
            ]
        )


@pytest.fixture
def classifier(tmp_path):
    return bert(tmp_path, TEXTS, ["no", "yes"], max_length=LIMIT)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("own", ["left", "right"])
def test_a_long_text_is_cut_on_the_side_asked_for_whatever_the_tokeniser_says(tmp_path, classifier, side, own):
    model, words = classifier
    state_in_tokenizer_config(tmp_path, truncation_side=own)
    found, prepared = logits_of(tmp_path, truncation_side=side)
    assert prepared.settings["truncated_texts"] > 5
    assert prepared.settings["truncation_side"] == side
    words.truncation_side = side
    np.testing.assert_allclose(found, plain_loop(model, words, TEXTS), atol=1e-5)
    assert np.abs(found - logits_of(tmp_path, truncation_side={"left": "right", "right": "left"}[side])[0]).max() > 0.1
    np.testing.assert_array_equal(logits_of(tmp_path)[0], logits_of(tmp_path, truncation_side=own)[0])


def test_pairs_are_cut_on_that_side_too(tmp_path, classifier):
    model, words = classifier
    words.truncation_side = "left"
    found, _ = logits_of(tmp_path, others=OTHERS, truncation_side="left")
    np.testing.assert_allclose(found, plain_loop(model, words, TEXTS, OTHERS), atol=1e-5)


def test_the_input_is_put_in_lower_case_only_if_asked(tmp_path):
    shouted, others = [text.upper() for text in TEXTS], [text.title() for text in OTHERS]
    model, words = bert(tmp_path, TEXTS, ["no", "yes"])
    words.backend_tokenizer.normalizer = None
    save(tmp_path, words)
    found, _ = logits_of(tmp_path, shouted, others, lowercase_input=True)
    np.testing.assert_allclose(found, plain_loop(model, words, TEXTS, OTHERS), atol=1e-5)
    kept, _ = logits_of(tmp_path, shouted, others)
    np.testing.assert_allclose(kept, plain_loop(model, words, shouted, others), atol=1e-5)
    assert np.abs(found - kept).max() > 0.1


def test_a_task_file_may_say_both_and_nothing_else():
    text = (
        "kind: sequence-classification\ndataset: {{path: a/b, split: test}}\ncolumns: {{text: t, label: l}}\n"
        "settings: {{truncation_side: {}, lowercase_input: true}}\n"
    )
    assert parse_task(text.format("left"), name="t", file="t.yaml").settings == {
        "truncation_side": "left",
        "lowercase_input": True,
    }
    with pytest.raises(UsageError, match=r"t.yaml:4: settings.truncation_side.*left, right"):
        parse_task(text.format("middle"), name="t", file="t.yaml")
