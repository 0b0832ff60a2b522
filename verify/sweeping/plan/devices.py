"""The devices that a sweep has: the GPUs of this machine, or the cores and memory of its CPU; torch is not needed."""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verify.configuration.schema import VerifyConfig
from verify.engine.running.launch import default_threads
from verify.errors import UsageError

CPU, GPU = "CPU", "GPU"
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may use, in its two versions of control groups."""
_DRIVERS = ("/dev/kfd", "/dev/nvidiactl")
"""Where Linux shows a GPU of AMD's, and one of NVIDIA's for which nvidia-smi may be missing."""
_UUIDS = ("MIG-", "GPU-")


@dataclass(frozen=True)
class Device:
    """A GPU, or a worker's share of a CPU.

    ``name`` is how ``CUDA_VISIBLE_DEVICES`` calls it, empty for a CPU and for a GPU that nvidia-smi does not list;
    ``memory`` is in bytes, infinite where it is not known.
    """

    name: str
    memory: float
    model: str = CPU


@dataclass(frozen=True)
class Devices:
    """What each worker has: ``kind`` is CPU or GPU, ``threads`` how many cores of the machine are a worker's.

    ``is_known`` is false for a cluster, of whose devices nothing is known until the sweep begins.
    """

    kind: str
    each: tuple[Device, ...]
    threads: int = 1
    is_known: bool = True

    @property
    def workers(self) -> int:
        return len(self.each)

    @property
    def memory(self) -> float:
        """Bytes of the smallest device, as far as they are known; infinite if none are."""
        return min((device.memory for device in self.each), default=0)


def devices_here(config: VerifyConfig) -> Devices:
    """The devices of this machine that ``engine.device`` and ``sweep.workers`` leave to a sweep.

    Raises UsageError if a GPU is asked for that is not here, or a setting asks for several in one worker.
    """
    gpus = _gpus_asked_for(config)
    if gpus:
        used = gpus[: config.sweep.workers or len(gpus)]
        return Devices(GPU, tuple(used), default_threads(len(used)))
    count = config.sweep.workers or default_threads(1)
    return Devices(CPU, (Device("", available_memory() // count),) * count, default_threads(count))


def devices_for(config: VerifyConfig) -> Devices:
    """The devices of this machine, or as many of the cluster that is asked for as are used at once.

    Raises UsageError as :func:`devices_here` does.
    """
    if config.engine.cluster is None:
        return devices_here(config)
    kind = CPU if config.engine.device == "cpu" else GPU
    return Devices(
        kind, (Device("", 0, kind),) * (config.sweep.workers or 1), config.engine.threads or 1, is_known=False
    )


def gpu_names(config: VerifyConfig) -> list[str]:
    """The GPUs of this machine that a sweep may use, as ``CUDA_VISIBLE_DEVICES`` takes them; none for the CPU.

    There are none either where :func:`is_unlisted` is true. Raises UsageError as :func:`devices_here` does.
    """
    return [device.name for device in _gpus_asked_for(config) if device.name]


def is_unlisted(device: str) -> bool:
    """Whether ``engine.device`` may mean a GPU that nvidia-smi does not list, such as one of Apple's or AMD's.

    Only torch knows whether there is one or several, and it is not asked: one worker has whatever there is.
    """
    kind = device.partition(":")[0]
    on_apple = sys.platform == "darwin" and platform.machine() == "arm64" and kind == "auto"
    if kind == "mps" or on_apple:
        return True
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return kind in ("auto", "cuda") and not hidden and any(Path(file).exists() for file in _DRIVERS) and not _gpus()


def takes_several_processes() -> bool:
    """Whether the GPUs of this machine let several processes use them; on clusters they may be set to one each."""
    return "exclusive" not in _asked("compute_mode").lower()


def visible(found: Sequence[tuple[str, str, float, str]], chosen: str | None) -> list[Device]:
    """The GPUs among those ``found`` (index, UUID, bytes, model) that ``CUDA_VISIBLE_DEVICES`` leaves.

    As in CUDA, a number or the beginning of a UUID names one, and nothing counts from the first name on that names
    none. The UUID of a part of a GPU (MIG), which is not among them, counts; so does any where nothing was found.
    Where the variable is not set (None), all count.
    """
    if chosen is None:
        return [Device(index, memory, model) for index, _, memory, model in found]
    devices = []
    for name in (part.strip() for part in chosen.split(",")):
        one = next((gpu for gpu in found if gpu[0] == name or (len(name) > 4 and gpu[1].startswith(name))), None)
        if one is None and name.startswith(_UUIDS[: 1 if found else 2]):
            one = (name, name, math.inf, GPU)
        if one is None:
            break
        devices.append(Device(name, one[2], one[3]))
    return devices


def available_memory() -> int:
    """Bytes of the machine's memory that programs can still have, no more than a container is allowed.

    Where the system does not say what is left (it is not Linux), all of its memory.
    """
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        if found := re.search(r"^MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE):
            free = int(found[1]) << 10
    except OSError:
        pass
    for file in _LIMITS:
        try:
            limit = Path(file).read_text().strip()
        except OSError:
            continue
        if limit.isdecimal():
            free = min(free, int(limit))
    return free


def _gpus_asked_for(config: VerifyConfig) -> list[Device]:
    """The GPUs to use; one without a name where torch alone knows what there is."""
    device = config.engine.device
    if device == "cpu":
        return []
    gpus = visible(_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES")) if device != "mps" else []
    if not gpus and is_unlisted(device):
        return [Device("", math.inf, GPU)]
    kind, _, number = device.partition(":")
    if number:
        gpus = gpus[int(number) : int(number) + 1]
    if kind == "cuda" and not gpus:
        raise UsageError(
            f"engine.device={device}: this machine shows no such GPU (nvidia-smi lists them, and CUDA_VISIBLE_DEVICES "
            "may hide some). Use engine.device=auto or engine.device=cpu."
        )
    if gpus:
        _refuse_several(config)
    return gpus


def _refuse_several(config: VerifyConfig) -> None:
    """Refuse settings by which one model would have several GPUs, where every worker has one."""
    if config.engine.processes > 1:
        raise UsageError(
            f"engine.processes={config.engine.processes}: in a sweep every model has one GPU, and as many models are "
            "checked at once as there are GPUs. Leave it out."
        )
    beyond = [str(name) for name in config.engine.max_memory or () if str(name).isdecimal() and int(name) > 0]
    if beyond:
        raise UsageError(
            f"engine.max_memory: names the GPU {beyond[0]}, and in a sweep every model has one GPU, which is number 0 "
            "to it. Give sizes to 0, cpu and disk only, or check this model by itself with verify check."
        )


def _gpus() -> list[tuple[str, str, float, str]]:
    """What nvidia-smi lists: index, UUID, bytes and model of every GPU; nothing where there is none."""
    return parsed(_asked("index,uuid,memory.total,name"))


def _asked(fields: str) -> str:
    """What nvidia-smi says of every GPU, a line each; nothing where there is none."""
    command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def parsed(listing: str) -> list[tuple[str, str, float, str]]:
    """The lines of ``nvidia-smi --query-gpu=index,uuid,memory.total,name --format=csv,noheader,nounits`` (MiB).

    Of a GPU that shares the machine's memory the memory is ``[N/A]``, which is infinite here.
    """
    found = (re.fullmatch(r"(\d+), *(\S+), *(?:(\d+)|\[.*?\]), *(.+)", line.strip()) for line in listing.splitlines())
    return [(line[1], line[2], int(line[3]) << 20 if line[3] else math.inf, line[4]) for line in found if line]
