"""Laying adapters over a base model, which PEFT itself has made here."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from helpers.builders import bert, sentences
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from verify.engine.loading.load import ADAPTER, load_model
from verify.errors import BlockedError

peft = pytest.importorskip("peft")
TEXTS = sentences(20)

CONFIGS = {
    "lora": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"], r=4),
    "defaults": lambda: peft.LoraConfig(task_type="SEQ_CLS"),
    "pattern": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=r".*layer\.1\..*(query|dense)", r=4),
    "all-linear": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules="all-linear", r=4, use_rslora=True),
    "layers": lambda: peft.LoraConfig(
        task_type="SEQ_CLS", target_modules=["query"], layers_to_transform=[1], layers_pattern="layer"
    ),
    "ranks": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "key"], rank_pattern={"key": 2}),
    "untyped": lambda: peft.LoraConfig(target_modules=["query"], modules_to_save=["classifier"]),
    "dora": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query"], use_dora=True, bias="lora_only"),
    "embeddings": lambda: peft.LoraConfig(task_type="SEQ_CLS", target_modules=["query", "word_embeddings"]),
    "ia3": lambda: peft.IA3Config(task_type="SEQ_CLS"),
    "loha": lambda: peft.LoHaConfig(task_type="SEQ_CLS", target_modules=["query"]),
    "lokr": lambda: peft.LoKrConfig(task_type="SEQ_CLS", target_modules=["query"]),
    "norms": lambda: peft.LNTuningConfig(task_type="SEQ_CLS", target_modules=["LayerNorm"]),
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A base model without a head, as models that are fine-tuned are."""
    folder = tmp_path_factory.mktemp("encoder")
    model, words = bert(folder, TEXTS, ["a", "b"])
    model.bert.save_pretrained(folder)
    return folder, words


@pytest.fixture
def adapter(encoder, tmp_path):
    """Write the base with an adapter whose weights are random; return its folder and the adapted model's logits."""

    def written(config, classes=3):
        base, words = encoder
        folder = tmp_path / "model"
        words.save_pretrained(folder)
        torch.manual_seed(1)
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=classes)
        model.base_model.save_pretrained(folder)
        adapted = peft.get_peft_model(model, config)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        adapted.eval().save_pretrained(folder / ADAPTER)
        return folder, logits_of(adapted, words)

    return written


def logits_of(model, words):
    with torch.inference_mode():
        return model(**words(TEXTS, padding=True, return_tensors="pt")).logits.float()


def changed(folder, **changes):
    file = folder / ADAPTER / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def loaded(folder, dtype="float32"):
    return load_model(AutoModelForSequenceClassification, str(folder), dtype)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_model_is_the_one_that_peft_gives(adapter, encoder, name):
    folder, expected = adapter(CONFIGS[name]())

    model = loaded(folder)

    assert not model.training
    torch.testing.assert_close(logits_of(model, encoder[1]), expected, atol=1e-4, rtol=1e-4)
    assert model.config.num_labels == 3
    assert not any("lora" in key for key in model.state_dict())


def test_in_shorter_numbers_the_adapter_stays_beside_its_base(adapter, encoder):
    folder, expected = adapter(CONFIGS["lora"]())

    model = loaded(folder, "bfloat16")

    assert type(model).__name__ == "BertForSequenceClassification"
    assert any("lora_A" in key for key in model.state_dict())
    torch.testing.assert_close(logits_of(model, encoder[1]), expected, atol=0.3, rtol=0.1)


def test_classes_are_named_by_the_adapters_own_configuration(adapter):
    folder, _ = adapter(CONFIGS["lora"]())
    names = {"0": "bad", "1": "so-so", "2": "good"}
    (folder / ADAPTER / "config.json").write_text(json.dumps({"id2label": names}))

    assert loaded(folder).config.id2label == {0: "bad", 1: "so-so", 2: "good"}


def test_weights_that_the_adapter_lacks_are_not_made_up(adapter):
    folder, _ = adapter(CONFIGS["lora"]())
    file = folder / ADAPTER / "adapter_model.safetensors"
    weights = load_file(file)
    del weights["base_model.model.bert.encoder.layer.0.attention.self.query.lora_B.weight"]
    save_file(weights, file)

    with pytest.raises(BlockedError, match=r"lacks 1 weights.*query\.lora_B"):
        loaded(folder)


def test_weights_without_a_place_are_not_dropped(adapter):
    folder, _ = adapter(CONFIGS["lora"]())
    file = folder / ADAPTER / "adapter_model.safetensors"
    save_file({**load_file(file), "base_model.model.bert.encoder.layer.7.extra": torch.ones(2)}, file)

    with pytest.raises(BlockedError, match=r"no place for 1 weights.*layer\.7\.extra.*base="):
        loaded(folder)


def test_an_adapter_of_a_base_of_another_size_is_refused(adapter, tmp_path):
    folder, _ = adapter(CONFIGS["lora"]())
    bert(folder, TEXTS, ["a", "b"], hidden=16)

    with pytest.raises(BlockedError, match="base="):
        loaded(folder)


def test_a_head_that_neither_base_nor_adapter_brings_stays_refused(adapter):
    folder, _ = adapter(CONFIGS["untyped"]())
    changed(folder, modules_to_save=None)
    file = folder / ADAPTER / "adapter_model.safetensors"
    save_file({key: weight for key, weight in load_file(file).items() if "classifier" not in key}, file)

    with pytest.raises(BlockedError, match="2 weights are missing"):
        loaded(folder)


def test_a_rank_beyond_the_weights_is_refused_before_anything_is_made(adapter):
    folder, _ = adapter(CONFIGS["lora"]())
    changed(folder, r=2**20)

    with pytest.raises(BlockedError, match="states a rank that none of its weights has"):
        loaded(folder)


def tiny(kind, folder):
    """A small model of another architecture, its Auto class, and inputs."""
    torch.manual_seed(0)
    ids = torch.arange(1, 9)[None]
    if kind == "causal":  # whose layers hold their weights transposed
        config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
        model, auto, inputs = transformers.GPT2LMHeadModel(config), transformers.AutoModelForCausalLM, {}
    elif kind == "sequence-to-sequence":
        config = transformers.T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
        model, auto = transformers.T5ForConditionalGeneration(config), transformers.AutoModelForSeq2SeqLM
        inputs = {"decoder_input_ids": ids}
    else:
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
        config = transformers.BertConfig(vocab_size=50, num_labels=5, **sizes)
        model = transformers.BertForTokenClassification(config)
        auto, inputs = transformers.AutoModelForTokenClassification, {}
    model.save_pretrained(folder)
    return model, auto, {"input_ids": ids, **inputs}


@pytest.mark.parametrize(
    ("kind", "task", "targets"),
    [
        ("causal", "CAUSAL_LM", ["c_attn"]),
        ("sequence-to-sequence", "SEQ_2_SEQ_LM", ["q", "v"]),
        ("tokens", "TOKEN_CLS", ["query"]),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_heads_than_that_of_a_text_classifier(tmp_path, kind, task, targets):
    model, auto, inputs = tiny(kind, tmp_path)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, target_modules=targets))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        expected = adapted.eval()(**inputs).logits
    adapted.save_pretrained(tmp_path / ADAPTER)

    with torch.inference_mode():
        found = load_model(auto, str(tmp_path), "float32")(**inputs).logits
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
