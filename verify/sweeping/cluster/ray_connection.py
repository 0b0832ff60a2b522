"""Connecting with a Ray cluster, and saying what to do where that fails: Ray itself waits for minutes, or is silent."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from verify.engine.running.launch import MEMORY
from verify.errors import UsageError
from verify.processes.import_path import ROOT, SAFE, is_installed
from verify.sweeping.cluster.remote_task import logged

START = "RAY_AUTH_MODE=token ray start --head"
PATIENCE_ADDRESS = 10.0  # seconds
SETTINGS = 4


def connect(address: str | None, threads: int) -> None:
    """Connect this process with the running cluster. Raises UsageError, which says what to do about it."""
    if find_spec("ray") is None:
        raise UsageError(
            "engine.cluster=ray needs Ray, which is not installed here. Run "
            "`pip install 'verify-claims[ray]'` on every node of the cluster, and the same command again."
        )
    if address is not None:
        _check_address(address)
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # else `uv run` has all nodes look for modules in a copy of here
    import ray
    from ray._private import worker
    from ray.exceptions import AuthenticationError

    # what Ray reports of its nodes would go to standard output, among our own tables and objects
    worker.print_to_stdstream = lambda data, ignore_prefix: None
    environment = {SAFE: "1", **MEMORY, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    with _overheard() as heard, contextlib.chdir(_elsewhere()):  # Ray's processes would look for modules here, too
        try:
            ray.init(
                address=address or "auto",
                log_to_driver=False,
                logging_level="ERROR",
                runtime_env={"env_vars": environment},
            )
        except AuthenticationError:
            problem = _no_token(address)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            problem = _unreachable(address, error, heard.read_text(encoding="utf-8", errors="replace"))
        else:
            return
    raise UsageError(problem)


def _check_address(address: str) -> None:
    found = re.fullmatch(r"(?P<host>[^\s/:]+|\[[0-9a-fA-F:]+\]):(?P<port>\d{1,5})", address)
    if not found or int(found["port"]) > 65535:
        raise UsageError(
            f"engine.address={address}: must be HOST:PORT of a Ray cluster, as `ray start --head` prints it (its port "
            "is 6379 unless another one was chosen). Start the sweep on a machine that is a node of that cluster."
        )
    try:
        is_ray = _speaks_http2(found["host"].strip("[]"), int(found["port"]))
    except OSError as error:
        raise UsageError(
            f"engine.address={address}: nothing answers there ({error.strerror or error}). Start a Ray cluster with "
            f"`{START}`, or check the address."
        ) from error
    if not is_ray:
        raise UsageError(
            f"engine.address={address}: what answers there is not a Ray cluster. Give the HOST:PORT that `ray start "
            "--head` has printed (its port is 6379 unless another one was chosen)."
        )


def answers(address: str) -> bool:
    """Whether somebody listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
        return True
    return False


def _speaks_http2(host: str, port: int) -> bool:
    """Whether a server can be one of Ray, which would wait for minutes for anything else to answer.

    Ray speaks gRPC, thus HTTP/2, whose servers send a frame of type SETTINGS first (RFC 9113, section 3.4). With
    RAY_USE_TLS nothing can be said from outside. Raises OSError if there is no server.
    """
    with socket.create_connection((host, port), timeout=PATIENCE_ADDRESS) as stream:
        if os.environ.get("RAY_USE_TLS", "0") != "0":
            return True
        try:
            stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]))
            return stream.recv(9, socket.MSG_WAITALL)[3:4] == bytes([SETTINGS])
        except OSError:
            return False


def _elsewhere() -> Path:
    """A folder that nobody else fills: where this package is not installed, that which it comes from."""
    return Path("/") if is_installed() else ROOT


@contextlib.contextmanager
def _overheard() -> Iterator[Path]:
    """Keep to a file what Ray writes while it connects; it repeats a refusal every second."""
    with tempfile.TemporaryDirectory(prefix="verify-ray-") as folder:
        file = Path(folder) / "log"
        with logged(file):
            yield file


def _no_token(address: str | None) -> str:
    return (
        f"The Ray cluster {address or 'on this machine'} needs a token, and none is set here. Set RAY_AUTH_TOKEN to "
        "the token of the cluster (`ray get-auth-token` prints it on its head), or put it into ~/.ray/auth_token. For "
        "a cluster that runs without any, set RAY_AUTH_MODE=disabled: whoever reaches its ports can then run code on "
        "it."
    )


def _unreachable(address: str | None, error: Exception, heard: str) -> str:
    if "InvalidAuthToken" in heard:
        return (
            f"The Ray cluster {address or 'on this machine'} refused the token. Set RAY_AUTH_TOKEN to the one that its "
            "nodes were started with (`ray get-auth-token` prints it on its head), and RAY_AUTH_MODE to token, and run "
            "the same command again."
        )
    if address is None:
        return (
            f"No Ray cluster runs on this machine. Start one with `{START}`, add machines with `ray start "
            "--address=HOST:PORT`, and run the same command again; or name a running one with engine.address=HOST:PORT."
        )
    return (
        f"The Ray cluster {address} cannot be used from here ({said(error)}). Start the sweep on a machine that is "
        "a node of it, with the same versions of Ray and Python."
    )


def said(error: BaseException) -> str:
    """An error on one line, without the colours that Ray adds."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", " ".join(str(error).split()))[:400].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
