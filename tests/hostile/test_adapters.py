"""Adapters: laid over their base as PEFT does, and never a way to other code, files or repositories."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest
import torch
from helpers.pickle_making import among_tensors
from safetensors.torch import load_file, save_file

from hostile.harness import FIRES, variants
from hostile.whole_models import logits, make_place, scores

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def lora(**options):
    return peft.LoraConfig(**{"task_type": "SEQ_CLS", "target_modules": ["query", "value"], "r": 4, **options})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def adapter(place):
    """A sound adapter, and the model that merging gives."""
    return place.adapter("adapter", lora())


def changed(place, adapter, name, **changes):
    copy = place.folder / name
    shutil.copytree(adapter[0], copy)
    file = copy / "adapter_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    return copy


def blocked(place, model, *words, kind="blocked", **options):
    found = place.check(f"./{model.name}", *words, **options)
    ((ended, reason),) = found.verdicts
    assert ended == kind, reason
    return reason


def test_an_adapter_equals_its_merged_twin(place, adapter):
    found, twin = place.check("./adapter", "base=./base"), place.check("./adapter-merged")

    assert [kind for kind, _ in found.verdicts] == [kind for kind, _ in twin.verdicts]
    assert scores(found, 5) == scores(twin, 5)
    assert abs(logits(place, found) - logits(place, twin)).max() < 1e-5
    digests = found.found["measurements"][0]["provenance"]["digests"]
    assert {"weights", "config", "base_weights", "base_processor", "base_config"} <= digests.keys()


def test_the_base_on_the_hub_is_that_of_the_revision_that_the_adapter_names(place, adapter, loopback_hub, environment):
    models = loopback_hub.root / "models/Org"
    shutil.copytree(place.base, models / "Base")
    commit = loopback_hub.add_revision("models/Org/Base", "v1", place.base)
    other = load_file(place.base / "model.safetensors")
    save_file({name: tensor * 2 for name, tensor in other.items()}, models / "Base/model.safetensors", {"format": "pt"})
    named = changed(place, adapter, "on-the-hub", base_model_name_or_path="Org/Base", revision="v1")
    shutil.move(named, models / "Adapter")
    (place.folder / "Org/Base").mkdir(parents=True)  # a folder of that name is not the Hub's model
    (place.folder / "Org/Base/config.json").write_text("{}")

    found, twin = place.check("Org/Adapter", environment=environment), place.check("./adapter-merged")

    assert abs(logits(place, found) - logits(place, twin)).max() < 1e-5
    provenance = found.found["measurements"][0]["provenance"]
    assert (provenance["base"], provenance["base_revision"]) == (f"Org/Base@{commit}", commit)


def a_pickle_of_its_own(place, adapter):
    copy = changed(place, adapter, "own-pickle")
    weights = load_file(copy / "adapter_model.safetensors")
    (copy / "adapter_model.safetensors").unlink()
    (copy / "adapter_model.bin").write_bytes(among_tensors(weights))
    return copy, copy / "adapter_model.bin", ("base=./base", "allow_pickle=true")


def a_pickled_base(place, adapter):
    base = place.pickled("pickled-base", among_tensors(place.model().state_dict()))
    return (
        changed(place, adapter, "on-pickle"),
        base / "pytorch_model.bin",
        ("base=./pickled-base", "allow_pickle=true"),
    )


@variants(a_pickle_of_its_own, a_pickled_base)
def test_a_payload_in_either_part_does_not_run(place, adapter, tmp_path, monkeypatch, variant):
    model, pickle, words = variant(place, adapter)
    payload = tmp_path / "fired"
    monkeypatch.setenv("VERIFY_PAYLOAD", str(payload))
    torch.load(pickle, weights_only=False)
    assert payload.exists()
    payload.unlink()

    assert "allow_pickle=true" in blocked(place, model, words[0], payload=payload)
    assert "is a pickle that is not loaded" in blocked(place, model, *words, payload=payload)
    assert not payload.exists()


def test_a_module_that_the_settings_name_is_not_imported(place, adapter, tmp_path, monkeypatch):
    model = changed(place, adapter, "megatron", megatron_config={"a": 1}, megatron_core="payload_module")
    (place.folder / "payload_module.py").write_text(FIRES)
    payload = tmp_path / "fired"
    monkeypatch.setenv("VERIFY_PAYLOAD", str(payload))
    monkeypatch.syspath_prepend(place.folder)
    importlib.import_module("payload_module")  # as PEFT does where the settings name a module that it trusts
    assert payload.exists()
    payload.unlink()

    assert "megatron_config" in blocked(place, model, "base=./base", payload=payload)
    assert not payload.exists()


BLOCKED = {
    "a base that is a path": ({"base_model_name_or_path": "/etc"}, (), "base="),
    "a base that is a path outside": ({"base_model_name_or_path": "../base"}, (), "base="),
    "a base that is nothing": ({"base_model_name_or_path": None}, (), "base="),
    "a base that is an adapter": ({}, ("base=./adapter",), "is an adapter, too"),
    "a base that is itself": ({}, ("base=./a-base-that-is-itself",), "is an adapter, too"),
    "a rank of a million": ({"r": 1_000_000}, ("base=./base",), "rank"),
    "a method with files": ({"peft_type": "PROMPT_TUNING"}, ("base=./base",), "PROMPT_TUNING"),
    "layers without end": ({"layer_replication": [[0, 10_000_000]]}, ("base=./base",), "layer_replication"),
    "modules that it lacks": ({"target_modules": ["query", "value", "key"]}, ("base=./base",), "lacks"),
}


@variants(*BLOCKED)
def test_settings_that_would_reach_elsewhere_are_refused(place, adapter, variant):
    changes, words, reason = BLOCKED[variant]
    model = changed(place, adapter, variant.replace(" ", "-"), **changes)

    assert reason in blocked(place, model, *words)


@pytest.mark.stress
def test_a_pattern_that_would_never_end_is_not_matched(place, adapter):
    model = changed(place, adapter, "pattern", target_modules="((\\w+)*)*\\.#")

    assert scores(place.check("./pattern", "base=./base"), 5) == scores(place.check("./adapter-merged"), 5)
    assert model.is_dir()


@pytest.mark.stress
def test_a_base_that_is_gone_is_an_error_that_says_how_to_name_another(place, adapter, loopback_hub, environment):
    model = changed(place, adapter, "gone", base_model_name_or_path="Org/Gone")

    assert "base=" in blocked(place, model, kind="error", environment=environment)
