import pytest

from verify.errors import UsageError
from verify.tasks.registry import load_registry

TASK = """\
kind: sequence-classification
dataset: {path: csv, split: test, data_files: {test: rows.csv}}
columns: {text: text, label: label}
"""
BUILT_IN = load_registry()


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return str(folder)


def test_the_built_in_tasks_are_there():
    assert {"sst2", "mnli", "mrpc", "stsb", "imdb", "ag_news", "mnist", "cifar10"} <= set(BUILT_IN)
    for name, task in BUILT_IN.items():
        assert task.name == name


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
