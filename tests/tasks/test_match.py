from dataclasses import replace

import pytest
from helpers.claim_making import claim

from verify.claims.extract import read_claims
from verify.tasks.match import match_claim
from verify.tasks.registry import load_registry

TASKS = load_registry()


def about(dataset=None, config=None, split=None, name=None, **fields):
    return claim(dataset=dataset, dataset_name=name, config=config, split=split, **fields)


@pytest.mark.parametrize(
    ("dataset", "config", "name"),
    [
        ("glue", "sst2", None),
        ("nyu-mll/glue", "sst2", "GLUE"),
        ("glue", None, "GLUE SST2"),
        ("glue", None, "glue/sst2"),
        ("sst2", None, None),
        ("SST-2", None, None),
        (None, None, "SST-2"),
        ("stanfordnlp/sst2", None, None),
        ("stanfordnlp/sst2", "default", None),
        ("someone/sst2", None, None),
        ("sst2", "sst2", None),
        (None, None, "Stanford Sentiment Treebank"),
        ("glue", "SST-2", None),
    ],
)
def test_glue_in_every_spelling_is_the_same_task(dataset, config, name):
    found = match_claim(about(dataset, config, "validation", name), TASKS)
    assert found.task is not None
    assert (found.task.name, found.split, found.split_known, found.notes) == ("sst2", "validation", True, ())


@pytest.mark.parametrize(
    "dataset",
    [
        "type: glue\n      config: sst2\n      name: glue",
        "type: glue\n      args: sst2\n      name: GLUE",
        "type: glue\n      name: GLUE SST2",
        "type: sst2\n      name: sst2",
    ],
)
def test_the_metadata_of_a_card_leads_to_its_task(dataset):
    card = (
        "---\nmodel-index:\n- name: m\n  results:\n  - task: {type: text-classification}\n    dataset:\n"
        f"      {dataset}\n      split: validation\n    metrics:\n    - {{type: accuracy, value: 0.91}}\n---\n"
    )
    (read,) = read_claims({"README.md": card}, "org/model").claims
    assert match_claim(read, TASKS).task.name == "sst2"


def test_other_glue_tasks_are_told_apart():
    for config in ("cola", "mrpc", "qnli", "qqp", "rte", "stsb", "wnli", "mnli"):
        assert match_claim(about("glue", config), TASKS).task.name == config


def test_both_validation_sets_of_mnli_are_found():
    matched = match_claim(about("glue", "mnli_matched", split="validation"), TASKS)
    assert (matched.task.name, matched.split) == ("mnli", "validation_matched")
    for mention in (about("glue", "mnli_mismatched"), about("MNLI-mm")):
        other = match_claim(mention, TASKS)
        assert (other.task.name, other.split) == ("mnli_mismatched", "validation")


@pytest.mark.parametrize("config", [None, "default"])
def test_a_suite_without_its_task_lists_the_candidates(config):
    found = match_claim(about("glue", config), TASKS)
    assert found.task is None
    assert "has several tasks (cola, mnli, mnli_mismatched, mrpc" in found.reason
    assert "tasks=[NAME]" in found.next_step


def test_a_suite_and_one_task_asked_for_is_that_task():
    found = match_claim(about("glue", split="validation"), TASKS, only=["sst2"])
    assert found.task.name == "sst2"
    assert "tasks=[sst2] was asked for" in found.notes[0]


@pytest.mark.parametrize(
    ("dataset", "config"), [("imdb", "unsupervised"), ("glue", "ax"), ("emotion", "unsplit"), ("someone/reviews", None)]
)
def test_other_data_have_no_task(dataset, config):
    found = match_claim(about(dataset, config), TASKS)
    assert found.task is None
    assert dataset in found.reason
    assert config is None or f"({config})" in found.reason
    assert "task_path=[FOLDER]" in found.next_step


def test_a_config_that_means_the_only_one_fits():
    assert match_claim(about("imdb", "plain_text"), TASKS).task.name == "imdb"
    assert match_claim(about("dair-ai/emotion", "default"), TASKS).task.name == "emotion"


def test_a_claim_that_names_no_data_needs_one_task_asked_for():
    silent = about(split="test")
    for only in (None, ["sst2", "imdb"], []):
        found = match_claim(silent, TASKS, only=only)
        assert found.task is None
        assert "does not say on which data set" in found.reason
    found = match_claim(silent, TASKS, only=["imdb"])
    assert (found.task.name, found.split) == ("imdb", "test")
    assert "names no data set" in found.notes[0]


def test_a_task_left_out_is_named():
    found = match_claim(about("imdb"), TASKS, only=["sst2"])
    assert found.task is None
    assert "about imdb, which tasks=[…] leaves out" in found.reason


def test_the_override_replaces_the_cards_split():
    found = match_claim(about("mnli", split="validation"), TASKS, split="validation_mismatched")
    assert (found.split, found.split_known) == ("validation_mismatched", True)
    assert "override.split" in found.notes[0]


def test_split_aliases_are_followed():
    assert match_claim(about("glue", "mnli", "validation"), TASKS).split == "validation_matched"
    assert match_claim(about("glue", "mnli", "mismatched"), TASKS).split == "validation_mismatched"
    assert match_claim(about("glue", "mnli", "validation_mismatched"), TASKS).split == "validation_mismatched"


@pytest.mark.parametrize(
    ("task", "split", "known"),
    [
        ("sst2", "validation", True),
        ("imdb", "test", True),
        ("mrpc", "validation", False),
        ("emotion", "test", False),
        ("mnli", "validation_matched", False),
        ("cifar10", "test", True),
    ],
)
def test_an_unstated_split_is_known_where_only_one_has_labels(task, split, known):
    found = match_claim(about(task), TASKS)
    assert (found.split, found.split_known) == (split, known)
    assert f"does not name the split; {split} is the task's own" in found.notes[0]


def test_the_trainers_train_split_is_the_evaluation_split():
    card = (
        "---\ntags: [generated_from_trainer]\nmodel-index:\n- name: m\n  results:\n  - task: {type: t-c}\n"
        "    dataset: {type: imdb, name: imdb, split: train}\n    metrics: [{type: accuracy, value: 0.91}]\n---\n"
    )
    (read,) = read_claims({"README.md": card}, "org/model").claims
    found = match_claim(read, TASKS)
    assert (found.split, found.split_known) == ("test", True)
    assert "Trainer" in found.notes[0]


def test_a_stated_train_split_is_taken_at_its_word():
    assert match_claim(about("imdb", split="train"), TASKS).split == "train"


def test_a_users_task_is_found_by_its_alias_and_takes_over_a_built_in_name(tmp_path):
    (tmp_path / "aaa.yaml").write_text(
        "kind: sequence-classification\n"
        "dataset: {path: csv, split: dev, data_files: {dev: a.csv, test: b.csv}}\n"
        "columns: {text: text, label: label}\n"
        "aliases: [my reviews, sst2, 情感分析]\n"
    )
    registry = load_registry([str(tmp_path)])
    for name in ("aaa", "My-Reviews", "org/my_reviews", "情感分析", "SST-2"):
        assert match_claim(about(name), registry).task.name == "aaa", name
    assert match_claim(about("glue", "sst2"), registry).task.name == "sst2"
    assert match_claim(about("csv"), registry).task is None
    assert not match_claim(about("my reviews"), registry).split_known


def test_a_data_sets_own_name_is_its_usual_task():
    assert match_claim(about("conll2003"), TASKS).task.name == "conll2003"
    assert match_claim(about("eriktks/conll2003", "conll2003"), TASKS).task.name == "conll2003"
    assert match_claim(about("conll2003", "pos"), TASKS).task.name == "conll2003_pos"
    assert match_claim(about("trec"), TASKS).task.name == "trec"
    assert match_claim(about("stsbenchmark"), TASKS).task.name == "stsbenchmark"


def test_several_tasks_on_one_data_set_are_told_apart_by_the_split_or_listed():
    assert match_claim(about("anli", split="test_r3"), TASKS).task.name == "anli_r3"
    found = match_claim(about("anli", split="test"), TASKS)
    assert found.task is None
    assert "has several tasks (anli_r1, anli_r2, anli_r3), and not which one" in found.reason
    assert match_claim(about("anli"), TASKS, only=["anli_r2"]).task.name == "anli_r2"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("org/opus-mt-en-ro", "wmt16_en_to_ro"),
        ("org/opus-mt-ro-en", "wmt16_ro_to_en"),
        ("org/t5-small-finetuned-en-to-ro", "wmt16_en_to_ro"),
        ("org/mbart_en2ro", "wmt16_en_to_ro"),
        ("org/mbart_ro_en_large", "wmt16_ro_to_en"),
        ("en-ro/mt5-small", None),
        ("org/mt5-open-romance", None),
    ],
)
def test_the_models_name_says_which_way_it_translates(model, expected):
    """Cards write wmt16 ro-en for both directions; the wrong one would look like a false claim."""
    found = match_claim(replace(about("wmt16", "ro-en"), model=model), TASKS)
    assert (found.task and found.task.name) == expected
    if expected is None:
        assert "wmt16 (ro-en), which has several tasks (wmt16_en_to_ro, wmt16_ro_to_en)" in found.reason


def test_the_cards_task_says_which_way_its_model_translates():
    found = match_claim(about("wmt16", "ro-en", task="translation_en_to_ro"), TASKS)
    assert found.task.name == "wmt16_en_to_ro"
