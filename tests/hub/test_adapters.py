"""What the settings of an adapter say, read as data."""

from __future__ import annotations

import pytest

from verify.errors import BlockedError
from verify.hub.adapters import FROM_WEIGHTS, read_adapter

LORA = {
    "peft_type": "LORA",
    "task_type": "SEQ_CLS",
    "base_model_name_or_path": "Org/Base",
    "revision": None,
    "r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,
    "target_modules": ["query", "value"],
    "modules_to_save": ["classifier", "score"],
    "bias": "none",
    "inference_mode": True,
    "init_lora_weights": True,
    "peft_version": "0.99.0",
    "auto_mapping": None,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "eva_config": None,
    "loftq_config": {},
    "rank_pattern": {},
    "qalora_group_size": 16,
    "a_setting_of_later_versions": None,
}


def test_the_base_and_what_peft_needs_are_taken_from_a_usual_file():
    found = read_adapter(LORA, "Org/Adapter")

    assert (found.kind, found.base, found.revision, found.task) == ("LORA", "Org/Base", None, "SEQ_CLS")
    assert found.settings == {
        "r": 8,
        "lora_alpha": 16,
        "target_modules": ["query", "value"],
        "modules_to_save": ["classifier", "score"],
        "bias": "none",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": "(a+)+$"},
        {"exclude_modules": "(a+)+$"},
        {"layers_to_transform": [0, 1], "layers_pattern": "(a+)+$"},
    ],
)
def test_patterns_are_replaced_by_what_the_weights_name(changes):
    found = read_adapter({**LORA, **changes}, "Org/Adapter").settings

    assert found["target_modules"] == FROM_WEIGHTS
    assert "(a+)+$" not in repr(found)


def test_the_class_of_a_base_model_of_transformers_is_no_obstacle():
    mapping = {"base_model_class": "BertModel", "parent_library": "transformers.models.bert.modeling_bert"}

    assert read_adapter({**LORA, "auto_mapping": mapping, "task_type": None}, "Org/Adapter").task is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "PROMPT_TUNING"),
        ("peft_type", ["LORA"]),
        ("peft_type", None),
        ("task_type", "ANYTHING"),
        ("auto_mapping", {"base_model_class": "M", "parent_library": "os"}),
        ("auto_mapping", {"base_model_class": "M", "parent_library": "transformers_modules.org.m"}),
        ("auto_mapping", "os"),
        ("megatron_config", {"tensor_model_parallel_size": 2}),
        ("eva_config", {"rho": 2.0}),
        ("corda_config", {"cache_file": "/etc/passwd"}),
        ("loftq_config", {"loftq_bits": 4}),
        ("layer_replication", [[0, 1_000_000]]),
        ("target_parameters", ["experts.weight"]),
        ("trainable_token_indices", [1, 2]),
        ("use_qalora", True),
        ("init_lora_weights", "pissa_niter_16"),
        ("init_lora_weights", {"a": 1}),
        ("r", 10**9),
        ("r", "8"),
        ("r", True),
        ("bias", ["all"]),
        ("rank_pattern", {"(a+)+$": 4}),
        ("rank_pattern", {"query": "4"}),
        ("modules_to_save", ["(a+)+$"]),
        ("target_modules", [["query"]]),
        ("target_modules", {"query": 1}),
        ("base_model_name_or_path", "Org/Base\x1b[2J"),
        ("base_model_name_or_path", 7),
        ("revision", ["main"]),
        ("tokenizer_name_or_path", "/etc/passwd"),
        ("a_setting_of_later_versions", 2),
    ],
)
def test_what_is_not_understood_is_refused_with_its_name(key, value):
    with pytest.raises(BlockedError, match="not understood") as refusal:
        read_adapter({**LORA, key: value}, "Org/Adapter")

    message = str(refusal.value)
    assert "merge_and_unload" in message
    assert "\x1b" not in message
    assert key in message or key == "init_lora_weights"
