"""The processes that read many cards."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeping.sweeping import is_running, wait_until

ROOT = Path(__file__).parents[3]
POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from verify.sweeping.plan import cards

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=cards._begin, initargs=(None, None)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="finds the processes in /proc")
def test_a_process_that_reads_cards_ends_with_the_command_that_was_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(POOL)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True) as command:
        reader = int(command.stdout.readline())
        command.kill()
    wait_until(lambda: not is_running(reader), 10)
