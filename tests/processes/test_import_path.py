import os
import sys
from pathlib import Path

import pytest

from verify.processes import import_path
from verify.processes.import_path import MORE, ROOT, SAFE, exclude, protected, restrict


@pytest.fixture
def strange(tmp_path, monkeypatch) -> Path:
    """A folder of others, as the working folder, and a path of modules that this test may change."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv(MORE, raising=False)
    return tmp_path


@pytest.mark.parametrize("entry", ["", ".", "..", "lib", "./lib", "{here}", "{here}/", "{here}/../{name}", "{link}"])
def test_what_leads_to_the_working_folder_or_is_relative_is_dropped(strange, entry, tmp_path_factory):
    link = tmp_path_factory.mktemp("links") / "link"
    link.symlink_to(strange)
    written = entry.format(here=strange, name=strange.name, link=link)
    environment = {MORE: os.pathsep.join(["/first", written, "/last"])}
    restrict(environment, ".")
    assert environment[MORE].split(os.pathsep)[:2] == ["/first", "/last"]
    sys.path.insert(0, written)
    kept = sys.path[1:]
    exclude(".")
    assert sys.path == [one for one in kept if one]


def test_a_folder_of_others_is_dropped_wherever_one_works(strange, tmp_path_factory):
    model = tmp_path_factory.mktemp("model")
    environment = {MORE: f"{model}{os.pathsep}/mine"}
    restrict(environment, model)
    assert environment[MORE].split(os.pathsep)[0] == "/mine"


def test_a_package_that_is_not_installed_is_found_by_what_is_started(strange, monkeypatch):
    monkeypatch.setattr(import_path, "is_installed", lambda: False)
    environment = {}
    restrict(environment)
    assert environment[MORE] == str(ROOT)
    monkeypatch.chdir(ROOT)
    environment = {MORE: f"{ROOT}{os.pathsep}/mine"}
    restrict(environment, ".")
    assert environment[MORE] == f"{ROOT}{os.pathsep}/mine"


def test_an_installed_package_needs_no_entry(strange, monkeypatch):
    monkeypatch.setattr(import_path, "is_installed", lambda: True)
    environment = {MORE: "."}
    restrict(environment, ".")
    assert MORE not in environment


def test_who_works_among_installed_packages_keeps_them(strange, monkeypatch):
    packages = next(entry for entry in sys.path if entry.endswith("site-packages"))
    monkeypatch.chdir(packages)
    exclude(".")
    assert packages in sys.path


def test_what_python_made_absolute_and_what_a_command_names_is_dropped_too(strange, monkeypatch, tmp_path_factory):
    model = tmp_path_factory.mktemp("model")
    monkeypatch.setenv(MORE, f"lib{os.pathsep}{model}")
    sys.path[:0] = [str(strange / "lib"), str(model)]
    with protected(["check", f"results={model}"]):
        assert not {str(strange / "lib"), str(model)} & set(sys.path)
        assert str(model) not in os.environ.get(MORE, "").split(os.pathsep)


def test_the_environment_is_protected_only_meanwhile(strange, monkeypatch):
    monkeypatch.delenv(SAFE, raising=False)
    monkeypatch.setenv(MORE, ".")
    with protected():
        assert os.environ[SAFE] == "1"
        assert "." not in os.environ.get(MORE, "").split(os.pathsep)
    assert SAFE not in os.environ
    assert os.environ[MORE] == "."


def test_what_several_threads_protect_is_as_before_after_the_last(strange, monkeypatch):
    monkeypatch.setenv(MORE, ".")
    sys.path.insert(0, str(strange))
    before = list(sys.path)
    first, second = protected(), protected()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert str(strange) not in sys.path
    assert os.environ[SAFE] == "1"
    sys.path.append("/added/meanwhile")
    second.__exit__(None, None, None)
    assert sys.path == [*before, "/added/meanwhile"]
    assert os.environ[MORE] == "."
