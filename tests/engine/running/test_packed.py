"""Packed weights change nothing but the last bits, and leave the model as it was."""

import copy

import pytest
import torch
from helpers.builders import bert, sentences

from verify.engine.running.packed import computes_bfloat16, packed

TEXTS = sentences(40)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bert(tmp_path_factory.mktemp("model"), TEXTS, ["no", "yes", "maybe"], hidden=64)


def logits(model, words):
    with torch.inference_mode():
        return model(**words(TEXTS, padding=True, return_tensors="pt")).logits


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_outputs_are_those_of_the_plain_layers(made, dtype, tolerance):
    model, words = copy.deepcopy(made[0]).to(dtype), made[1]
    plain = logits(model, words)
    large = 12 + 1  # six linear layers in each of two blocks, and the pooler; the head is too small
    with packed(model) as layers:
        assert layers == (large if dtype is torch.float32 or computes_bfloat16() else 0)
        inside = logits(model, words)
    torch.testing.assert_close(inside, plain, atol=tolerance, rtol=tolerance)
    assert torch.equal(logits(model, words), plain)


def test_a_processor_without_bfloat16_runs_the_plain_layers(made, monkeypatch):
    model, words = copy.deepcopy(made[0]).to(torch.bfloat16), made[1]
    plain = logits(model, words)
    monkeypatch.setattr("verify.engine.running.packed.computes_bfloat16", lambda: False)
    with packed(model) as layers:
        assert layers == 0
        assert torch.equal(logits(model, words), plain)
    with packed(made[0]) as layers:
        assert layers > 0


def test_the_model_is_whole_again_after_an_error(made):
    model = made[0]
    with pytest.raises(ValueError, match="inside"), packed(model):
        raise ValueError("inside")
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_layer_without_bias_and_an_empty_input():
    layer = torch.nn.Linear(64, 128, bias=False)
    with torch.inference_mode(), packed(torch.nn.Sequential(layer)) as layers:
        assert layers == 1
        inputs = torch.randn(3, 5, 64)
        torch.testing.assert_close(layer(inputs), inputs @ layer.weight.T, atol=1e-5, rtol=1e-5)
        assert layer(torch.empty(0, 64)).shape == (0, 128)


def test_nothing_is_packed_where_memory_is_short(made, monkeypatch):
    monkeypatch.setattr("verify.engine.running.packed._free_memory", lambda: 1000)
    with packed(made[0]) as layers:
        assert layers == 0
