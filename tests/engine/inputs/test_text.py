"""What all kinds that read text share, against transformers' own padding."""

import numpy as np
import pytest
import torch
from helpers.builders import bert, save, sentences, tokenizer
from transformers import ByT5Tokenizer, RobertaConfig, RobertaForSequenceClassification

from engine.driving import examples_of, task_of
from verify.engine.inputs.text import Encoded, input_limit, load_tokenizer, longest_input, texts
from verify.errors import DataError, EngineError, UsageError

TEXTS = sentences(20)


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_are_padded_as_the_tokeniser_pads(side):
    words = tokenizer(TEXTS)
    words.model_input_names = ["input_ids", "token_type_ids", "attention_mask"]
    words.padding_side = side
    whole = words(TEXTS, TEXTS[::-1])
    encoded = Encoded.of(words, whole)
    assert encoded.lengths.tolist() == [len(ids) for ids in whole["input_ids"]]
    for units in ([3], [7, 0, 12], list(range(20))):
        expected = words.pad({name: [whole[name][i] for i in units] for name in whole}, return_tensors="pt")
        ours = encoded.padded(units, side)
        assert set(ours) == set(expected)
        for name, values in ours.items():
            assert torch.equal(values, expected[name])


def test_the_longest_input_is_the_tokenisers_but_never_more_than_there_are_positions(tmp_path):
    model, words = bert(tmp_path, TEXTS, ["no", "yes"], max_length=64)
    assert longest_input(words, model) == 64
    words.model_max_length = 20
    assert longest_input(words, model) == 20
    words.model_max_length = 512
    assert longest_input(words, model) == 64
    words.model_max_length = 10**30
    assert longest_input(words, model) == 64
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    shifted = RobertaForSequenceClassification(RobertaConfig(vocab_size=400, max_position_embeddings=66, **sizes))
    assert longest_input(words, shifted) == 64


def test_a_limit_must_fit_the_model_and_leave_something_of_the_text(tmp_path):
    model, words = bert(tmp_path, TEXTS, ["no", "yes"], max_length=64)
    assert input_limit(None, words, model) == 64
    assert input_limit(9, words, model) == 9
    with pytest.raises(UsageError, match="the model takes 64"):
        input_limit(65, words, model)
    with pytest.raises(UsageError, match="nothing of the text would be left"):
        input_limit(2, words, model)


def test_a_missing_tokeniser_and_a_column_of_something_else_are_told(tmp_path):
    model, _ = bert(tmp_path / "whole", TEXTS, ["no", "yes"])
    save(tmp_path / "bare", model)
    with pytest.raises(EngineError, match=r"holds no vocabulary .* must hold its tokeniser files"):
        load_tokenizer(str(tmp_path / "bare"))
    save(tmp_path / "bytes", ByT5Tokenizer(extra_ids=0))
    assert load_tokenizer(str(tmp_path / "bytes"))("ab")["input_ids"] == [100, 101, 1], "bytes need no vocabulary"
    (tmp_path / "whole" / "tokenizer.json").write_text("{")
    with pytest.raises(EngineError, match="could not be loaded"):
        load_tokenizer(str(tmp_path / "whole"))
    task = task_of("sequence-classification", {"text": "text", "label": "label"})
    examples = examples_of(task, {"text": ["a", None], "label": [0, 1]})
    assert texts(examples, "text", np.array([0])) == ["a"]
    with pytest.raises(DataError, match="'text' holds NoneType in row 1"):
        texts(examples, "text", np.array([0, 1]))
