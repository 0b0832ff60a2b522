"""The folder that a model is loaded from: an adapter on its base, and copies in the place of pickles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.pickle_making import saved
from safetensors.torch import load_file

from verify.engine.job import Job
from verify.engine.loading import safe_copy
from verify.engine.loading.assembled import assembled
from verify.engine.loading.view import close_views
from verify.types import DatasetSource, TaskSpec

TASK = TaskSpec("t", "sequence-classification", DatasetSource("csv"), {}, (), "t.yaml")


@pytest.fixture(autouse=True)
def no_views_are_left(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_copy, "copies_folder", lambda: tmp_path / "copies")
    yield
    close_views()


def written(folder, **files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return {"folder": str(folder), "files": tuple(files)}


def found(own, base=None):
    base = {f"base_{key}": value for key, value in (base or {}).items()}
    folder = Path(assembled(Job(own["folder"], TASK, "test", "run", files=own["files"], **base)))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_copies_stand_in_the_place_of_pickles_and_of_those_alone(tmp_path):
    index = {"metadata": {}, "weight_map": {"a": "pytorch_model-1.bin", "b": "pytorch_model-2.bin"}}
    files = {"pytorch_model-1.bin": saved({"a": torch.ones(2)}), "pytorch_model-2.bin": saved({"b": torch.zeros(2)})}
    names = {"config.json": "{}", "vocab.bin": "words", "2_Dense/pytorch_model.bin": saved({"c": torch.ones(1)})}
    model = written(tmp_path / "m", **files, **names, **{"pytorch_model.bin.index.json": json.dumps(index)})

    now = found(model)

    assert set(now) == {
        "config.json",
        "vocab.bin",
        "model.safetensors.index.json",
        "pytorch_model-1.safetensors",
        "pytorch_model-2.safetensors",
        "2_Dense/model.safetensors",
    }
    renamed = json.loads(now["model.safetensors.index.json"])["weight_map"]
    assert renamed == {"a": "pytorch_model-1.safetensors", "b": "pytorch_model-2.safetensors"}
    (tmp_path / "one.safetensors").write_bytes(now["2_Dense/model.safetensors"])
    assert load_file(tmp_path / "one.safetensors")["c"] == 1


ADAPTER = {"adapter_config.json": "{}", "adapter_model.safetensors": "delta"}
BASE = {"config.json": '{"a": 1}', "model.safetensors": "w", "tokenizer.json": "base", "tokenizer_config.json": "{}"}


def test_an_adapter_without_a_tokeniser_has_its_bases(tmp_path):
    adapter = written(tmp_path / "a", **ADAPTER, **{"tokenizer_config.json": '{"a": 2}', "config.json": "{}"})

    now = found(adapter, written(tmp_path / "b", **BASE))

    assert {name: now[name] for name in BASE} == {name: text.encode() for name, text in BASE.items()}
    assert set(now) - set(BASE) == {f"adapter/{name}" for name in adapter["files"]}


def test_an_adapter_with_a_tokeniser_has_nothing_of_its_bases(tmp_path):
    base = written(tmp_path / "b", **BASE, **{"special_tokens_map.json": "{}"})

    now = found(written(tmp_path / "a", **ADAPTER, **{"tokenizer.json": "own"}), base)

    assert now["tokenizer.json"] == b"own"
    assert not {"tokenizer_config.json", "special_tokens_map.json"} & set(now)


def test_the_same_folder_is_given_until_a_file_of_either_part_changes(tmp_path):
    own, base = written(tmp_path / "a", **ADAPTER), written(tmp_path / "b", **BASE)
    job = Job(own["folder"], TASK, "t", "r", files=own["files"], base_folder=base["folder"], base_files=base["files"])
    first = assembled(job)
    assert assembled(job) == first

    written(tmp_path / "b", **{"model.safetensors": "other"})

    assert assembled(job) != first
    assert (Path(assembled(job)) / "model.safetensors").read_bytes() == b"other"
    close_views()
    assert not Path(first).exists()
