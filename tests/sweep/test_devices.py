import pytest

from verify.compose import compose_config
from verify.errors import UsageError
from verify.sweep import devices
from verify.sweep.devices import CPU, GPU, available_memory, core_count, devices_for, gpu_names, parsed, visible

LISTING = """\
0, GPU-5b9ab0c2-0000-1111-2222-333344445555, 81559, NVIDIA H100 80GB HBM3
1, GPU-77aa0011-0000-1111-2222-333344445555, 24576, NVIDIA GeForce RTX 4090
2, GPU-77aa9999-0000-1111-2222-333344445555, 24576, NVIDIA GeForce RTX 4090
"""


@pytest.fixture
def three_gpus(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists three GPUs."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{LISTING}END\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


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


def test_without_gpus_workers_share_cores_and_memory(no_gpu, monkeypatch):
    monkeypatch.setattr(devices, "core_count", lambda: 8)
    monkeypatch.setattr(devices, "available_memory", lambda: 64 << 30)
    found = devices_for(config())
    assert (found.kind, found.workers, found.threads, found.memory) == (CPU, 8, 1, 8 << 30)
    found = devices_for(config("sweep.workers=3"))
    assert (found.workers, found.threads, found.memory) == (3, 2, (64 << 30) // 3)


def test_of_a_cluster_nothing_is_known(three_gpus):
    found = devices_for(config("engine=ray", "sweep.workers=12"))
    assert (found.kind, found.workers, found.is_known) == (GPU, 12, False)


def test_this_machine_has_cores_and_memory():
    assert core_count() >= 1
    assert 2**20 < available_memory() < 2**50


def test_nvidia_smi_that_fails_means_no_gpu(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed' ; exit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpu_names(config()) == []
