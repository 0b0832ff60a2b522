import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.configuration.compose import compose_config
from verify.configuration.schema import HubQuery, SuiteConfig, VerifyConfig
from verify.errors import UsageError
from verify.hub import models as hub
from verify.sweeping.plan.cards import is_folder
from verify.sweeping.plan.suite import Reference, references
from verify.tasks.registry import load_registry

REGISTRY = load_registry()


def listed(**suite):
    return references(VerifyConfig(suite=SuiteConfig(**suite)), REGISTRY)


def error_of(**suite):
    with pytest.raises(UsageError) as caught:
        listed(**suite)
    return str(caught.value)


@pytest.fixture
def models(tmp_path):
    """Folders a (a card), b/c (a configuration), and d, which holds no model."""
    for name, file in (("a", "README.md"), ("b/c", "config.json"), ("d", "notes.txt")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / file).write_text("{}")
    return tmp_path


def test_the_model_of_the_command_line_stands_alone():
    config = VerifyConfig(model="org/a", tasks=["sst2"], suite=SuiteConfig(models=["org/b"]))
    assert references(config, REGISTRY) == [Reference("org/a", ("sst2",))]


def test_models_are_listed_once_in_their_order():
    assert [one.model for one in listed(models=["org/b", "org/a", "org/b@main", "org/b"])] == [
        "org/b",
        "org/a",
        "org/b@main",
    ]


@pytest.mark.parametrize("tasks", [None, "auto"])
def test_auto_is_whatever_each_card_claims(tasks):
    config = VerifyConfig(suite=SuiteConfig(models=["org/a"], tasks=tasks))
    assert references(config, REGISTRY) == [Reference("org/a")]


def test_tasks_of_a_model_count_before_those_of_the_suite_and_the_command_line_before_both():
    suite = SuiteConfig(
        models=["org/a", {"model": "org/b", "tasks": ["imdb"]}, {"model": "org/c", "tasks": "auto"}], tasks=["sst2"]
    )
    found = references(VerifyConfig(suite=suite), REGISTRY)
    assert [one.tasks for one in found] == [("sst2",), ("imdb",), None]
    found = references(VerifyConfig(suite=suite, tasks=["rte"]), REGISTRY)
    assert [one.tasks for one in found] == [("rte",)] * 3


def test_a_model_in_several_places_has_the_tasks_of_all(models):
    folder = models / "a"
    entries = [str(folder), {"model": f"{folder}/../a", "tasks": ["imdb"]}, {"model": str(folder), "tasks": ["sst2"]}]
    assert listed(models=entries, folders=[f"{models}/*"]) == [Reference(str(folder), ("imdb", "sst2"))]


def test_a_file_lists_a_model_a_line(tmp_path):
    file = tmp_path / "models.txt"
    file.write_text("\ufeff# all of ours\norg/a\n\n  org/b@v1  # the first release\nmodels/c#2\n", encoding="utf-8")
    assert [one.model for one in listed(file=str(file))] == ["org/a", "org/b@v1", "models/c#2"]


def test_standard_input_lists_models(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("org/a\norg/b\n"))
    assert references(compose_config(None, ["suite=list"]), REGISTRY) == [Reference("org/a"), Reference("org/b")]


def test_a_pattern_takes_the_folders_that_hold_a_model(models, monkeypatch):
    assert [one.model for one in listed(folders=[f"{models}/*", f"{models}/*/*"])] == [
        str(models / "a"),
        str(models / "b/c"),
    ]
    monkeypatch.chdir(models)
    config = compose_config(None, ["suite=folders", "suite.folders=[./**/]"])
    assert sorted(one.model.strip("./") for one in references(config, REGISTRY)) == ["a", "b/c"]


def test_the_hub_lists_models(monkeypatch):
    monkeypatch.setattr("verify.hub.query.listed", lambda query: [f"{query.author}/{n}" for n in range(query.top)])
    assert [one.model for one in listed(models=["org/1"], hub=HubQuery(author="org", top=3))] == [
        "org/1",
        "hf://org/0",
        "hf://org/2",
    ]
    monkeypatch.setattr("verify.hub.query.listed", lambda query: [])
    assert error_of(hub=HubQuery(author="nobody")).startswith("suite.hub: no model of the Hub fits")


def test_a_model_that_the_hub_lists_is_never_a_folder(monkeypatch, tmp_path):
    (tmp_path / "org/0").mkdir(parents=True)
    (tmp_path / "org/0/README.md").write_text("# Somebody else's")
    (tmp_path / "org/0/config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("verify.hub.query.listed", lambda query: ["org/0"])
    asked = []
    monkeypatch.setattr(hub, "on_hub", lambda model, revision: asked.append((model, revision)))
    (reference,) = listed(hub=HubQuery(author="org", top=1))
    hub.resolve(reference.model)
    assert asked == [("org/0", None)]
    assert not is_folder(reference.model)
    assert hub.resolve("org/0").is_local, "the same name typed by hand is the folder"


@pytest.mark.parametrize(
    ("suite", "words"),
    [
        ({"models": ["org/a", 7]}, ["suite.models[1]", "7 is no model"]),
        ({"models": [""]}, ["suite.models[0]"]),
        ({"models": [{"model": "org/a", "task": ["sst2"]}]}, ["suite.models[0]", 'Did you mean "tasks"?']),
        ({"models": [{"tasks": ["sst2"]}]}, ["suite.models[0]", "the model is missing"]),
        ({"models": [{"model": "org/a", "tasks": ["sst3"]}]}, ["suite.models[0] (org/a)", 'Did you mean "sst2"?']),
        ({"models": [{"model": "org/a", "tasks": "sst2"}]}, ["suite.models[0] (org/a)", "list of names"]),
        ({"models": ["org/a"], "tasks": ["sst3"]}, ["suite.tasks", 'Did you mean "sst2"?']),
        ({"file": "nowhere.txt"}, ["suite.file=nowhere.txt", "No such file"]),
        ({"folders": ["nowhere/*"]}, ["suite.folders: nowhere/*", "README.md"]),
        ({}, ["names no model", "suite.file=FILE"]),
    ],
)
def test_a_wrong_entry_is_named(suite, words):
    message = error_of(**suite)
    assert all(word in message for word in words), message


def test_a_line_that_is_no_text_is_named(tmp_path):
    file = tmp_path / "models.txt"
    file.write_bytes(b"org/a\norg/\x07b\n")
    assert f"{file}:2" in error_of(file=str(file))
    file.write_bytes(b"\xff\xfe\x00")
    assert str(file) in error_of(file=str(file))


@given(st.lists(st.sampled_from(["org/a", "org/b", "org/c", "org/d"]), min_size=1))
def test_every_model_is_listed_exactly_once(names):
    assert [one.model for one in listed(models=names)] == list(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("suite.hub.top=0", ["suite.hub.top=0", "at least 1"]),
        ("suite.tasks=sst2", ["suite.tasks=sst2", "list of names", "auto"]),
        ("suite.tasks=[1]", ["suite.tasks=[1]", "list of names"]),
        ("suite.hub.topp=3", ['Did you mean "top"?']),
    ],
)
def test_wrong_values_of_a_suite_are_refused(setting, words):
    with pytest.raises(UsageError) as caught:
        compose_config(None, ["suite=hub", setting])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_the_built_in_suites_ask_for_the_part_that_they_need():
    assert "names no model" in error_of(folders=[])
    assert compose_config(None, ["suite=hub", "suite.hub.author=org"]).suite.hub == HubQuery(author="org")
    assert compose_config(None, ["suite=hub", "suite.tasks=auto"]).asked_tasks() is None
