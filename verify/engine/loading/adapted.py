"""Laying a PEFT adapter over its base model.

The settings come from :mod:`verify.hub.adapters` and the weights from a safetensors file, so that PEFT itself opens
nothing. Every weight of the adapter must find its place, and every place that its settings make must be filled;
otherwise something else would be measured than the author's model.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from verify.errors import BlockedError, EngineError
from verify.hub.adapters import CONFIG, FROM_WEIGHTS, WEIGHTS, Adapter, read_adapter

_INSIDE = "base_model.model."
"""What PEFT puts before the name of each of the base model's modules."""

_OWN_PART = re.compile(r"\.(lora|ia3|hada|lokr|ln_tuning)_")
_HEAD = re.compile(r"(^|\.)(classifier|score|classifier\.out_proj|logits_proj)\.weight")

Build = Callable[[Any], tuple[Any, set[str]]]
"""From a configuration (None: the folder's own) to the base model and the names of its weights that are random."""


def load_adapted(folder: Path, adapter: Path, build: Build) -> tuple[Any, set[str]]:
    """The base model of ``folder`` with its adapter, and the names of weights that neither of the two fills.

    In float32 the adapter is merged, which is what it computes to the last bits; in shorter numbers merging would round
    the weights, so it stays beside them. Raises BlockedError if adapter and base do not fit, EngineError if PEFT fails.
    """
    from peft import get_peft_model, set_peft_model_state_dict
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import load_file
    from torch import float32

    name = "The adapter"
    described = read_adapter(json.loads((adapter / CONFIG).read_bytes()), name)
    weights = load_file(adapter / WEIGHTS)
    settings = {**_settings(described, weights), "task_type": described.task, "inference_mode": True}
    model, random = build(_with_classes(folder, adapter, weights))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            adapted = get_peft_model(model, PEFT_TYPE_TO_CONFIG_MAPPING[described.kind](**settings))
            lacking = set(get_peft_model_state_dict(adapted, save_embedding_layers=False)) - set(weights)
            _require_none("lacks", lacking)
            unplaced = set_peft_model_state_dict(adapted, weights).unexpected_keys
        except BlockedError:
            raise
        except Exception as error:
            raise BlockedError(
                f"The adapter does not fit its base model ({type(model).__name__}): "
                f"{' '.join(str(error).split())[:300]} Name the base that it was trained on with base=ORG/NAME."
            ) from error
        _require_none("has no place for", set(unplaced))
        try:
            whole = adapted.merge_and_unload(safe_merge=True) if model.dtype is float32 else adapted.get_base_model()
        except Exception as error:
            raise EngineError(
                f"The adapter could not be merged into its base model: {' '.join(str(error).split())[:300]}"
            ) from error
    return whole, random - {key.removeprefix(_INSIDE) for key in weights}


def _require_none(verb: str, keys: set[str]) -> None:
    if keys:
        listed = ", ".join(sorted(keys)[:3]) + (", …" if len(keys) > 3 else "")
        subject = "The adapter" if verb == "lacks" else "The base model"
        raise BlockedError(
            f"{subject} {verb} {len(keys)} weights of the adapter ({listed}), so what would be measured is not the "
            "author's model. Name the base that it was trained on with base=ORG/NAME, or check a merged copy."
        )


def _settings(adapter: Adapter, weights: Mapping[str, Any]) -> dict[str, Any]:
    """What PEFT gets: modules by name, and no rank beyond what the weights show, for PEFT makes them all first."""
    settings = dict(adapter.settings)
    if settings.get("target_modules") == FROM_WEIGHTS:
        found = {_OWN_PART.split(key)[0].removeprefix(_INSIDE) for key in weights if _OWN_PART.search(key)}
        settings["target_modules"] = sorted(found)
    longest = max((max(weight.shape, default=0) for weight in weights.values()), default=0)
    ranks = [settings.get("r", 0), *settings.get("rank_pattern", {}).values()]
    if any(rank > longest for rank in ranks):
        raise BlockedError(
            f"The adapter's {CONFIG} states a rank that none of its weights has ({longest} is the longest side). Ask "
            "the author to repair it, or check a merged copy."
        )
    return settings


def _with_classes(folder: Path, adapter: Path, weights: Mapping[str, Any]) -> Any:
    """The base's configuration with the adapter's classes, as many as its own head gives; None if it brings no head.

    Their names are those of the adapter's own config.json, else of the base's, if there are so many; else numbers.
    """
    from transformers import AutoConfig

    heads = [len(weight) for key, weight in weights.items() if _HEAD.search(key) and not _OWN_PART.search(key)]
    if not heads:
        return None
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise EngineError(
            f"The base model's configuration could not be read: {' '.join(str(error).split())[:300]}"
        ) from error
    if config.num_labels != heads[-1]:
        config.num_labels = heads[-1]
    own = adapter / "config.json"
    names = json.loads(own.read_bytes()).get("id2label") if own.is_file() else None
    if isinstance(names, dict) and set(names) == {str(place) for place in range(heads[-1])}:
        config.id2label = {int(place): str(name) for place, name in names.items()}
        config.label2id = {name: place for place, name in config.id2label.items()}
    return config
