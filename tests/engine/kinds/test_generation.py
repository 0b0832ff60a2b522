"""What is written for a batch of texts against transformers' own `generate`, one text at a time."""

import random
from typing import Any

import pytest
import torch
from helpers.writers import END, PAD, padded, texts_of_ids, writer, written_alone
from transformers import WhisperConfig, WhisperForConditionalGeneration

from verify.engine.kinds.generation import configuration_record, generate
from verify.errors import EngineError

NEAR_TIE = 1e-4
KINDS = ["t5", "bart", "marian", "m2m_100", "mbart"]
BEAMS = {"num_beams": 4, "max_new_tokens": 20}


def ending(model: Any, bias: float = 6.0) -> dict[str, Any]:
    """A bias towards the end, so that texts of a model with random weights end, and at different lengths."""
    return {"sequence_bias": {(model.config.eos_token_id,): bias}}


def compared(model: Any, rows: list[list[int]], settings: dict[str, Any]) -> Any:
    """What is written, after it was found to be equal to what is written alone for every row but near ties."""
    output = generate(model, padded(rows, model.config.pad_token_id), settings)
    alone = written_alone(model, rows, settings)
    differ = [i for i in range(len(rows)) if output.tokens[i] != alone[i]]
    assert all(output.margins[i] < NEAR_TIE for i in differ), [(output.tokens[i], alone[i]) for i in differ]
    assert len(differ) <= len(rows) // 20
    return output


@pytest.mark.parametrize(
    "settings",
    [
        {"max_new_tokens": 20},
        {"max_new_tokens": 20, "no_repeat_ngram_size": 2, "min_new_tokens": 5, "forced_bos_token_id": 7},
        {"max_new_tokens": 9, "forced_eos_token_id": END, "repetition_penalty": 1.5, "suppress_tokens": [5, 6, 9]},
        {**BEAMS, "early_stopping": True, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "min_length": 6},
        {**BEAMS, "early_stopping": False, "length_penalty": 0.6, "bad_words_ids": [[PAD], [7]]},
        {**BEAMS, "early_stopping": "never", "length_penalty": 1.0, "num_beams": 2},
        {**BEAMS, "length_penalty": -1.0, "forced_bos_token_id": 11, "num_beams": 5},
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_written_as_each_text_alone(kind, settings):
    model = writer(kind)
    rows = texts_of_ids(24, seed=1, end=model.config.eos_token_id)
    output = compared(model, rows, {**settings, **ending(model)})
    assert len(set(map(len, output.tokens))) > 1 or settings.get("forced_eos_token_id"), "lengths differ"


@pytest.mark.parametrize("seed", range(16))
def test_any_combination_of_settings_is_written_as_each_text_alone(seed):
    chance = random.Random(seed)
    model = writer(chance.choice(KINDS), seed=seed)
    end = model.config.eos_token_id
    settings = {"max_new_tokens": chance.randint(2, 25), "num_beams": chance.choice([1, 2, 3, 4])}
    if settings["num_beams"] > 1:
        settings["length_penalty"] = chance.choice([-1.0, 0.0, 0.6, 1.0, 2.0])
        settings["early_stopping"] = chance.choice([True, False, "never"])
    options = {
        "no_repeat_ngram_size": chance.choice([1, 2, 3]),
        "min_new_tokens": chance.randint(1, 6),
        "forced_bos_token_id": chance.randint(3, 59),
        "forced_eos_token_id": end,
        "eos_token_id": [end, 10, 11],
        "encoder_no_repeat_ngram_size": 2,
        "begin_suppress_tokens": [end, 4],
    }
    settings |= {name: value for name, value in options.items() if chance.random() < 0.35}
    rows = texts_of_ids(chance.randint(2, 20), seed=seed, end=end)
    compared(model, rows, {**settings, **ending(model, chance.choice([3.0, 8.0, 12.0]))})


@pytest.mark.parametrize("beams", [1, 3])
def test_finished_rows_leave_the_batch(beams, monkeypatch):
    model = writer("bart")
    rows = texts_of_ids(32, seed=2)
    settings = {"max_new_tokens": 30, "num_beams": beams, "early_stopping": True, **ending(model)}
    sizes = []
    forward = type(model).forward

    def counted(self, *args, **inputs):
        sizes.append(len(inputs["decoder_input_ids"]))
        return forward(self, *args, **inputs)

    monkeypatch.setattr(type(model), "forward", counted)
    output = generate(model, padded(rows), settings)
    assert sizes[0] == 32 * beams
    assert sizes == sorted(sizes, reverse=True)
    steps = [len(tokens) - 1 for tokens in output.tokens]
    assert sum(sizes) < 0.8 * len(sizes) * sizes[0]
    if beams == 1:
        assert max(steps) == len(sizes)
        assert sum(steps) <= sum(sizes) <= 1.2 * sum(steps) + 4, "hardly a step is computed for a finished row"


def test_the_margin_is_the_smallest_gap_of_a_text():
    model = writer("t5")
    rows = texts_of_ids(12, seed=3, end=1)
    settings = {"max_new_tokens": 15, "no_repeat_ngram_size": 2, **ending(model)}
    output = generate(model, padded(rows, 0), settings)
    for row, margin in zip(rows, output.margins, strict=True):
        alone = model.generate(
            **padded([row]), do_sample=False, return_dict_in_generate=True, output_scores=True, **settings
        )
        gaps = [float(top[0] - top[1]) for top in (scores[0].topk(2).values for scores in alone.scores)]
        assert margin == pytest.approx(min(gaps), abs=1e-4)


def test_the_margin_of_beam_search_is_that_of_the_two_best():
    model = writer("bart")
    rows = texts_of_ids(12, seed=4)
    settings = {**BEAMS, "length_penalty": 1.5, **ending(model)}
    output = generate(model, padded(rows), settings)
    for row, margin in zip(rows, output.margins, strict=True):
        alone = model.generate(
            **padded([row]),
            do_sample=False,
            num_return_sequences=2,
            return_dict_in_generate=True,
            output_scores=True,
            **settings,
        )
        assert margin == pytest.approx(float(alone.sequences_scores[0] - alone.sequences_scores[1]), abs=1e-4)


def test_a_forced_text_has_no_other_near():
    model = writer("bart")
    output = generate(model, padded(texts_of_ids(3, seed=5)), {"max_new_tokens": 2, "forced_bos_token_id": 9})
    assert output.tokens == [[END, 9, END]] * 3, "BART forces the end, too"
    assert output.margins == [float("inf")] * 3


def test_the_checkpoints_own_configuration_holds_and_sampling_is_switched_off():
    model = writer("bart")
    rows = texts_of_ids(10, seed=6)
    model.generation_config.update(num_beams=3, min_length=5, max_length=14, no_repeat_ngram_size=2)
    expected = written_alone(model, rows, {})
    model.generation_config.update(do_sample=True, temperature=3.0, num_return_sequences=2, use_cache=False)
    assert generate(model, padded(rows), {}).tokens == expected
    record = configuration_record(model, {"length_penalty": 0.5})
    assert record["sampling"] == "switched off, although the checkpoint asks for it"
    assert (record["num_beams"], record["max_length"], record["length_penalty"]) == (3, 14, 0.5)
    assert "max_new_tokens" not in record


def test_the_default_length_is_recorded():
    model = writer("t5")
    assert configuration_record(model, {})["max_new_tokens"] == 20
    output = generate(model, padded(texts_of_ids(4, seed=7, end=1), 0), {"min_new_tokens": 20})
    assert [len(tokens) for tokens in output.tokens] == [21] * 4


def test_other_ways_of_decoding_are_refused():
    model = writer("bart")
    model.generation_config.update(penalty_alpha=0.6, top_k=4)
    with pytest.raises(EngineError, match="contrastive search"):
        generate(model, padded(texts_of_ids(2, seed=8)), {})


@pytest.mark.parametrize("beams", [1, 2])
def test_outputs_that_are_not_numbers_are_refused(beams):
    model = writer("bart")
    model.final_logits_bias.fill_(float("nan"))
    with pytest.raises(EngineError, match="not finite"):
        generate(model, padded(texts_of_ids(2, seed=9)), {"max_new_tokens": 4, "num_beams": beams})


def test_settings_that_do_not_go_together_are_an_error():
    model = writer("bart")
    with pytest.raises(EngineError, match=r"could not generate: .* generation_config\.json"):
        generate(model, padded(texts_of_ids(2, seed=10)), {"max_new_tokens": 4, "repetition_penalty": -1.0})


@pytest.mark.parametrize("beams", [1, 2])
def test_a_model_with_a_generate_of_its_own(beams):
    """Whisper takes its prompt and the end off what it returns."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "max_source_positions": 20, "max_target_positions": 40, "num_mel_bins": 8, "init_std": 0.5}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 1, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    tokens = {"vocab_size": 60, "pad_token_id": 2, "bos_token_id": 2, "eos_token_id": 2, "decoder_start_token_id": 3}
    model = WhisperForConditionalGeneration(
        WhisperConfig(**sizes, **tokens, suppress_tokens=None, begin_suppress_tokens=None)
    ).eval()
    features = torch.randn(12, 8, 40)
    settings = {"max_new_tokens": 20, "num_beams": beams, "no_repeat_ngram_size": 2, **ending(model, 4.5)}
    output = generate(model, {"input_features": features}, settings)
    alone = [model.generate(features[i : i + 1], do_sample=False, **settings)[0].tolist() for i in range(12)]
    assert output.tokens == alone
    assert len(set(map(len, alone))) > 1
    assert all(margin > 0 for margin in output.margins)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_beams", 1_000_000),
        ("max_length", 10_000_000),
        ("max_new_tokens", 10_000_000),
        ("min_length", 10_000_000),
        ("no_repeat_ngram_size", 10**9),
        ("bad_words_ids", [[1]] * 400_000),
        ("suppress_tokens", [1] * 400_000),
    ],
)
def test_what_a_checkpoint_asks_for_beyond_reason_is_refused(name, value):
    model = writer("t5")
    setattr(model.generation_config, name, value)
    with pytest.raises(EngineError, match=name):
        configuration_record(model, {})
    with pytest.raises(EngineError, match=name):
        generate(model, padded([[5, 6]]), {})


def test_a_length_of_the_task_goes_before_one_beyond_reason():
    model = writer("t5")
    model.generation_config.max_length = 10_000_000
    assert configuration_record(model, {"max_new_tokens": 8})["max_new_tokens"] == 8
