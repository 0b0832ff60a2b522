"""A folder as ``scripts/demo`` is, in which the demo's model was checked once from Python."""

import contextlib
import shutil
from types import SimpleNamespace

import pytest
from helpers.builders import DEMO

import verify


@pytest.fixture(scope="package")
def checked(tmp_path_factory):
    """The folder, the report of the check, and the events that it told of."""
    folder, events = tmp_path_factory.mktemp("api"), []
    for name in ("digits-vit", "tasks"):
        shutil.copytree(DEMO / name, folder / name)
    with contextlib.chdir(folder):
        report = verify.check("digits-vit", task_path=["tasks"], progress=events.append, engine={"device": "cpu"})
    return SimpleNamespace(folder=folder, report=report, events=events)


@pytest.fixture
def place(checked, monkeypatch):
    """The folder, as the working folder."""
    monkeypatch.chdir(checked.folder)
    return checked.folder


@pytest.fixture
def report(checked, place):
    return checked.report
