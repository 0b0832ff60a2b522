from pathlib import Path

import pytest

from verify.errors import UsageError
from verify.metrics.registry import METRICS
from verify.tasks.match import task_keys
from verify.tasks.registry import load_registry
from verify.tasks.schema import KINDS

TASK = """\
kind: sequence-classification
dataset: {path: csv, split: test, data_files: {test: rows.csv}}
columns: {text: text, label: label}
"""
SHARED = Path(__file__).parents[3] / "shared" / "data"
BUILT_IN = load_registry()


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return str(folder)


def test_the_built_in_tasks_are_there_and_measure_known_metrics():
    assert {"sst2", "mnli", "mrpc", "stsb", "imdb", "ag_news", "mnist", "cifar10"} <= set(BUILT_IN)
    for name, task in BUILT_IN.items():
        assert task.name == name
        assert task.kind in KINDS
        assert set(task.metrics) <= set(METRICS), name
        assert task.dataset.split in task.rows, name
        assert task.dataset.split not in task.unlabelled, name
        assert set(task.unlabelled) <= set(task.rows), name
        assert set(task.split_aliases.values()) <= set(task.rows), name
        assert set(task.label_aliases) <= set(task.labels or ()), name
        assert task.description


def test_no_two_built_in_tasks_answer_to_one_name():
    owners = {}
    for task in BUILT_IN.values():
        for key in task_keys(task):
            assert owners.setdefault(key, task.name) == task.name


def test_a_task_of_a_users_folder_wins_and_a_later_folder_wins_over_it(tmp_path):
    first = write(tmp_path / "a", sst2=TASK, mine=TASK)
    second = write(tmp_path / "b", mine=TASK + "description: The later one.\n")
    registry = load_registry([first, second])
    assert registry.find("sst2").file == str(tmp_path / "a" / "sst2.yaml")
    assert registry.find("mine").description == "The later one."
    assert len(registry) == len(BUILT_IN) + 1
    assert list(registry)[-2:] == ["sst2", "mine"]


def test_yml_files_are_tasks_too(tmp_path):
    (tmp_path / "short.yml").write_text(TASK)
    assert load_registry([str(tmp_path)]).find("short").columns["text"] == "text"


@pytest.mark.parametrize("missing", ["nowhere", "~nobody-has-this-name/tasks", "a\0b"])
def test_a_missing_folder_is_named(missing):
    with pytest.raises(UsageError, match=r"task_path: .* is not a folder"):
        load_registry([missing])


def test_a_folder_without_tasks_and_a_file_in_place_of_a_folder(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(UsageError, match="holds no task file"):
        load_registry([str(tmp_path)])
    with pytest.raises(UsageError, match="is not a folder"):
        load_registry([str(tmp_path / "readme.txt")])


def test_broken_files_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"mine\.yaml:4: metric: unknown key\. Did you mean \"metrics\"\?"):
        load_registry([write(tmp_path / "a", mine=TASK + "metric: [f1]\n")])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "latin.yaml").write_bytes(b"description: caf\xe9")
    with pytest.raises(UsageError, match=r"latin\.yaml: cannot be read"):
        load_registry([str(tmp_path / "b")])
    (tmp_path / "c" / "folder.yaml").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"folder\.yaml: cannot be read"):
        load_registry([str(tmp_path / "c")])


@pytest.mark.parametrize(
    ("typed", "meant"), [("sst", "sst2"), ("SST2", "sst2"), ("agnews", "ag_news"), ("MNLI", "mnli")]
)
def test_a_mistyped_task_gets_the_nearest_spelling(typed, meant):
    with pytest.raises(UsageError, match=f'No task is called "{typed}". Did you mean "{meant}"?.*task_path') as caught:
        BUILT_IN.find(typed)
    assert "rotten_tomatoes" in str(caught.value)


def shared_files():
    for task in BUILT_IN.values():
        base = task.dataset.path.rsplit("/", 1)[-1]
        for split in task.rows:
            file = SHARED / base / (task.dataset.name or "default") / f"{split}.parquet"
            if file.is_file() and (task.name, split) != ("mnist", "train"):  # a sample of it lies there
                yield pytest.param(task, split, file, id=f"{task.name}-{split}")


@pytest.mark.parametrize(("task", "split", "file"), list(shared_files()))
def test_a_built_in_task_agrees_with_the_real_data(task, split, file):
    """Rows, columns and label ids of the files themselves, where they lie beside the repository."""
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    assert table.num_rows == task.rows[split]
    assert set(task.columns.values()) <= set(table.column_names)
    ids = set(table[task.columns["label"]].to_pylist())
    if split not in task.unlabelled and task.labels:
        assert ids == set(range(len(task.labels)))


@pytest.mark.parametrize(("task", "split", "file"), list(shared_files()))
def test_a_built_in_task_names_the_classes_as_the_real_data_do(task, split, file):
    import json

    import pyarrow.parquet as pq

    metadata = pq.read_schema(file).metadata or {}
    if b"huggingface" not in metadata:
        pytest.skip("the file names no classes")
    feature = json.loads(metadata[b"huggingface"])["info"]["features"][task.columns["label"]]
    if "names" not in feature:
        pytest.skip("the file names no classes")
    assert tuple(feature["names"]) == task.labels


def test_real_data_are_compared_where_there_are_any():
    if not SHARED.is_dir():
        pytest.skip("no real data beside the repository")
    assert {"sst2", "mnli", "cola", "rte", "ag_news", "mnist"} <= {param.values[0].name for param in shared_files()}
