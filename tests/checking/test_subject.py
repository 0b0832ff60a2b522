"""A model as it is loaded: an adapter's base, where it may be looked for, and what identifies the two."""

from __future__ import annotations

import json

import pytest
from helpers.hub_calls import local_model, write_model

from verify.checking import subject
from verify.checking.subject import fetched, gated, subject_of
from verify.configuration.schema import VerifyConfig
from verify.errors import BlockedError
from verify.hub import models

SETTINGS = {"peft_type": "LORA", "target_modules": ["query"], "base_model_name_or_path": "Org/Base"}


def adapter(folder, **changes):
    files = {"adapter_config.json": json.dumps({**SETTINGS, **changes})}
    write_model(folder, **files)
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    return models.resolve(str(folder))


def test_both_parts_are_identified_and_a_change_of_either_shows(tmp_path):
    base, config = write_model(tmp_path / "base"), VerifyConfig(base=str(tmp_path / "base"))
    repository = adapter(tmp_path / "adapter")

    found = subject_of(fetched(gated(repository, config)))

    assert found.files == ("adapter_config.json", "adapter_model.safetensors", "config.json")
    assert found.base is not None
    assert (found.base.reference, found.base.revision) == (str(base), None)
    assert found.base.files == ("config.json", "model.safetensors")
    (base / "config.json").write_text('{"a": 1}')
    changed = subject_of(fetched(gated(repository, config))).digests
    assert {name for name in changed if changed[name] != found.digests[name]} == {"base_config"}
    again = subject_of(fetched(gated(adapter(tmp_path / "adapter", r=4), config))).digests
    assert {name for name in again if again[name] != changed[name]} == {"config"}


def test_a_model_that_is_no_adapter_has_no_base(tmp_path):
    repository = local_model(tmp_path / "m")

    assert subject_of(gated(repository, VerifyConfig(base="Org/Other"))).base is None


def test_without_peft_the_refusal_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "find_spec", lambda name: None)

    with pytest.raises(BlockedError, match=r"pip install 'verify-claims\[peft\]'"):
        gated(adapter(tmp_path / "adapter"), VerifyConfig())


@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        ({}, ("Org/Base", None)),
        ({"revision": "v1"}, ("Org/Base", "v1")),
        ({"base_model_name_or_path": "gpt2"}, ("gpt2", None)),
    ],
)
def test_the_base_is_asked_of_the_hub_alone(tmp_path, monkeypatch, changes, asked):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "Org/Base")
    write_model(tmp_path / "gpt2")
    base, seen = local_model(tmp_path / "base"), []
    monkeypatch.setattr(models, "on_hub", lambda *arguments: seen.append(arguments) or base)

    assert gated(adapter(tmp_path / "adapter", **changes), VerifyConfig()).base.folder == base.folder
    assert seen == [asked]


@pytest.mark.parametrize("named", ["./base", "../base", "/base", "~/base", "a/b/c", "C:\\base", None])
def test_a_base_that_is_a_path_is_not_opened(tmp_path, monkeypatch, named):
    monkeypatch.chdir(tmp_path)
    write_model(tmp_path / "base")

    with pytest.raises(BlockedError, match=r"base=ORG/NAME or base=\./folder"):
        gated(adapter(tmp_path / "adapter", base_model_name_or_path=named), VerifyConfig())
