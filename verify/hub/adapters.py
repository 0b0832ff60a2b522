"""What the adapter_config.json of a PEFT adapter says, read as data.

PEFT takes many settings, some of which name files, Python modules, patterns or further methods. Here those are known
that say which weights an adapter changes and how; every other one must be unset, so that an adapter either means the
same here as in PEFT, or is refused with the setting that is not understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.errors import BlockedError

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"

KINDS = ("LORA", "IA3", "LOHA", "LOKR", "LN_TUNING")
"""Methods that change weights of the base model and nothing else, so that they can be merged into it."""

TASKS = ("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION")

FROM_WEIGHTS = "from the weights"
"""In the place of ``target_modules`` that are a pattern: those that the adapter has weights for are meant."""

_NUMBERS = ("r", "lora_alpha", "alpha", "decompose_factor")
_SWITCHES = ("fan_in_fan_out", "use_rslora", "use_dora", "lora_bias", "decompose_both")
_LISTS = ("modules_to_save", "exclude_modules", "feedforward_modules")
_PATTERNS = ("rank_pattern", "alpha_pattern")
_OF_TRAINING = frozenset(
    [
        "base_model_name_or_path",
        "revision",
        "task_type",
        "peft_type",
        "peft_version",
        "inference_mode",
        "auto_mapping",
        "lora_dropout",
        "rank_dropout",
        "module_dropout",
        "rank_dropout_scale",
        "megatron_core",
        "qalora_group_size",
        "runtime_config",
        "init_lora_weights",
        "init_weights",
        "init_ia3_weights",
        "target_modules",
        "layers_to_transform",
        "layers_pattern",
        "bias",
        "target_parameters",
    ]
)
"""Settings that are read by name below, or that only training heeds."""

_PLAIN_START = (None, True, False, "gaussian", "orthogonal", "lycoris")
"""Ways to begin training that leave the base model's own weights as they are."""

_MODULE = re.compile(r"\w+(\.\w+)*", re.ASCII)
_EXACT_MODULE = re.compile(r"\^?\w+(\.\w+)*\$?", re.ASCII)
_OWN_CLASSES = "transformers."
_MOST = 2**20


@dataclass(frozen=True)
class Adapter:
    """An adapter: its method ``kind``, the base that it names (None: none), and the settings that PEFT gets.

    ``task`` is PEFT's name of what the adapter was trained for, None where it does not say.
    """

    kind: str
    base: str | None
    revision: str | None
    task: str | None
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_adapter(config: Mapping[str, Any], name: str) -> Adapter:
    """The adapter that a configuration describes; ``name`` is the repository's, for messages.

    Raises BlockedError if it is of a method, or has a setting, that is not understood here.
    """
    kind, task = config.get("peft_type"), config.get("task_type")
    if kind not in KINDS:
        raise _not_understood(name, f"peft_type: {_shown(kind)}; supported are {', '.join(KINDS)}")
    if task is not None and task not in TASKS:
        raise _not_understood(name, f"task_type: {_shown(task)}")
    _check_classes(config.get("auto_mapping"), name)
    start = next((config[key] for key in ("init_lora_weights", "init_weights") if key in config), None)
    if not isinstance(start, str | bool | None) or start not in _PLAIN_START:
        raise _not_understood(name, f"weights that begin with {_shown(start)}, which changes the base model, too")
    settings: dict[str, Any] = {}
    for key, value in config.items():
        if key in _NUMBERS:
            settings[key] = _number(key, value, name)
        elif key in _SWITCHES:
            settings[key] = _of_type(bool, key, value, name)
        elif key in _LISTS and value:
            settings[key] = _modules(key, value, name)
        elif key in _PATTERNS and value:
            settings[key] = _pattern(key, value, name)
        elif key not in _OF_TRAINING and value not in (None, False, "", [], {}):
            raise _not_understood(name, f"{_shown(key)}: {_shown(value)}")
    settings |= _targets(config, name)
    base, revision = (_text(config.get(key), key, name) for key in ("base_model_name_or_path", "revision"))
    return Adapter(kind, base, revision, task, {key: value for key, value in settings.items() if value is not None})


def _targets(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Which modules are adapted, by names alone: a pattern of a stranger may take for ever to be matched."""
    targets, layers = config.get("target_modules"), config.get("layers_to_transform")
    excluded, pattern = config.get("exclude_modules"), config.get("layers_pattern")
    if config.get("target_parameters"):
        raise _not_understood(name, f"target_parameters: {_shown(config['target_parameters'])}")
    found: dict[str, Any] = {}
    bias = config.get("bias", "none")
    if bias not in (None, "none", "all", "lora_only"):
        raise _not_understood(name, f"bias: {_shown(bias)}")
    if "bias" in config:
        found["bias"] = bias or "none"
    if isinstance(targets, str) or isinstance(excluded, str) or layers is not None or pattern:
        return {**found, "target_modules": FROM_WEIGHTS, "exclude_modules": None}
    if targets is not None:
        found["target_modules"] = _modules("target_modules", targets, name)
    return found


def _check_classes(mapping: Any, name: str) -> None:
    """PEFT notes the class of the base model; one of transformers' is not needed, and any other would be foreign."""
    if mapping is None:
        return
    library = mapping.get("parent_library") if isinstance(mapping, dict) else None
    if not isinstance(library, str) or not (library + ".").startswith(_OWN_CLASSES):
        raise _not_understood(name, f"auto_mapping: {_shown(mapping)}, a class outside transformers")


def _number(key: str, value: Any, name: str) -> Any:
    if value is None or (type(value) in (int, float) and abs(value) <= _MOST):
        return value
    raise _not_understood(name, f"{key}: {_shown(value)}")


def _of_type(kind: type, key: str, value: Any, name: str) -> Any:
    if value is None or isinstance(value, kind):
        return value
    raise _not_understood(name, f"{key}: {_shown(value)}")


def _modules(key: str, value: Any, name: str) -> list[str] | None:
    if isinstance(value, str) and key == "exclude_modules":
        return None  # then the modules are taken from the weights
    if isinstance(value, list) and all(isinstance(one, str) and _MODULE.fullmatch(one) for one in value):
        return list(value)
    raise _not_understood(name, f"{key}: {_shown(value)}")


def _pattern(key: str, value: Any, name: str) -> dict[str, Any]:
    """Numbers by module, whose names are plain: PEFT takes them for regular expressions."""
    if isinstance(value, dict) and all(
        _EXACT_MODULE.fullmatch(module) and type(number) in (int, float) and 0 <= number <= _MOST
        for module, number in value.items()
    ):
        return dict(value)
    raise _not_understood(name, f"{key}: {_shown(value)}")


def _text(value: Any, key: str, name: str) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isprintable() and len(value) <= 300:
        return value
    raise _not_understood(name, f"{key}: {_shown(value)}")


def _not_understood(name: str, what: str) -> BlockedError:
    return BlockedError(
        f"{name} is an adapter whose {CONFIG} says something that is not understood here: {what}. Merge it into its "
        "base model (merge_and_unload in PEFT), save the result with save_pretrained and check that folder."
    )


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
