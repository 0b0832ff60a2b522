"""A fork that stands for a start of a command is the process that the start would have made."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping.sweeping import children_of, wait_until

from helpers import forks

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")


def start(tmp_path, *words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "verify", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@pytest.mark.parametrize(("words", "code"), [(["tasks", "list"], 0), (["judge", "nothing"], 2), (["chek"], 2)])
def test_it_prints_and_ends_as_a_start_does(tmp_path, words, code):
    with forks.for_real():
        real = start(tmp_path, *words)
    forked = start(tmp_path, *words)
    assert "fork_server" in Path(f"/proc/{forked.pid}/cmdline").read_text()
    assert "fork_server" not in Path(f"/proc/{real.pid}/cmdline").read_text()
    assert forked.communicate() == real.communicate()
    assert forked.returncode == real.returncode == code


def test_it_is_a_child_in_a_session_of_its_own_that_a_signal_ends(tmp_path):
    process = start(tmp_path, "sweep", "suite=list", "--dry-run", start_new_session=True)  # reads standard input
    wait_until(lambda: process.pid in children_of(os.getpid()))
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/cwd").resolve() == tmp_path.resolve()
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_where_starts_are_the_point_there_is_no_fork(tmp_path):
    words = [sys.executable, "-m", "verify", "--version"]
    other = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    (tmp_path / "sitecustomize.py").write_text("print('was here')\n")
    done = subprocess.run(words, env=other, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("was here\n")
