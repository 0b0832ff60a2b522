"""A Ray cluster on loopback: real nodes in processes of their own, ended by their process groups."""

import os
import re
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from sweeping.sweeping import children_of, wait_until

RAY = Path(sys.executable).with_name("ray")
SMALL = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats"]
START = 90.0
"""Seconds that a node may take to start on a busy machine."""


@dataclass(frozen=True)
class Node:
    """One node, started in the foreground so that all of it belongs to one process group."""

    process: subprocess.Popen[str]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def processes(self) -> list[int]:
        """Every process of the node: its services and those that work on tasks."""
        found, waiting = [], [self.process.pid]
        while waiting:
            found.append(waiting.pop())
            waiting += children_of(found[-1])
        return found

    def working(self, task: str = "perform") -> list[int]:
        """The processes of the node that work on a unit at the moment."""
        return [pid for pid in self.processes if f"ray::{task}" in title(pid)]

    def kill(self) -> None:
        """End everything of the node at once, as if somebody had pulled the plug."""
        for pid in self.processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)


@dataclass
class Cluster:
    """The nodes, their common token, and the address that others join at."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    nodes: list[Node] = field(default_factory=list)
    address: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        """That of a process which may use the cluster."""
        named = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        # a node that is lost is noticed within seconds
        quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4"}
        python = os.pathsep.join([str(Path(__file__).parents[3]), str(Path(__file__).parents[2])])
        return {**os.environ, **named, **quick, "PYTHONPATH": python, "HF_HUB_OFFLINE": "1", **more}

    def add(self) -> Node:
        """Start one more node: the head, if there is none yet."""
        at = [f"--address={self.address}"] if self.nodes else ["--head", "--port=0"]
        log = self.folder / f"node-{len(self.nodes)}.log"
        words = [str(RAY), "start", *at, "--node-ip-address=127.0.0.1", "--block", *SMALL]
        if not self.nodes:
            words += ["--include-dashboard=false", f"--temp-dir={self.folder}"]
        with log.open("w") as stream:
            process = subprocess.Popen(
                words,
                env=self.environment(),
                stdout=stream,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        node = Node(process, log)
        wait_until(lambda: "Ray runtime started" in node.said or process.poll() is not None, START)
        assert process.poll() is None, node.said
        if not self.nodes:
            self.address = re.search(r"--address='([^']+)'", node.said)[1]
        self.nodes.append(node)
        return node

    def stop(self) -> None:
        for node in reversed(self.nodes):
            node.kill()


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""
