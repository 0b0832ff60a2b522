"""A run folder belongs to one run, and to the worker of a run that is gone until that worker is, too."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from verify.errors import StoreError
from verify.store.locking import WAITING, locked
from verify.store.runs import RunFolder

HOLDS = """
import sys
from pathlib import Path
from verify.store.locking import keep
[keep(Path(sys.argv[1])) for _ in '12']"""


def test_a_worker_that_is_still_there_is_waited_for_and_said_so(tmp_path):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", f"{HOLDS}; print('holds', flush=True); sys.stdin.read()", str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [worker.stdout.readline() for worker in workers] == ["holds\n"] * 2, "several hold it together"
    said, ends = [], threading.Timer(0.3, lambda: [worker.kill() for worker in workers])

    def emit(event):
        said.append(event["stage"])
        ends.start()

    with locked(RunFolder(tmp_path), emit):
        assert [worker.wait(0.1) for worker in workers] == [-9, -9]
    assert said == [WAITING]
    for worker in workers:
        worker.communicate()


def test_a_worker_does_not_wait_for_its_own_run(tmp_path):
    with locked(RunFolder(tmp_path), print):
        subprocess.run([sys.executable, "-c", HOLDS, str(tmp_path)], check=True, timeout=30)


def test_a_folder_that_cannot_be_written_is_an_error_and_stays_unlocked(tmp_path):
    (tmp_path / ".workers.lock").mkdir()
    for _ in range(2):
        with pytest.raises(StoreError, match="results=FOLDER"), locked(RunFolder(Path(tmp_path)), print):
            pass
