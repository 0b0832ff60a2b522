"""What both ends of a fork server (forks.py, fork_server.py) agree on: what can be forked, and how to ask for it."""

from __future__ import annotations

import ctypes
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
OURS = {str(ROOT), str(ROOT / "tests"), str(ROOT / "scripts")}

COMMAND, LIFELINE, LAUNCHER = "verify", "verify.processes.lifeline", "torch.distributed.run"
WORKER = "verify.sweeping.workers.worker"
SERVER_NAME = "fork-server"
"""The name of a server among processes, by which tests leave it out of what a command has started."""

BEFORE_PYTHON = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_")
BEFORE_LIBRARIES = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "TOKENIZERS_", "XDG_", "HOME", "NLTK_")
_NO_MATTER = (
    *("PYTHONPATH", "PYTHONSAFEPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"),  # these are set in each fork
    *("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"),  # these change no result
)
PR_SET_NAME, PR_SET_CHILD_SUBREAPER = 15, 36
HEADER = struct.Struct("!I")


def module_of(words: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module of ours that ``python WORDS`` runs and the arguments of it; None for anything else."""
    rest = list(words)
    while rest and rest[0] in ("-P", "-u"):
        del rest[0]
    if len(rest) < 2 or rest[0] != "-m":
        return None
    module, arguments = rest[1], rest[2:]
    if module in (COMMAND, WORKER) or (
        module == LIFELINE and len(arguments) > 1 and arguments[1].startswith(("verify.", LAUNCHER))
    ):
        return module, arguments
    return None


def starts_others(module: str, arguments: Sequence[str]) -> bool:
    return module == COMMAND or (module == LIFELINE and arguments[1] == LAUNCHER)


def variables(environment: Mapping[str, str], prefixes: tuple[str, ...]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, value) for name, value in environment.items() if name.startswith(prefixes) and name not in _NO_MATTER
    )


def prctl(option: int, value: Any) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def send(end: socket.socket, request: Mapping[str, Any], files: Sequence[int]) -> None:
    content = json.dumps(request).encode()
    socket.send_fds(end, [HEADER.pack(len(content))], files)
    end.sendall(content)


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]]:
    header, files, _, _ = socket.recv_fds(end, HEADER.size, 64)
    if len(header) < HEADER.size:
        raise EOFError
    return json.loads(read(end, HEADER.unpack(header)[0])), files


def read(end: socket.socket, count: int) -> bytes:
    content = b""
    while len(content) < count:
        if not (part := end.recv(count - len(content))):
            raise EOFError
        content += part
    return content
