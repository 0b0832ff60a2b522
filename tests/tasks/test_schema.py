from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verify.errors import UsageError
from verify.tasks.schema import parse_task
from verify.types import DatasetSource, TaskSpec

GOOD = """\
kind: sequence-classification
dataset: {path: nyu-mll/glue, name: sst2, split: validation}
columns: {text: sentence, label: label}
"""


def parse(text, file="folder/mine.yaml"):
    return parse_task(text, name="mine", file=file)


def error_of(text):
    with pytest.raises(UsageError) as caught:
        parse(text)
    return str(caught.value)


def test_five_keys_suffice_and_the_kind_supplies_the_metrics():
    assert parse(GOOD) == TaskSpec(
        name="mine",
        kind="sequence-classification",
        dataset=DatasetSource("nyu-mll/glue", "sst2", "validation"),
        columns={"text": "sentence", "label": "label"},
        metrics=("accuracy",),
        file="folder/mine.yaml",
    )


def test_every_key_is_read():
    task = parse(
        GOOD.replace("split: validation", "split: validation, revision: 0123456") + "metrics: [f1, accuracy]\n"
        "aliases: [sst-2]\n"
        "description: Film reviews.\n"
        "labels: [negative, positive]\n"
        "label_aliases: {negative: [neg, bad]}\n"
        "rows: {validation: 872, test: 1_821}\n"
        "unlabelled: [test]\n"
        "split_aliases: {dev: validation}\n"
    )
    assert task.dataset.revision == "0123456"
    assert task.metrics == ("f1", "accuracy")
    assert (task.aliases, task.description) == (("sst-2",), "Film reviews.")
    assert (task.labels, task.label_aliases) == (("negative", "positive"), {"negative": ("neg", "bad")})
    assert (task.rows, task.unlabelled) == ({"validation": 872, "test": 1821}, ("test",))
    assert task.split_aliases == {"dev": "validation"}


@pytest.mark.parametrize(
    ("written", "read"), [("[no, yes]", ("no", "yes")), ("[0, 1]", ("0", "1")), ("[1.0, 010]", ("1.0", "010"))]
)
def test_a_name_is_what_stands_in_the_file_whatever_yaml_takes_it_for(written, read):
    assert parse(GOOD + f"labels: {written}\n").labels == read


def test_relative_files_and_folders_are_taken_from_the_task_file(tmp_path):
    file = str(tmp_path / "tasks" / "mine.yaml")
    folder = parse(GOOD.replace("nyu-mll/glue, name: sst2", "../data"), file)
    assert folder.dataset.path == str(tmp_path / "data")
    files = parse(GOOD.replace("nyu-mll/glue, name: sst2", "csv, data_files: {validation: a.csv, test: ~/b.csv}"), file)
    assert files.dataset.path == "csv"
    assert files.dataset.data_files == {
        "validation": str(tmp_path / "tasks" / "a.csv"),
        "test": str(Path("~/b.csv").expanduser()),
    }


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            GOOD.replace("columns:", "colums:"),
            "folder/mine.yaml:3: colums",
            ['Did you mean "columns"?', "label_aliases"],
        ),
        (GOOD.replace("split:", "splitt:"), ":2: dataset.splitt", ['Did you mean "split"?', "data_files, name, path"]),
        (GOOD.replace("text:", "txt:"), ":3: columns.txt", ['Did you mean "text"?', "label, text, text_pair"]),
        (GOOD.replace("text: sentence", "image: s"), ":3: columns.image", ["Allowed: label, text, text_pair."]),
        (GOOD.replace("text: sentence, ", ""), ":3: columns", ['"text" is missing', "Required: text, label."]),
        (GOOD.replace(", split: validation", ""), ":2: dataset", ['"split" is missing']),
        ("columns: {text: s}\n", ":1: task", ['"kind" is missing', "kind, dataset, columns"]),
        (
            GOOD.replace("sequence-classification", "sequence_classification"),
            ":1: kind",
            ['Did you mean "sequence-classification"?', "Allowed: audio-classification, ", "image-classification, "],
        ),
        (GOOD + "kind: image-classification\n", ":4: kind", ["stands twice"]),
        (GOOD + "rows: {a: 1, a: 2}\n", ":4: rows.a", ["stands twice"]),
        (GOOD + "rows: {a: 1.5}\n", ":4: rows.a", ["whole number of at least 1"]),
        (GOOD + "rows: {a: 0}\n", ":4: rows.a", ["whole number of at least 1"]),
        (GOOD + "rows: {a: [1]}\n", ":4: rows.a", ["whole number"]),
        (GOOD + "rows: {a: " + "9" * 5000 + "}\n", ":4: rows.a", ["whole number"]),
        (GOOD + "rows: [1]\n", ":4: rows", ["mapping", "not a list"]),
        (GOOD + "metrics: accuracy\n", ":4: metrics", ["list such as [a, b]", 'not "accuracy"']),
        (GOOD + "metrics: [[a]]\n", ":4: metrics", ["word or a sentence", "not a list"]),
        (GOOD + "description:\n", ":4: description", ["not nothing"]),
        (GOOD + "description: null\n", ":4: description", ['not "null"']),
        (GOOD + "labels: []\n", ":4: labels", ["each class once"]),
        (GOOD + "labels: [a, b, a]\n", ":4: labels", ["each class once"]),
        (GOOD.replace("{path: nyu-mll/glue, name: sst2, split: validation}", "glue"), ":2: dataset", ["mapping"]),
        ("- kind\n", ":1: task", ["mapping", "not a list"]),
        ("just words\n", ":1: task", ["mapping", 'not "just words"']),
        ("", "folder/mine.yaml: the file is empty", ["kind, dataset and columns"]),
        ("# a comment\n", "folder/mine.yaml: the file is empty", []),
        (GOOD + "\tmetrics: [a]\n", ":4: not readable as YAML", []),
        (GOOD + "metrics: [a\n", "not readable as YAML", []),
        (GOOD + "description: a\0b\n", ":4: not readable as YAML", ["#x0000"]),
        (GOOD + "description: \ud800\n", ":4: not readable as YAML", ["#xd800"]),
        (GOOD + 'description: "\\0"\n', ":4: description", ["#x0000"]),
        (GOOD + 'description: "\\ud800"\n', ":4: description", ["surrogate"]),
        (GOOD + "description: *there\n", ":4: not readable as YAML", ["undefined alias"]),
        (GOOD + "---\na: b\n", ":4: not readable as YAML", ["another document"]),
        (GOOD + "? [a]\n: b\n", ":4: task", ["key must be a single word"]),
        (GOOD + "? {a: b}\n: b\n", ":4: task", ["key must be a single word"]),
        (GOOD + "<<: {metrics: [a]}\n", ":4: <<", ["unknown key"]),
        (GOOD + "description: !!python/object/apply:os.system [x]\n", ":4: description", ["not a list"]),
        (GOOD + "description: !!python/name:os.system x\n", ":4: description", ["python/name:os.system"]),
        (GOOD + "description: !!binary eA==\n", ":4: description", ["binary"]),
        (GOOD + "description: !!set {a}\n", ":4: description", ["not a mapping"]),
        ("&a [*a]\n", ":1: task", ["not a list"]),
        ("&a {kind: *a, dataset: *a, columns: *a}\n", ":1: kind", ["not a mapping"]),
        (GOOD + "metrics: &a [*a]\n", ":4: metrics", ["not a list"]),
        (GOOD + "label_aliases: &a {x: *a}\n", ":4: label_aliases.x", ["not a mapping"]),
        (GOOD.replace("nyu-mll/glue", "~nobody-has-this-name/x"), ":2: dataset.path", ["home folder"]),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply", []),
        (GOOD + "description: " + "{a: " * 100_000 + "}" * 100_000, "nested too deeply", []),
    ],
)
def test_a_wrong_file_is_one_paragraph_that_names_place_key_and_allowed_words(text, place, words):
    message = error_of(text)
    assert place in message
    assert message.startswith("folder/mine.yaml:")
    assert all(word in message for word in words), message
    assert "\n" not in message.replace("just words\n", "")
    assert len(message) < 400


def test_nothing_in_a_file_is_run(tmp_path):
    target = tmp_path / "made"
    error_of(GOOD + f"description: !!python/object/apply:pathlib.Path.touch [{target}]\n")
    assert not target.exists()


def outcome(text):
    try:
        return parse(text)
    except UsageError as error:
        return str(error)


MARKS = (
    "kind¦: ¦\n¦  ¦\t¦- ¦? ¦[¦]¦{¦}¦&a ¦*a¦!!int ¦!!x ¦<<¦'¦\"¦|¦>¦#¦,¦\0¦~¦null¦true¦2020-13-45¦0x¦1:2¦\ud800¦\\0¦é"
    "¦---¦%YAML¦labels: ¦rows: ¦label_aliases: ¦data_files: ¦columns¦dataset¦!!bool ¦!!timestamp ¦\r"
)
PIECES = st.sampled_from([*GOOD.splitlines(), *MARKS.split("¦")])


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
@example(GOOD + "rows: {a: !!bool x}")
@example(GOOD + "description: !!int abc")
@example(GOOD + "description: 2020-13-45")
def test_any_text_is_a_task_or_a_usage_error(text):
    assert isinstance(outcome(text), TaskSpec | str)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_any_tail_on_a_good_file_is_a_task_or_a_usage_error(tail):
    found = outcome(GOOD + tail)
    assert found.startswith("folder/mine.yaml:") if isinstance(found, str) else found.kind == "sequence-classification"


def test_a_prefix_may_be_empty_and_other_texts_may_not():
    text = "kind: summarization\ndataset: {path: a/b, split: test}\ncolumns: {text: t, summary: s}\nsettings: {%s}\n"
    task = parse_task(text % 'prefix: ""', name="mine", file="folder/mine.yaml")
    assert task.settings == {"prefix": ""}
    with pytest.raises(UsageError, match=r"settings\.sentences"):
        parse_task(text % 'sentences: ""', name="mine", file="folder/mine.yaml")


def test_a_module_is_one_of_the_hub_or_a_path_from_the_folder_of_the_task():
    read = parse(
        GOOD + "metrics: [accuracy, 'evaluate:wer', 'evaluate:org/wer', 'evaluate:./a/m.py', 'evaluate:../b']\n"
    )
    folder = Path("folder").resolve()
    modules = ("evaluate:wer", "evaluate:org/wer", f"evaluate:{folder / 'a/m.py'}", f"evaluate:{folder.parent / 'b'}")
    assert read.metrics == ("accuracy", *modules)
    assert parse(GOOD + "metrics: ['evaluate:/a/b']\n").metrics == ("evaluate:/a/b",)
    assert parse(GOOD + "metrics: ['evaluate:~/b']\n").metrics == (f"evaluate:{Path.home() / 'b'}",)
