"""The gate in front of the weights, and the digests of what passed it."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.hub_calls import WEIGHTS, ask, local_model, refusal, write_model
from helpers.pickle_making import saved
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from verify.errors import BlockedError, HubError
from verify.hub import models


class TestSafety:
    def test_a_sound_model_passes(self, tmp_path):
        models.check_safety(local_model(tmp_path))

    @pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "preprocessor_config.json"])
    def test_remote_code(self, tmp_path, name):
        repository = local_model(tmp_path, **{name: '{"auto_map": {"AutoConfig": "modeling.Config"}}'})
        with pytest.raises(BlockedError, match=f"{name} holds auto_map"):
            models.check_safety(repository)

    @pytest.mark.parametrize("named", ["null", "{}"])
    def test_an_entry_that_names_no_code_is_none(self, tmp_path, named):
        models.check_safety(local_model(tmp_path, **{"config.json": f'{{"auto_map": {named}}}'}))

    @pytest.mark.parametrize(
        "name", ["pytorch_model.bin", "model.pt", "model.pkl", "tf_model.h5", "flax_model.msgpack"]
    )
    def test_other_formats(self, tmp_path, name):
        repository = local_model(tmp_path, **{name: b"\x80\x04."})
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(BlockedError, match=r"onvert them to safetensors") as caught:
            models.check_safety(models.resolve(str(repository.folder)))
        assert name in str(caught.value)

    def test_no_weights_at_all(self, tmp_path):
        write_model(tmp_path, **{"training_args.bin": b"x"})
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(BlockedError, match="holds no weights"):
            models.check_safety(models.resolve(str(tmp_path)))

    def test_safetensors_under_a_name_that_is_not_loaded(self, tmp_path):
        write_model(tmp_path)
        (tmp_path / "model.safetensors").rename(tmp_path / "weights.safetensors")
        with pytest.raises(BlockedError, match="names that transformers loads"):
            models.check_safety(models.resolve(str(tmp_path)))

    def test_an_adapter_whose_settings_are_not_understood(self, tmp_path):
        with pytest.raises(BlockedError, match="Merge it"):
            models.check_safety(local_model(tmp_path, **{"adapter_config.json": "{}"}))

    def test_pickles_are_loaded_only_where_that_is_allowed_and_nothing_else_is_there(self, tmp_path):
        sound = saved({"weight": torch.ones(2)})
        both = local_model(tmp_path / "both", **{"pytorch_model.bin": sound})
        alone = write_model(tmp_path / "alone", **{"pytorch_model.bin": sound})
        (alone / "model.safetensors").unlink()
        refused = models.resolve(str(alone))
        allowed = replace(refused, allows_pickle=True)

        assert models.weight_files(replace(both, allows_pickle=True)) == ("model.safetensors",)
        assert models.weight_files(allowed) == ("pytorch_model.bin",)
        models.check_safety(allowed)
        with pytest.raises(BlockedError, match="allow_pickle=true"):
            models.check_safety(refused)
        before = models.digests(allowed)
        (alone / "pytorch_model.bin").write_bytes(saved({"weight": torch.zeros(2)}))
        assert models.digests(allowed)["weights"] != before["weights"]
        (alone / "pytorch_model.bin").write_bytes(saved(torch.nn.Linear(1, 1)))
        with pytest.raises(BlockedError, match="is a pickle that is not loaded"):
            models.check_safety(allowed)

    @pytest.mark.parametrize("shard", ["../x.bin", "/x.bin", "x.safetensors", "x.pt"])
    def test_an_index_of_pickles_names_pickles_inside(self, tmp_path, shard):
        files = {"pytorch_model.bin.index.json": json.dumps({"weight_map": {"weight": shard}}), "x.safetensors": b""}
        write_model(tmp_path / "model", **files)
        (tmp_path / "model/model.safetensors").unlink()
        with pytest.raises(BlockedError, match="Only bin files inside"):
            models.check_safety(replace(models.resolve(str(tmp_path / "model")), allows_pickle=True))

    def test_weights_of_a_hub_model_are_judged_before_they_are_downloaded(self, loopback_hub, environment, tiny_model):
        (tiny_model / "model.safetensors").rename(tiny_model / "pytorch_model.bin")
        message = refusal(environment, "everything('Org/Tiny')", kind="BlockedError")
        assert "pytorch_model.bin" in message
        assert not [request for request in loopback_hub.requests if "pytorch_model.bin" in request.path]

    @pytest.mark.parametrize(
        ("shard", "words"),
        [
            ("model-2.safetensors", "1 of 2 weight files that the repository lacks"),
            ("../model-2.safetensors", "inside the repository"),
            ("/etc/model-2.safetensors", "inside the repository"),
            ("..\\model-2.safetensors", "inside the repository"),
            ("model-2.bin", "inside the repository"),
            (7, "inside the repository"),
        ],
    )
    def test_a_sharded_index(self, tmp_path, shard, words):
        index = json.dumps({"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": shard}})
        write_model(
            tmp_path, **{"model.safetensors.index.json": index, "model-1.safetensors": WEIGHTS, "model-2.bin": b"x"}
        )
        (tmp_path / "model.safetensors").unlink()
        with pytest.raises(BlockedError, match=words):
            models.check_safety(models.resolve(str(tmp_path)))

    def test_a_sound_sharded_model_on_the_hub(self, environment, tiny_model):
        index = {"metadata": {}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
        second = save({"b": np.ones(3, np.float32)})
        write_model(
            tiny_model,
            **{
                "model.safetensors.index.json": json.dumps(index),
                "model-1.safetensors": WEIGHTS,
                "model-2.safetensors": second,
            },
        )
        (tiny_model / "model.safetensors").unlink()
        answer = ask(environment, "everything('Org/Tiny')")
        assert (Path(answer["folder"]) / "model-2.safetensors").read_bytes() == second
        assert answer["digests"]["weights"] == models.digests(models.resolve(str(tiny_model)))["weights"]

    @pytest.mark.parametrize("named", ["../x.safetensors", "pytorch_model.bin", "none.safetensors"])
    def test_weights_named_by_the_configuration(self, tmp_path, named):
        config = json.dumps({"transformers_weights": named})
        with pytest.raises(BlockedError):
            models.check_safety(local_model(tmp_path / "model", **{"config.json": config, "pytorch_model.bin": b"x"}))

    def test_a_link_out_of_a_local_folder(self, tmp_path):
        write_model(tmp_path / "model")
        (tmp_path / "model/vocab.txt").symlink_to("/etc/hostname")
        with pytest.raises(BlockedError, match=r"vocab\.txt leads outside"):
            models.check_safety(models.resolve(str(tmp_path / "model")))

    def test_a_folder_behind_a_link(self, tmp_path):
        write_model(tmp_path / "model")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "model/sub").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(BlockedError, match="sub leads outside"):
            models.check_safety(models.resolve(str(tmp_path / "model")))

    def test_a_cached_snapshot_given_as_a_folder_is_accepted(self, environment, tiny_model):
        folder = ask(environment, "everything('Org/Tiny')")["folder"]
        assert Path(folder, "model.safetensors").is_symlink()
        models.check_safety(models.resolve(folder))

    def test_blobs_that_several_cached_models_share(self, environment, tiny_model):
        online = ask(environment, "everything('Org/Tiny')")
        blob = Path(online["folder"], "model.safetensors").resolve()
        shared = blob.parents[2] / "blobs/ab" / ("ab" * 32)
        shared.parent.mkdir(parents=True)
        blob.rename(shared)
        blob.symlink_to(os.path.relpath(shared, blob.parent))
        assert ask(environment, "everything('Org/Tiny')") == online
        models.check_safety(models.resolve(online["folder"]))

    @pytest.mark.parametrize("content", ["[]", "{", '{"a": ' * 5000])
    def test_a_configuration_that_is_not_a_json_object(self, tmp_path, content):
        with pytest.raises(HubError, match=r"config\.json is not"):
            models.check_safety(local_model(tmp_path, **{"config.json": content}))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            (2**40).to_bytes(8, "little") + b"{}",
            (2).to_bytes(8, "little") + b"[]",
            WEIGHTS[:-1],
            b"\x80\x04.",
        ],
    )
    def test_a_broken_safetensors_file(self, tmp_path, content):
        with pytest.raises(BlockedError, match="not a sound safetensors file"):
            models.check_safety(local_model(tmp_path, **{"model.safetensors": content}))

    @settings(max_examples=40, deadline=None)
    @given(length=st.integers(min_value=0, max_value=2**64 - 1))
    def test_no_false_header_length_passes(self, tmp_path_factory, length):
        folder = tmp_path_factory.mktemp("model")
        if length == int.from_bytes(WEIGHTS[:8], "little"):
            return
        with pytest.raises(BlockedError):
            models.check_safety(
                local_model(folder, **{"model.safetensors": length.to_bytes(8, "little") + WEIGHTS[8:]})
            )

    def test_a_git_lfs_pointer(self, tmp_path):
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
        with pytest.raises(BlockedError, match="git lfs pull"):
            models.check_safety(local_model(tmp_path, **{"model.safetensors": pointer}))


class TestDigests:
    def test_they_depend_on_content_alone(self, tmp_path):
        first = models.digests(local_model(tmp_path / "a", **{"tokenizer.json": "{}"}))
        again = local_model(
            tmp_path / "b", **{"tokenizer.json": "{}", "README.md": "another card", "checkpoint-1/vocab.txt": "x"}
        )
        os.utime(tmp_path / "b/model.safetensors", (1, 1))
        assert models.digests(again) == first
        assert first["config"] == hashlib.sha256(b"{}").hexdigest()

    @pytest.mark.parametrize(
        ("key", "name", "content"),
        [
            ("weights", "model.safetensors", save({"weight": np.zeros(3, np.float32)})),
            ("processor", "tokenizer.json", "[]"),
            ("processor", "preprocessor_config.json", "{}"),
            ("config", "config.json", '{"a": 1}'),
        ],
    )
    def test_each_sees_its_own_files(self, tmp_path, key, name, content):
        before = models.digests(local_model(tmp_path / "a", **{"tokenizer.json": "{}"}))
        after = models.digests(local_model(tmp_path / "b", **{"tokenizer.json": "{}", name: content}))
        assert {found for found in before if before[found] != after[found]} == {key}

    def test_weights_must_be_fetched_first(self, environment, tiny_model):
        assert "Fetch the weights first" in refusal(environment, "models.digests(models.resolve('Org/Tiny'))")

    def test_a_damaged_cache_is_noticed(self, environment, tiny_model):
        path = Path(ask(environment, "everything('Org/Tiny')")["folder"], "model.safetensors")
        path.write_bytes(save({"weight": np.ones(30_000, np.float32)}))
        assert "damaged" in refusal(environment, "everything('Org/Tiny')")
