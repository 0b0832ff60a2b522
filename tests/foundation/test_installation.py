import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def installed(site: Path, name: str, *files: str) -> None:
    """A distribution as pip records it, with the files that it lists."""
    info = site / f"{name.replace('-', '_')}-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def verify(site: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-P", "-m", "verify", "tasks", "show", "sst2"]
    return subprocess.run(command, env=environment, cwd=site.parent, capture_output=True, text=True, check=False)


def test_the_other_project_of_that_name_is_named_with_the_way_out(tmp_path):
    installed(tmp_path / "site", "verify", "verify/__init__.py", "verify/core.py")
    done = verify(tmp_path / "site")
    assert done.returncode == 4
    assert "pip uninstall verify verify-claims" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "files"),
    [("verify", ["verify-9.9.dist-info/METADATA"]), ("verify-claims", ["verify/__init__.py"]), ("verifying", ["a.py"])],
    ids=["an earlier checkout", "this project", "another name"],
)
def test_nothing_else_is_in_the_way(tmp_path, name, files):
    installed(tmp_path / "site", name, *files)
    assert verify(tmp_path / "site").returncode == 0
