import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from verify.engine.inputs.pictures import picture
from verify.errors import DataError, NotComparableError
from verify.tasks.data import DIFFERENT_DATA, load_examples
from verify.tasks.places import source_digest
from verify.tasks.schema import parse_task


@pytest.fixture(autouse=True)
def _isolated(monkeypatch, tmp_path):
    """An empty cache, and a client that refuses to leave this machine."""
    import datasets
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def task_on(folder, files, extra="", builder="csv", split="test"):
    """A task with data files, which are written from ``files`` (name → text)."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    splits = ", ".join(f"{name.split('.')[0]}: {name}" for name in files)
    text = (
        f"kind: sequence-classification\ndataset: {{path: {builder}, split: {split}, data_files: {{{splits}}}}}\n"
        f"columns: {{text: text, label: label}}\n{extra}"
    )
    return parse_task(text, name="mine", file=str(folder / "mine.yaml"))


ROWS = "text,label\ngood,1\nbad,0\nfine,1\n"


def test_csv_with_label_ids(tmp_path):
    examples = load_examples(task_on(tmp_path, {"test.csv": ROWS}, "labels: [negative, positive]\n"), "test")
    assert len(examples) == 3
    assert examples.column("text") == ["good", "bad", "fine"]
    assert examples.column("text", [2, 0]) == ["fine", "good"]
    assert examples.references() == [1, 0, 1]
    assert examples.labels == ("negative", "positive")
    assert not examples.is_regression
    assert examples.notes == ()


def test_only_the_split_asked_for_is_read(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS, "train.csv": "text,label\nother,0\n"})
    assert load_examples(task, "train").column("text") == ["other"]


def test_json_with_string_labels(tmp_path):
    lines = [{"text": "a", "label": "yes"}, {"text": "b", "label": "no"}, {"text": "c", "label": "yes"}]
    files = {"test.jsonl": "\n".join(map(json.dumps, lines))}
    named = load_examples(task_on(tmp_path, files, "labels: [yes, no]\n", "json"), "test")
    assert (named.labels, named.references()) == (("yes", "no"), [0, 1, 0])
    unnamed = load_examples(task_on(tmp_path, files, builder="json"), "test")
    assert (unnamed.labels, unnamed.references()) == (("no", "yes"), [1, 0, 1])
    other = load_examples(task_on(tmp_path, files, "labels: [yes, maybe]\n", "json"), "test")
    with pytest.raises(DataError, match="label 'no' is not among the task's labels"):
        other.references()


def test_parquet_keeps_the_class_names_of_the_data(tmp_path):
    import datasets

    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["ham", "spam"])}
    )
    table = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    table.to_parquet(tmp_path / "test.parquet")
    task = task_on(tmp_path, {}, "labels: [other, names]\n")
    source = replace(task.dataset, path="parquet", data_files={"test": str(tmp_path / "test.parquet")})
    examples = load_examples(replace(task, dataset=source), "test")
    assert (examples.labels, examples.references()) == (("ham", "spam"), [1, 0])


def image_folder(folder):
    for split, name, shade in (("test", "cat", 10), ("test", "dog", 200), ("train", "cat", 30), ("train", "dog", 220)):
        (folder / split / name).mkdir(parents=True)
        Image.fromarray(np.full((4, 4), shade, np.uint8)).save(folder / split / name / f"{shade}.png")
    text = (
        "kind: image-classification\ndataset: {path: ./pictures, split: test}\ncolumns: {image: image, label: label}\n"
    )
    return parse_task(text, name="pets", file=str(folder.parent / "pets.yaml"))


def test_a_folder_of_images_with_a_folder_for_each_class(tmp_path):
    examples = load_examples(image_folder(tmp_path / "pictures"), "test")
    assert (examples.labels, examples.references()) == (("cat", "dog"), [0, 1])
    pictures = [picture(value, tmp_path / "pictures", "here") for value in examples.column("image")]
    assert [image.getpixel((0, 0)) for image in pictures] == [10, 200]


def test_a_wrong_column_is_named_with_the_ones_there_are(tmp_path):
    task = task_on(tmp_path, {"test.csv": "txt,label\na,1\n"})
    with pytest.raises(DataError, match=r"mine.yaml: columns.text: .* no column 'text'. Did you mean \"txt\"\?.*label"):
        load_examples(task, "test")


def test_a_wrong_split_is_named_with_the_ones_there_are(tmp_path):
    with pytest.raises(NotComparableError, match=r"no split 'tset'. Did you mean \"test\"\?"):
        load_examples(task_on(tmp_path, {"test.csv": ROWS}), "tset")
    with pytest.raises(NotComparableError, match=r"no split 'validation'.*test.*override\.split"):
        load_examples(image_folder(tmp_path / "pictures"), "validation")


@pytest.mark.parametrize("labels", ["1\nb,-1", "1\nb,\nc,0"])
def test_missing_labels_are_not_scored(tmp_path, labels):
    examples = load_examples(task_on(tmp_path, {"test.csv": f"text,label\na,{labels}\n"}), "test")
    with pytest.raises(NotComparableError, match=r"split test cannot be scored.*override\.split"):
        examples.references()


def test_missing_string_labels_are_not_scored(tmp_path):
    lines = [{"text": "a", "label": "yes"}, {"text": "b", "label": None}]
    examples = load_examples(task_on(tmp_path, {"test.jsonl": "\n".join(map(json.dumps, lines))}, "", "json"), "test")
    assert examples.labels == ("yes",)
    with pytest.raises(NotComparableError):
        examples.references()


def test_a_split_whose_labels_are_kept_secret_is_not_scored(tmp_path):
    """A regression's secret labels are -1.0, which is a number like any other."""
    task = task_on(tmp_path, {"test.csv": "text,label\na,-1.0\nb,-1.0\n"}, "unlabelled: [test]\n")
    examples = load_examples(task, "test")
    assert examples.column("text") == ["a", "b"]
    with pytest.raises(NotComparableError):
        examples.references()


def test_decimal_targets_are_a_regression(tmp_path):
    examples = load_examples(task_on(tmp_path, {"test.csv": "text,label\na,0.5\nb,-3.25\n"}), "test")
    assert (examples.is_regression, examples.labels, examples.references()) == (True, None, [0.5, -3.25])


def test_class_ids_read_as_decimals_are_not_taken_for_a_regression(tmp_path):
    task = task_on(tmp_path, {"test.csv": "text,label\na,1\nb,\nc,0\n"}, "labels: [no, yes]\n")
    with pytest.raises(DataError, match="decimal numbers, where the task names classes"):
        load_examples(task, "test")


def test_label_ids_beyond_the_labels_are_refused(tmp_path):
    """Ids that start at 1 would otherwise shift every class by one."""
    task = task_on(tmp_path, {"test.csv": "text,label\na,1\nb,2\n"}, "labels: [no, yes]\n")
    with pytest.raises(DataError, match=r"holds the label 2, but the 2 labels have the ids 0 to 1 \(no, yes\)"):
        load_examples(task, "test").references()


def test_a_column_that_is_no_label_is_refused(tmp_path):
    task = task_on(tmp_path, {"test.jsonl": json.dumps({"text": "a", "label": {"x": 1}})}, "", "json")
    with pytest.raises(DataError, match=r"columns.label: .*a class or a number is expected"):
        load_examples(task, "test")


def test_other_row_counts_are_noted(tmp_path):
    right = load_examples(task_on(tmp_path, {"test.csv": ROWS}, "rows: {test: 3}\n"), "test")
    wrong = load_examples(task_on(tmp_path, {"test.csv": ROWS}, "rows: {test: 4}\n"), "test")
    assert right.notes == ()
    assert wrong.notes == (f"{DIFFERENT_DATA}: 3 rows in test, where the task states 4",)


def test_the_first_rows_only(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS}, "rows: {test: 3}\n")
    examples = load_examples(task, "test", first=2)
    assert (examples.column("text"), examples.notes) == (["good", "bad"], ())
    assert len(load_examples(task, "test", first=9)) == 3


def test_a_missing_or_broken_file_is_named(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS})
    (tmp_path / "test.csv").unlink()
    with pytest.raises(DataError, match=r"mine.yaml: the data file .*test.csv cannot be read: No such file"):
        load_examples(task, "test")
    broken = task_on(tmp_path, {"test.jsonl": '{"text": "a", '}, "", "json")
    with pytest.raises(DataError, match="split test, could not be loaded") as caught:
        load_examples(broken, "test")
    assert "An error occurred while generating" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_data_set_that_cannot_be_reached_says_what_to_check():
    text = "kind: sequence-classification\ndataset: {path: nobody/nothing, split: test}\ncolumns: {text: t, label: l}\n"
    task = parse_task(text, name="mine", file="mine.yaml")
    assert source_digest(task) is None
    with pytest.raises(DataError, match=r"The data set nobody/nothing, split test, could not be loaded.*connection"):
        load_examples(task, "test")


def test_the_digest_follows_bytes_and_not_times(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS})
    before = source_digest(task)
    os.utime(tmp_path / "test.csv", (1, 1))
    assert source_digest(task) == before
    (tmp_path / "test.csv").write_text(ROWS.replace("bad,0", "bad,1"))
    assert source_digest(task) != before


def test_the_digest_knows_which_file_is_which_split(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS, "dev.csv": "text,label\na,1\n"})
    swapped = {"test": task.dataset.data_files["dev"], "dev": task.dataset.data_files["test"]}
    other = replace(task, dataset=replace(task.dataset, data_files=swapped))
    assert source_digest(other) != source_digest(task)


def test_the_digest_of_a_folder_sees_a_file_that_moved_to_another_class(tmp_path):
    task = image_folder(tmp_path / "pictures")
    before = source_digest(task)
    moved = tmp_path / "pictures" / "train" / "cat" / "30.png"
    moved.rename(tmp_path / "pictures" / "train" / "dog" / "030.png")
    moved = tmp_path / "pictures" / "train" / "dog" / "030.png"
    assert source_digest(task) != before
    moved.rename(tmp_path / "pictures" / "train" / "dog" / "30.png")
    assert source_digest(task) != before
    (tmp_path / "pictures" / "train" / "dog" / "30.png").rename(tmp_path / "pictures" / "train" / "cat" / "30.png")
    assert source_digest(task) == before
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    there = replace(task, dataset=replace(task.dataset, path=str(tmp_path / "elsewhere")))
    assert source_digest(there) == before


def test_the_digest_sees_pictures_beside_a_table_and_no_results(tmp_path):
    task = task_on(tmp_path, {"test.csv": ROWS})
    task = replace(task, columns={"image": "text", "label": "label"})
    (tmp_path / "a.png").write_bytes(b"one")
    before = source_digest(task)
    run = tmp_path / "results/model/task.test/0123456789abcdef"
    (run / "predictions").mkdir(parents=True)
    for name in ("run.json", "predictions/part.parquet", ".lock"):
        (run / name).write_bytes(b"rows")
    assert source_digest(task) == before
    (tmp_path / "a.png").write_bytes(b"another")
    assert source_digest(task) != before
