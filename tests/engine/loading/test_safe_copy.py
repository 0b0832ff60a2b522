"""Safetensors copies of pickled checkpoints."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from helpers.pickle_making import saved
from safetensors.torch import load_file

from verify.engine.loading import safe_copy as module
from verify.engine.loading.safe_copy import require_torch, safe_copy
from verify.errors import BlockedError, EngineError, StoreError

TIED = torch.randn(7, 5)
STATE = {
    "a": TIED,
    "b": TIED,
    "slice": TIED[2:4],
    "turned": TIED.T,
    "half": torch.ones(3).half(),
    "id": torch.ones(2, 2).long(),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "home" / "verify" / "safetensors"
    monkeypatch.setattr(module, "copies_folder", lambda: folder)
    return folder


def written(folder, data):
    folder.mkdir(exist_ok=True)
    file = folder / "pytorch_model.bin"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("legacy", [False, True])
def test_a_copy_holds_every_tensor_to_the_bit(cache, tmp_path, legacy):
    copy = safe_copy(written(tmp_path / "model", saved(STATE, legacy=legacy)))

    found = load_file(copy)
    assert found.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    assert copy.parent == cache
    assert [one.name for one in (tmp_path / "model").iterdir()] == ["pytorch_model.bin"]


def test_a_pickle_is_opened_once(cache, tmp_path, monkeypatch):
    file = written(tmp_path / "model", saved(STATE))
    first = safe_copy(file)
    monkeypatch.setattr(torch, "load", lambda *arguments, **options: pytest.fail("it was opened again"))

    assert safe_copy(file) == first


def test_a_damaged_copy_is_made_again(cache, tmp_path):
    file = written(tmp_path / "model", saved(STATE))
    copy = safe_copy(file)
    sound = copy.read_bytes()
    copy.write_bytes(sound[:-1] + b"\xff")
    (cache / "half-written.part").write_bytes(b"x")

    assert safe_copy(file).read_bytes() == sound


def test_a_pickle_that_changes_while_it_is_read_gives_no_copy(cache, tmp_path, monkeypatch):
    file = written(tmp_path / "model", saved(STATE))
    load = torch.load

    def changing(*arguments, **options):
        found = load(*arguments, **options)
        with file.open("ab") as end:
            end.write(b"x")
        return found

    monkeypatch.setattr(torch, "load", changing)
    with pytest.raises(EngineError, match="changed while it was read"):
        safe_copy(file)
    assert not list(cache.glob("*.safetensors"))


def test_another_content_has_a_copy_of_its_own(cache, tmp_path):
    file = written(tmp_path / "model", saved(STATE))
    first = safe_copy(file)
    file.write_bytes(saved({"a": torch.zeros(1)}))

    assert safe_copy(file) != first
    assert load_file(safe_copy(file)).keys() == {"a"}


def test_several_processes_at_once_get_the_same_sound_copy(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    given = written(tmp_path / "model", saved(STATE))
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = {future.result() for future in [pool.submit(safe_copy, given) for _ in range(6)]}

    (copy,) = found
    assert copy.is_relative_to(tmp_path / "home")
    assert torch.equal(load_file(copy)["a"], TIED)


def test_a_cache_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(module, "copies_folder", lambda: tmp_path / "file" / "safetensors")

    with pytest.raises(StoreError, match="HF_HOME"):
        safe_copy(written(tmp_path / "model", saved(STATE)))


@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cu121", "2.6.0", "2.9.1"])
def test_a_torch_with_known_ways_around_weights_only_is_refused(version):
    with pytest.raises(BlockedError, match=r"2\.10 or newer.*CVE"):
        require_torch(version)


@pytest.mark.parametrize("version", ["2.10.0", "2.13.0+cpu", "2.11.0a0+git1234", "3.0"])
def test_a_torch_without_them_is_not(version):
    require_torch(version)
