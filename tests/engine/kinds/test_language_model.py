"""Which language model a checkpoint is, and its logits at single places against its logits everywhere."""

import pytest
import torch
import transformers
from helpers.builders import save, sentences, tokenizer
from helpers.language_models import gpt2, llama, masked_bert
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, BertLMHeadModel

from engine.driving import job_for, task_of
from verify.engine.kinds.language_model import load_language_model, logits_at, objective_of, token_scores
from verify.errors import EngineError

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
MASKED = {
    "BertConfig": {},
    "RobertaConfig": {"max_position_embeddings": 64},
    "AlbertConfig": {"embedding_size": 16},
    "ElectraConfig": {"embedding_size": 16},
    "DebertaV2Config": {},
    "MPNetConfig": {},
    "DistilBertConfig": {"dim": 32, "n_layers": 1, "n_heads": 2, "hidden_dim": 64},
    "ModernBertConfig": {"pad_token_id": 0},
}
CAUSAL = {
    "LlamaConfig": {"num_key_value_heads": 2},
    "Gemma2Config": {"num_key_value_heads": 2, "head_dim": 16},
    "OPTConfig": {"ffn_dim": 64, "word_embed_proj_dim": 32},
    "GPTNeoXConfig": {},
    "BloomConfig": {"n_layer": 1, "n_head": 2},
}
TEXTS = sentences(20)


def built(auto, name, options):
    torch.manual_seed(0)
    kind = getattr(transformers, name)
    return auto.from_config(kind(**SIZES, **options)).eval()


@pytest.mark.parametrize(
    ("auto", "name", "options"),
    [(AutoModelForMaskedLM, name, options) for name, options in MASKED.items()]
    + [(AutoModelForCausalLM, name, options) for name, options in CAUSAL.items()],
)
def test_logits_at_places_are_those_of_the_whole_batch(auto, name, options):
    model = built(auto, name, options)
    ids, rows, columns = torch.randint(5, 100, (3, 12)), torch.tensor([0, 1, 2, 2]), torch.tensor([3, 0, 11, 5])
    seen = []
    model.get_output_embeddings().register_forward_hook(
        lambda _module, _inputs, output: seen.append(output.shape[:-1].numel())
    )
    with torch.inference_mode():
        everywhere = model(input_ids=ids).logits
        found = logits_at(model, {"input_ids": ids}, rows, columns)
    torch.testing.assert_close(found, everywhere[rows, columns], rtol=1e-5, atol=1e-6)
    assert seen == [36, 4]
    assert model(input_ids=ids).logits.shape == everywhere.shape


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("BertConfig", {}, "masked"),
        ("BertConfig", {"architectures": ["BertForPreTraining"]}, "masked"),
        ("BertConfig", {"architectures": ["BertLMHeadModel"]}, "causal"),
        ("BertConfig", {"is_decoder": True}, "causal"),
        ("GPT2Config", {"architectures": ["GPT2LMHeadModel"]}, "causal"),
        ("LlamaConfig", {}, "causal"),
        ("RobertaConfig", {"architectures": ["RobertaForMaskedLM"]}, "masked"),
    ],
)
def test_the_objective_is_as_the_architecture_says(name, options, expected):
    assert objective_of(getattr(transformers, name)(**options)) == expected


def test_what_is_no_language_model_is_refused(tmp_path):
    with pytest.raises(EngineError, match="vit model is no language model"):
        objective_of(transformers.ViTConfig())
    transformers.T5Config(d_model=16, num_layers=1).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="t5 model reads one text and writes another"):
        load_language_model(job_for(task_of("perplexity", {"text": "t"}), tmp_path), "auto")


def load(folder, model, objective="auto"):
    save(folder, model, tokenizer(TEXTS))
    return load_language_model(job_for(task_of("perplexity", {"text": "t"}), folder), objective)


def test_each_objective_is_loaded_with_its_head(tmp_path):
    assert [type(part).__name__ for part in load(tmp_path / "a", gpt2(100))] == ["GPT2LMHeadModel", "str"]
    assert load(tmp_path / "b", llama(100))[1] == "causal"
    model, objective = load(tmp_path / "c", masked_bert(100))
    assert (type(model).__name__, objective) == ("BertForMaskedLM", "masked")
    decoder = BertLMHeadModel(BertConfig(**SIZES, is_decoder=True))
    assert load(tmp_path / "d", decoder)[1] == "causal"


def test_a_model_that_sees_later_tokens_is_not_causal(tmp_path):
    with pytest.raises(EngineError, match=r"BertLMHeadModel sees later tokens .* objective: masked"):
        load(tmp_path, masked_bert(100), "causal")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_tokens_are_negative_log_probabilities(monkeypatch, dtype):
    monkeypatch.setattr("verify.engine.kinds.language_model._CHUNK", 300)
    torch.manual_seed(0)
    logits, targets = (3 * torch.randn(11, 100)).to(dtype), torch.randint(0, 100, (11,))
    targets[4] = logits[4].argmax()
    losses, hits = token_scores(logits, targets)
    exact = torch.log_softmax(logits.double(), dim=-1)
    assert losses == pytest.approx([-float(exact[i, targets[i]]) for i in range(11)], rel=1e-5)
    assert hits.tolist() == [bool(logits[i].argmax() == targets[i]) for i in range(11)]
    assert [part.tolist() for part in token_scores(logits[:0], targets[:0])] == [[], []]
