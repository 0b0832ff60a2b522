import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verify.engine.running import memory
from verify.engine.running.memory import LEAST, end, family, held, outgrown, share_of_machine

GROWS = "import time\nkept = []\nwhile True:\n    kept.append(bytearray(b'x') * 20_000_000)\n    time.sleep(0.02)\n"
GB = 10**9


def group(root: Path, path: str, **values: object) -> None:
    folder = root / "sys/fs/cgroup" / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / f"memory.{name}").write_text(f"{value}\n")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine of 64 GB, of which so much is free, in the control groups that the line names."""
    monkeypatch.setattr(memory, "_PAGE", 64 * GB // os.sysconf("SC_PHYS_PAGES"))

    def make(free: int, line: str = "0::/") -> Path:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {free // 1024} kB\n")
        (tmp_path / "proc/self/cgroup").write_text(f"{line}\n")
        return tmp_path

    return make


def test_the_share_is_what_is_free_but_for_a_reserve_divided_among_the_processes(machine):
    root = machine(42 * GB)
    assert share_of_machine(1, root) == pytest.approx(40 * GB, rel=1e-3)
    assert share_of_machine(4, root) == pytest.approx(10 * GB, rel=1e-3)


def test_what_others_use_leaves_half_of_the_machine_at_least(machine):
    assert share_of_machine(1, machine(GB)) == pytest.approx(30 * GB, rel=1e-3)


def test_no_share_is_too_small_for_the_libraries(machine):
    assert share_of_machine(1000, machine(42 * GB)) == LEAST


def test_a_control_group_is_the_machine_where_it_allows_less(machine):
    root = machine(60 * GB, "0::/job/step")
    group(root, "job", max=10 * GB, current=9 * GB, stat=f"inactive_file {8 * GB}")
    group(root, "job/step", max="max", current=GB)
    assert share_of_machine(1, root) == pytest.approx(9 * GB - GB // 2, rel=1e-3)


def test_control_groups_of_the_first_version_count_too(machine):
    root = machine(60 * GB, "4:memory:/job")
    group(root, "memory/job", limit_in_bytes=10 * GB, usage_in_bytes=2 * GB)
    assert share_of_machine(1, root) == pytest.approx(7.5 * GB, rel=1e-3)


def test_what_a_family_holds_is_counted_and_all_of_it_is_ended():
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {'x = bytearray(300_000_000); input()'!r}])"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + 30
        while held(family(parent.pid)) < 290_000_000:
            assert time.monotonic() < until
            time.sleep(0.05)
        members = family(parent.pid)
        assert len(members) == 2
    finally:
        end(family(parent.pid))
        parent.wait()
    assert held([parent.pid]) == 0


def test_a_process_that_asked_for_it_is_ended_once_it_grows_and_its_log_says_why():
    code = f"from verify.engine.running.memory import watch_me\nwatch_me(300_000_000)\n{GROWS}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    assert ended.returncode == -9
    assert "its share of this machine is 0.3 GB" in ended.stderr
    assert float(ended.stderr.split("held ")[1].split(" GB")[0]) < 0.9, "it was noticed at once"


def test_the_sentence_names_what_helps():
    said = outgrown(5 * GB, 4 * GB)
    assert "held 5.0 GB" in said
    for setting in ("engine.batch_size", "engine.device_map", "engine.dtype", "engine.memory"):
        assert setting in said
