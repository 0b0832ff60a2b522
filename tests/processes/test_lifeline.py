"""Processes that end with the one that has started them, on the smallest ones there are."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sweeping.sweeping import is_running, send, wait_until

ROOT = Path(__file__).parents[2]
SLEEPS = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(os.getpid(), child.pid, *sys.argv[1:], flush=True)
child.wait()
"""
STARTS = """
import subprocess, sys
started = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, start_new_session=sys.argv[1] == "leader")
started.wait()
"""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds the processes in /proc")


@pytest.fixture
def start(tmp_path) -> Callable[..., tuple[subprocess.Popen[str], list[int]]]:
    """Starts a process that starts ours, which starts one more; gives the first, and the ids of the others."""
    (tmp_path / "sleeps.py").write_text(SLEEPS)

    def begin(role: str) -> tuple[subprocess.Popen[str], list[int]]:
        ours = [sys.executable, "-P", "-m", "verify.processes.lifeline", "0", "sleeps", "word"]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
        starter = subprocess.Popen(
            [sys.executable, "-c", STARTS, role, *ours],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        *pids, word = starter.stdout.readline().split()
        assert word == "word", "the module has its own arguments"
        return starter, [int(pid) for pid in pids]

    return begin


def ended(*pids: int) -> bool:
    return not any(map(is_running, pids))


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_all_that_was_started_ends_with_the_starter(start, how):
    starter, pids = start("leader")
    os.kill(starter.pid, how)
    starter.wait()
    wait_until(lambda: ended(*pids), 5)
    starter.stdout.close()


def test_a_process_that_is_held_ends_with_its_starter(start):
    starter, pids = start("leader")
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    starter.kill()
    starter.wait()
    wait_until(lambda: ended(*pids), 5)
    starter.stdout.close()


def test_a_process_in_the_group_of_others_ends_alone(start):
    starter, (ours, child) = start("follower")
    assert os.getpgid(ours) == starter.pid
    starter.kill()
    starter.wait()
    wait_until(lambda: ended(ours), 5)
    assert is_running(child), "the group is not ours to end"
    send(child, signal.SIGKILL)
    starter.stdout.close()


def test_a_process_runs_to_its_end_and_its_output_ends_with_it(tmp_path):
    (tmp_path / "says.py").write_text("import sys\nprint(__name__, sys.argv[1:], sys.path[0] in ('', sys.argv[1]))\n")
    words = [sys.executable, "-P", "-m", "verify.processes.lifeline", "0", "says", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    process = subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.read() == f"__main__ ['{tmp_path}'] False\n"
    assert process.wait() == 0
    process.stdin.close()
    process.stdout.close()
    wait_until(lambda: not _is_group(process.pid), 5)


def _is_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
