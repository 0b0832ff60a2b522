"""Results to be damaged or planted: those of an earlier version, and those that were made here."""

import shutil
from pathlib import Path

import pytest

from hostile.harness import verify
from hostile.kept_results import CHECK, GOLDEN


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The folder of the model in a copy of the kept results, from the folder in which the copy lies."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(GOLDEN, "results")
    return Path("results/digits-vit")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Results of the same model that were made here, by the only check of the module that must run the model."""
    folder = tmp_path_factory.mktemp("made")
    done = verify(*CHECK, "--json", cwd=folder).require_bounds()
    assert done.code == 1, done.err
    return folder / "results/digits-vit"


@pytest.fixture
def own(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.parent, "results")
    return Path("results/digits-vit")


@pytest.fixture
def payload(tmp_path, monkeypatch):
    """The file that code creates, which must not be there in the end."""
    monkeypatch.setenv("VERIFY_PAYLOAD", str(tmp_path / "fired"))
    return tmp_path / "fired"
