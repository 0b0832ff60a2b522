import math
import os
import sys

import pytest

from verify.configuration.compose import compose_config
from verify.errors import UsageError
from verify.sweeping.plan import devices
from verify.sweeping.plan.devices import (
    CPU,
    GPU,
    available_memory,
    devices_for,
    gpu_names,
    is_unlisted,
    parsed,
    takes_several_processes,
    visible,
)

LISTING = """\
0, GPU-5b9ab0c2-0000-1111-2222-333344445555, 81559, NVIDIA H100 80GB HBM3
1, GPU-77aa0011-0000-1111-2222-333344445555, 24576, NVIDIA GeForce RTX 4090
2, GPU-77aa9999-0000-1111-2222-333344445555, 24576, NVIDIA GeForce RTX 4090
"""


@pytest.fixture(autouse=True)
def nothing_else(monkeypatch):
    """Whatever this machine has beside what nvidia-smi lists does not count."""
    monkeypatch.setattr(devices, "_DRIVERS", ())
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def three_gpus(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists three GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


@pytest.fixture
def no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def a_driver(no_gpu, tmp_path, monkeypatch):
    """A machine with a GPU, of AMD's or without nvidia-smi."""
    (tmp_path / "kfd").write_text("")
    monkeypatch.setattr(devices, "_DRIVERS", (str(tmp_path / "kfd"),))


def config(*settings):
    return compose_config(None, list(settings))


def test_a_listing_is_read_line_by_line():
    found = parsed(LISTING + "\n[N/A], broken\n")
    assert [(index, memory) for index, _, memory, _ in found] == [
        ("0", 81559 * 2**20),
        ("1", 24576 * 2**20),
        ("2", 24576 * 2**20),
    ]
    assert found[0][3] == "NVIDIA H100 80GB HBM3"


@pytest.mark.parametrize("said", ["[N/A]", "[Not Supported]"])
def test_a_gpu_that_states_no_memory_counts(said):
    (gpu,) = parsed(f"0, GPU-1234, {said}, NVIDIA GB10\n")
    assert gpu == ("0", "GPU-1234", math.inf, "NVIDIA GB10")


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (None, ["0", "1", "2"]),
        ("", []),
        ("-1", []),
        ("2,0", ["2", "0"]),
        (" 1 , 2 ", ["1", "2"]),
        ("GPU-5b9a", ["GPU-5b9a"]),
        ("0,7,1", ["0"]),
        ("NoDevFiles", []),
        ("MIG-1a2b,MIG-3c4d", ["MIG-1a2b", "MIG-3c4d"]),
        ("1,MIG-GPU-5b9ab0c2/1/0", ["1", "MIG-GPU-5b9ab0c2/1/0"]),
        ("GPU-0000,1", []),
    ],
)
def test_visible_devices_are_those_that_cuda_shows(chosen, names):
    assert [device.name for device in visible(parsed(LISTING), chosen)] == names


def test_a_gpu_is_a_worker(three_gpus, monkeypatch):
    found = devices_for(config())
    assert (found.kind, found.workers, found.memory) == (GPU, 3, 24576 * 2**20)
    assert gpu_names(config()) == ["0", "1", "2"]
    assert devices_for(config("sweep.workers=1")).memory == 81559 * 2**20
    assert gpu_names(config("engine.device=cuda:1")) == ["1"]
    assert gpu_names(config("engine.device=cpu")) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert gpu_names(config("engine.device=cuda")) == ["2"]


def test_a_gpu_that_is_not_there_is_refused(three_gpus, monkeypatch):
    with pytest.raises(UsageError, match=r"engine\.device=cuda:3"):
        gpu_names(config("engine.device=cuda:3"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UsageError, match="CUDA_VISIBLE_DEVICES"):
        devices_for(config("engine.device=cuda"))


def test_parts_of_a_gpu_are_workers_of_unknown_memory(no_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-1a2b,GPU-3c4d")
    found = devices_for(config())
    assert (found.kind, found.workers, found.memory) == (GPU, 2, math.inf)
    assert gpu_names(config("engine.device=cuda:1")) == ["GPU-3c4d"]


def test_a_gpu_that_nothing_lists_is_one_worker_s(a_driver, monkeypatch):
    for device in ("auto", "cuda", "cuda:1"):
        found = devices_for(config(f"engine.device={device}", "sweep.workers=3"))
        assert (found.kind, found.workers, found.memory) == (GPU, 1, math.inf)
        assert gpu_names(config(f"engine.device={device}")) == []
        assert is_unlisted(device)
    assert devices_for(config("engine.device=cpu")).kind == CPU
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices_for(config()).kind == CPU


def test_a_gpu_of_apple_s_is_one_worker_s(no_gpu, monkeypatch):
    assert devices_for(config("engine.device=mps")).workers == 1
    assert not is_unlisted("auto")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert is_unlisted("auto")
    assert not is_unlisted("cpu")
    assert (devices_for(config()).kind, devices_for(config()).workers) == (GPU, 1)


def test_what_nvidia_smi_lists_is_all_there_is(three_gpus, monkeypatch):
    monkeypatch.setattr(devices, "_DRIVERS", ("/",))
    assert not is_unlisted("auto")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    assert devices_for(config()).kind == CPU


@pytest.mark.parametrize("setting", ["engine.processes=2", "engine.max_memory={0:20GiB,1:20GiB}"])
def test_one_model_cannot_have_several_gpus_by_a_setting(three_gpus, setting):
    words = [setting, *(["engine.device_map=auto"] if "memory" in setting else [])]
    for asked in (devices_for, gpu_names):
        with pytest.raises(UsageError, match=setting.partition("=")[0].replace(".", r"\.")):
            asked(config(*words))
    assert devices_for(config(*words, "engine.device=cpu")).kind == CPU


def test_the_memory_of_a_worker_s_own_gpu_may_be_bounded(three_gpus):
    assert gpu_names(config("engine.max_memory={0:20GiB,cpu:9GiB}", "engine.device_map=auto")) == ["0", "1", "2"]


def test_without_gpus_workers_share_cores_and_memory(no_gpu, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(devices, "available_memory", lambda: 64 << 30)
    found = devices_for(config())
    assert (found.kind, found.workers, found.threads, found.memory) == (CPU, 8, 1, 8 << 30)
    found = devices_for(config("sweep.workers=3"))
    assert (found.workers, found.threads, found.memory) == (3, 2, (64 << 30) // 3)


def test_of_a_cluster_nothing_is_known(three_gpus):
    found = devices_for(config("engine=ray", "sweep.workers=12"))
    assert (found.kind, found.workers, found.is_known) == (GPU, 12, False)


def test_this_machine_has_memory():
    assert 2**20 < available_memory() < 2**50


@pytest.mark.parametrize(
    ("modes", "expected"),
    [("Default\nDefault\n", True), ("[N/A]\n", True), ("Default\nExclusive_Process\n", False)],
)
def test_a_gpu_takes_several_processes_unless_it_is_set_to_one(tmp_path, monkeypatch, modes, expected):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncase $1 in *compute_mode*) printf '{modes}';; esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert takes_several_processes() == expected


def test_nvidia_smi_that_fails_means_no_gpu(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' ; exit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_names(config()) == []
