"""The devices that a sweep has: the GPUs of this machine, or the cores and memory of its CPU; torch is not needed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from verify.config import VerifyConfig
from verify.errors import UsageError

CPU, GPU = "CPU", "GPU"
_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""Where Linux says how much memory a container may use, in its two versions of control groups."""


@dataclass(frozen=True)
class Device:
    """A GPU, or a worker's share of a CPU.

    ``name`` is how ``CUDA_VISIBLE_DEVICES`` calls it, empty for a CPU; ``memory`` is in bytes.
    """

    name: str
    memory: int
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
    def memory(self) -> int:
        """Bytes of the smallest device."""
        return min((device.memory for device in self.each), default=0)


def devices_here(config: VerifyConfig) -> Devices:
    """The devices of this machine that ``engine.device`` and ``sweep.workers`` leave to a sweep.

    Raises UsageError if a GPU is asked for that is not here.
    """
    gpus, cores = _gpus_asked_for(config.engine.device), core_count()
    if gpus:
        used = gpus[: config.sweep.workers or len(gpus)]
        return Devices(GPU, tuple(used), max(cores // len(used), 1))
    count = config.sweep.workers or cores
    return Devices(CPU, (Device("", available_memory() // count),) * count, max(cores // count, 1))


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

    Raises UsageError if a GPU is asked for that is not here.
    """
    return [device.name for device in _gpus_asked_for(config.engine.device)]


def visible(found: Sequence[tuple[str, str, int, str]], chosen: str | None) -> list[Device]:
    """The GPUs among those ``found`` (index, UUID, bytes, model) that ``CUDA_VISIBLE_DEVICES`` leaves.

    As in CUDA, a number or the beginning of a UUID names one, and nothing counts from the first name on that names
    none. Where the variable is not set (None), all count.
    """
    if chosen is None:
        return [Device(index, memory, model) for index, _, memory, model in found]
    devices = []
    for name in (part.strip() for part in chosen.split(",")):
        one = next((gpu for gpu in found if gpu[0] == name or (len(name) > 4 and gpu[1].startswith(name))), None)
        if one is None:
            break
        devices.append(Device(name, one[2], one[3]))
    return devices


def core_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def _gpus_asked_for(device: str) -> list[Device]:
    if device in ("cpu", "mps"):
        return []
    gpus = visible(_gpus(), os.environ.get("CUDA_VISIBLE_DEVICES"))
    kind, _, number = device.partition(":")
    if number:
        gpus = gpus[int(number) : int(number) + 1]
    if kind == "cuda" and not gpus:
        raise UsageError(
            f"engine.device={device}: this machine shows no such GPU (nvidia-smi lists them, and CUDA_VISIBLE_DEVICES "
            "may hide some). Use engine.device=auto or engine.device=cpu."
        )
    return gpus


def _gpus() -> list[tuple[str, str, int, str]]:
    """What nvidia-smi lists: index, UUID, bytes and model of every GPU; nothing where there is none."""
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return parsed(done.stdout)


def parsed(listing: str) -> list[tuple[str, str, int, str]]:
    """The lines of ``nvidia-smi --query-gpu=index,uuid,memory.total,name --format=csv,noheader,nounits`` (MiB)."""
    found = (re.fullmatch(r"(\d+), *(\S+), *(\d+), *(.+)", line.strip()) for line in listing.splitlines())
    return [(line[1], line[2], int(line[3]) << 20, line[4]) for line in found if line]
