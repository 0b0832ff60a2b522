"""What pickled checkpoints hold, read without running them."""

from __future__ import annotations

import contextlib
import io
import time

import pytest
import torch
from helpers.pickle_making import FIRING, REFUSED, Call, saved

from verify.errors import BlockedError
from verify.hub.pickles import tensors_in

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

STATE = {"layer.weight": torch.arange(600.0).reshape(20, 30), "layer.bias": torch.ones(20, dtype=torch.float16)}


def names_of(data):
    return tensors_in(io.BytesIO(data), "pytorch_model.bin")


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_names_shapes_and_sizes_of_a_sound_checkpoint_are_known(legacy, protocol):
    found = names_of(saved(STATE, legacy=legacy, protocol=protocol))

    assert {name: (one.shape, one.size) for name, one in found.items()} == {
        "layer.weight": ((20, 30), 2400),
        "layer.bias": ((20,), 40),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_what_training_leaves_in_a_checkpoint_is_no_obstacle(legacy):
    module = torch.nn.BatchNorm1d(3)  # integers, and the versions of modules
    shared = torch.zeros(3, 3)
    state = {"norm": torch.nn.Parameter(torch.ones(2)), "tied": shared, "transposed": shared.T, "none": torch.zeros(0)}

    assert set(names_of(saved(module.state_dict(), legacy=legacy))) == set(module.state_dict())
    assert set(names_of(saved(state, legacy=legacy))) == set(state)


@pytest.mark.parametrize("build", FIRING)
def test_nothing_in_a_pickle_is_run(build, tmp_path, monkeypatch):
    payload = tmp_path / "fired"
    monkeypatch.setenv("VERIFY_PAYLOAD", str(payload))
    data = build(STATE)
    if build.__name__ != "first_of_several_pickles":  # of which torch reads on only after the first is what it expects
        file = tmp_path / "file.bin"
        file.write_bytes(data)
        with contextlib.suppress(Exception):  # that what was run gives no tensor
            torch.load(file, weights_only=False)
        assert payload.exists()
        payload.unlink()

    with pytest.raises(BlockedError):
        names_of(data)

    assert not payload.exists()


@pytest.mark.parametrize(("build", "reason"), REFUSED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_no_flat_mapping_of_tensors_is_refused_in_words(build, reason):
    data, began = build(STATE), time.monotonic()

    with pytest.raises(BlockedError, match="is a pickle that is not loaded") as refusal:
        names_of(data)

    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert time.monotonic() - began < 10


def test_bytes_that_are_no_checkpoint_at_all_are_refused():
    for data in (b"", b"\x80", b"PK\x03\x04", b"version https://git-lfs", bytes(1000), saved(Call(print))[:40]):
        with pytest.raises(BlockedError):
            names_of(data)


def test_every_cut_of_a_checkpoint_is_refused():
    state = {"weight": torch.ones(3)}
    for legacy in (False, True):
        data = saved(state, legacy=legacy)
        for length in range(0, len(data), 7):
            with pytest.raises(BlockedError):
                names_of(data[:length])
