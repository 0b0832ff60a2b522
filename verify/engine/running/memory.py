"""What memory processes hold, what their share of the machine's is, and ending those that outgrow it.

Counted is resident memory that the system cannot take back: not the pages of files, such as of weights that are mapped.
A limit on address space (RLIMIT_AS) would be simpler and is of no use: CUDA reserves far more than it ever touches.

Run as a script, ``memory.py PROCESS BYTES``, it watches its parent from outside, where no call that keeps Python's lock
can hold it up. So nothing but the standard library is imported here.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

BETWEEN_LOOKS = 0.1  # seconds
LEAST = 1_000_000_000
"""Bytes: no share is smaller, for the libraries alone take half of it."""

_RESERVE, _MOST_RESERVED = 0.05, 2_000_000_000
_PAGE = os.sysconf("SC_PAGE_SIZE")


def share_of_machine(processes: int, root: Path = Path("/")) -> int:
    """The bytes that each of so many processes may hold, of what is free now or half of the machine if that is more.

    The machine is what the control group allows, where that is less. A twentieth, 2 GB at most, stays free.
    """
    limit = os.sysconf("SC_PHYS_PAGES") * _PAGE
    free = _available(root, limit)
    for group_limit, used in _groups(root):
        limit, free = min(limit, group_limit), min(free, group_limit - used)
    usable = max(free, limit // 2) - min(int(_RESERVE * limit), _MOST_RESERVED)
    return max(usable // processes, min(LEAST, limit))


def family(process: int, *, session: int | None = None) -> list[int]:
    """The process and all that descend from it; with ``session`` only those that belong to that one."""
    found, left = [], [process]
    while left:
        one = left.pop()
        with contextlib.suppress(OSError):
            if session is None or os.getsid(one) == session:
                found.append(one)
                left += _children(one)
    return found


def held(processes: Iterable[int]) -> int:
    """The bytes that processes hold together; those that have ended hold nothing."""
    return sum(map(_held, processes))


def outgrown(bytes_held: int, allowed: int) -> str:
    """The sentence about a process that took too much, and what helps."""
    return (
        f"The worker held {bytes_held / 1e9:.1f} GB of memory and was ended: its share of this machine is "
        f"{allowed / 1e9:.1f} GB. Use a smaller engine.batch_size, engine.device_map=auto, engine.dtype=bfloat16 or a "
        "machine with more memory; engine.memory=SIZE sets another share."
    )


def end(processes: Iterable[int]) -> None:
    """Kill processes; those that have ended are passed over."""
    for one in processes:
        with contextlib.suppress(OSError):
            os.kill(one, signal.SIGKILL)


def watch_me(allowed: int) -> subprocess.Popen[bytes]:
    """Have this process, with what it starts in its session, ended once it holds more; its log has the reason then."""
    command = [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(allowed)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def main(process: int, allowed: int) -> None:
    """Watch the parent until it ends or holds more than it may."""
    session = os.getsid(process)
    while os.getppid() == process:
        now = held(processes := family(process, session=session))
        if now > allowed:
            sys.stderr.write(f"{outgrown(now, allowed)}\n")
            sys.stderr.flush()
            end(one for one in processes if one != os.getpid())
            return
        time.sleep(BETWEEN_LOOKS)


def _held(process: int) -> int:
    """What the system cannot take back of a process's memory; all that is resident where it is not told apart."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0 if Path("/proc/self/status").exists() else _told_by_psutil(process)
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    names = ("RssAnon", "RssShmem") if "RssAnon" in lines else ("VmRSS",)
    return sum(1024 * int(lines[name].split()[0]) for name in names if name in lines)


def _told_by_psutil(process: int) -> int:
    """Where there is no /proc; psutil comes with accelerate."""
    try:
        psutil = importlib.import_module("psutil")
        return int(psutil.Process(process).memory_info().rss)
    except Exception:  # none installed, or the process has ended
        return 0


def _children(process: int) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            yield from map(int, file.read_text().split())


def _available(root: Path, total: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return total


def _groups(root: Path) -> Iterator[tuple[int, int]]:
    """The limit of every control group around this process that has one, and what is in use of it, in bytes."""
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            top = root / "sys/fs/cgroup" / controllers
            limit, use = ("limit_in_bytes", "usage_in_bytes") if controllers else ("max", "current")
            group = top / path.lstrip("/")
            for one in (group, *group.parents):
                with contextlib.suppress(OSError, ValueError):  # "max": without a limit
                    yield int((one / f"memory.{limit}").read_text()), _in_use(one, use)
                if one == top:
                    break


def _in_use(group: Path, use: str) -> int:
    """What a group uses, without the pages of files that the system takes back when it needs them."""
    kept = 0
    with contextlib.suppress(OSError):
        for line in (group / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                kept = max(kept, int(value))
    return int((group / f"memory.{use}").read_text()) - kept


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
