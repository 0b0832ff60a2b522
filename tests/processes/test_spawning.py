"""A script without a guard for its main part is run once, however many processes it has started."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from verify.processes.spawning import without_main
print("begun")
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
    with without_main():
        found = pool.map(abs, [-1, -2])
    print(list(found))
import __main__
print(hasattr(__main__, "ProcessPoolExecutor"))
"""


def test_a_script_without_a_guard_is_run_once(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for given, text in ((["script.py"], None), (["-"], SCRIPT)):
        done = subprocess.run(
            [sys.executable, *given],
            cwd=tmp_path,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.stdout, done.returncode) == ("begun\n[1, 2]\nTrue\n", 0), done.stderr
