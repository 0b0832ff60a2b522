import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, T5Config, T5ForConditionalGeneration

from verify.sweeping.plan.cost import (
    TYPICAL_TOKENS,
    Rate,
    Size,
    calibrated,
    cell_seconds,
    cpu_rate,
    gpu_rate,
    memory_of,
    operations,
    size_of,
)
from verify.tasks.kinds import KINDS

BERT = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 1000}
RATE = Rate(1e9, "")
SIZES = st.builds(
    Size,
    parameters=st.integers(10**6, 10**11),
    active=st.integers(10**5, 10**6),
    hidden=st.integers(16, 10**4),
    inner=st.integers(16, 10**5),
    heads=st.integers(1, 128),
    vocabulary=st.integers(0, 10**6),
)


def test_every_kind_has_its_typical_tokens():
    assert TYPICAL_TOKENS.keys() == KINDS.keys()


def test_embedding_tables_do_not_compute():
    model = BertForSequenceClassification(BertConfig(**BERT, num_hidden_layers=2))
    size = size_of(model.config.to_dict(), model.num_parameters())
    table = model.bert.embeddings.word_embeddings.weight.numel()
    assert (size.hidden, size.inner, size.heads, size.vocabulary) == (64, 128, 4, 1000)
    assert size.active == model.num_parameters() - table


def test_other_families_name_their_widths_otherwise():
    model = T5ForConditionalGeneration(T5Config(d_model=32, d_ff=48, num_heads=2, num_layers=1, vocab_size=200))
    size = size_of(model.config.to_dict(), model.num_parameters())
    assert (size.hidden, size.inner, size.heads, size.vocabulary) == (32, 48, 2, 200)


@pytest.mark.parametrize("config", [{}, {"hidden_size": "wide", "vocab_size": -1}, {"hidden_size": None, "encoder": 3}])
def test_what_a_configuration_does_not_state_is_assumed(config):
    size = size_of(config, 1000)
    assert (size.parameters, size.active, size.hidden) == (1000, 1000, 768)


def test_operations_are_two_for_each_parameter_and_token():
    size = Size(parameters=10**8, active=8 * 10**7, vocabulary=30_000)
    assert operations(size, "sequence-classification") == 2 * 8e7 * TYPICAL_TOKENS["sequence-classification"]
    assert operations(size, "perplexity") == 2 * (8e7 + 30_000 * 768) * TYPICAL_TOKENS["perplexity"]
    assert operations(size, "translation") > 2 * 8e7 * TYPICAL_TOKENS["translation"]


def test_operations_agree_with_those_that_torch_counts():
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = BertForSequenceClassification(BertConfig(**{**BERT, "hidden_size": 256}, num_hidden_layers=4)).eval()
    size = size_of(model.config.to_dict(), model.num_parameters())
    tokens = TYPICAL_TOKENS["sequence-classification"]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.ones(1, tokens, dtype=torch.long))
    assert operations(size, "sequence-classification") == pytest.approx(counter.get_total_flops(), rel=0.3)


@given(SIZES, st.sampled_from(sorted(KINDS)), st.integers(0, 10**6), st.integers(1, 10**6))
def test_more_rows_and_slower_devices_take_longer(size, kind, rows, more):
    assert cell_seconds(size, kind, rows + more, RATE, 0.1) > cell_seconds(size, kind, rows, RATE, 0.1)
    assert cell_seconds(size, kind, more, RATE, 0.1) > cell_seconds(size, kind, more, Rate(1e10, ""), 0.1)
    assert cell_seconds(size, kind, more, RATE, 1.0) > cell_seconds(size, kind, more, RATE, 0.0)


@given(SIZES, st.sampled_from(sorted(KINDS)))
def test_memory_holds_the_weights_and_less_of_narrower_numbers(size, kind):
    wide, narrow = (memory_of(size, [kind], dtype, "CPU", adaptive=False) for dtype in ("float32", "bfloat16"))
    assert narrow < wide
    assert wide > 4 * size.parameters
    assert memory_of(size, [kind], "float32", "CPU", adaptive=True) - wide == 2 * size.parameters
    assert memory_of(size, [kind], "float32", "CPU", adaptive=False, share=0.25) <= wide


def test_the_rate_of_a_cpu_is_measured_in_a_moment():
    one, four = cpu_rate(1), cpu_rate(4)
    assert 1e7 < one.operations < 1e13
    assert 1 < four.operations / one.operations < 16
    assert "matrix product" in one.source


def test_the_rate_of_a_gpu_is_said_to_be_assumed():
    assert gpu_rate("NVIDIA A100", "bfloat16").operations > gpu_rate("NVIDIA A100", "float32").operations
    assert "assumed of NVIDIA A100 in float32" in gpu_rate("NVIDIA A100", "float32").source


def test_runs_correct_the_rate_and_long_ones_count_most():
    assert calibrated(RATE, []) is RATE
    assert calibrated(RATE, [(0.0, 1.0), (5.0, 0.0), (5.0, -1.0)]) is RATE
    found = calibrated(RATE, [(1e12, 100.0), (1e6, 1.0), (1e6, 1.0), (1e6, 1.0)])
    assert found.operations == 1e10
    assert "4 runs" in found.source


@given(st.lists(st.tuples(st.floats(1e6, 1e15), st.floats(0.01, 1e5)), min_size=1))
def test_a_corrected_rate_is_one_that_was_seen(runs):
    rates = [done / seconds for done, seconds in runs]
    assert min(rates) <= calibrated(RATE, runs).operations <= max(rates)
