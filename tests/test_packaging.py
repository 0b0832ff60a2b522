"""What is installed from the wheel must work without the checkout, in an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers.builders import DEMO

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the contents of a wheel built from the checkout, and an empty folder to work in."""
    build = tmp_path_factory.mktemp("build")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(build), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (wheel,) = build.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(build / "site")
    return build / "site", tmp_path_factory.mktemp("empty")


def verify(installed, *arguments):
    site, work = installed
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "200"}
    program = (
        "import verify, sys; from verify.cli.main import main\n"
        "sys.stderr.write(verify.__file__ + '\\n'); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith(str(site)), "the wheel's package was used, not the checkout's"
    return done


def test_the_wheel_shows_the_built_in_tasks(installed):
    done = verify(installed, "tasks", "list")
    assert done.returncode == 0
    for file in (ROOT / "tasks").rglob("*.yaml"):
        assert f" {file.stem} " in done.stdout


def test_the_wheel_checks_a_model(installed):
    done = verify(installed, "check", str(DEMO / "digits-vit"), f"task_path=[{DEMO / 'tasks'}]")
    assert done.returncode == 1, done.stderr
    assert "1 overstated, 1 impossible, 3 reproduced, 1 unverifiable" in done.stderr
    assert (installed[1] / "results").is_dir()


def test_the_wheel_holds_the_configuration_groups(installed):
    assert verify(installed, "check", "x/y", "policy=strict", "engine=cpu", "suite=sentiment", "--cfg").returncode == 0


def test_the_constraints_cover_every_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]  # "dev" holds the others by the project's own name
    wanted = [
        one
        for one in (*project["dependencies"], *(one for extra in extras.values() for one in extra))
        if not one.startswith("verify-claims[")
    ]
    lines = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    pinned = {line.partition("==")[0] for line in lines}
    for requirement in wanted:
        name = requirement.partition(">")[0].partition("[")[0].lower().replace("_", "-")
        assert name in pinned, f"{name} is not pinned in constraints.txt"
    assert all("==" in line for line in lines)


def test_the_wheel_says_that_it_is_typed(installed):
    assert (installed[0] / "verify/py.typed").is_file()
