import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builders import DEMO, sentences, write_parquet, write_task

from verify.cli.main import main
from verify.tasks.kinds import KINDS

ROOT = Path(__file__).parents[2]
TEXTS = sentences(10)


def said(capsys) -> str:
    return re.sub(r"[\s│]+", " ", capsys.readouterr().out)


def test_list_shows_built_in_tasks_and_ones_own_a_line_each(capsys):
    assert main(["tasks", "list", f"task_path=[{DEMO / 'tasks'}]"]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "digits parquet test 899 rows accuracy" in lines
    assert "sst2 nyu-mll/glue sst2 validation 872 rows accuracy" in lines
    kinds = [line.partition(":")[0] for line in lines if line.partition(":")[0] in KINDS]
    assert kinds == list(KINDS)
    assert lines.index("sst2 nyu-mll/glue sst2 validation 872 rows accuracy") < next(
        place for place, line in enumerate(lines) if line.startswith("token-classification: ")
    )


def test_list_and_show_load_nothing_heavy():
    code = (
        "import sys\nfrom verify.cli.main import main\nmain(['tasks', 'list'])\nmain(['tasks', 'show', 'sst2'])\n"
        "print([name for name in ('torch', 'transformers', 'datasets', 'numpy', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_show_prints_the_file(capsys):
    assert main(["tasks", "show", "mnli"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# ")
    assert "label: label" in text


@pytest.mark.parametrize(
    ("columns", "data", "shown"),
    [
        ("{text: t, label: y}", {"t": TEXTS, "y": [0, 1] * 5}, "accuracy"),
        ("{text: t, text_pair: u, label: y}", {"t": TEXTS, "u": TEXTS, "y": ["a", "b"] * 5}, "accuracy"),
        ("{text: t, text_pair: u, label: y}", {"t": TEXTS, "u": TEXTS, "y": [0.5, 1.5, 2.5, 0.1, 0.2] * 2}, "pearson"),
    ],
)
def test_check_runs_a_tiny_model_on_three_rows(tmp_path, capsys, columns, data, shown):
    file = write_parquet(tmp_path / "rows.parquet", data)
    write_task(tmp_path / "tasks", "mine", file, columns=columns, more=f"metrics: [{shown}]\n")
    assert main(["tasks", "check", "mine", f"task_path=[{tmp_path / 'tasks'}]"]) == 0
    text = said(capsys)
    assert TEXTS[0][:15] in text
    assert "ran on 3 rows" in text
    assert shown in text
    assert "The task mine works." in text


def test_check_runs_on_images(capsys):
    assert main(["tasks", "check", "digits", f"task_path=[{DEMO / 'tasks'}]"]) == 0
    text = said(capsys)
    assert "image 8 × 8, L" in text
    assert "The task digits works." in text


@pytest.mark.parametrize(
    ("columns", "more", "words"),
    [
        ("{text: tt, label: y}", "", ["columns.text", "'tt'", "Allowed: t, y"]),
        ("{text: t, label: y}", "metrics: [accuracyy]\n", ["accuracyy", '"accuracy"']),
        ("{text: y, label: y}", "", ["columns.text", "holds int"]),
    ],
)
def test_check_finds_what_is_wrong(tmp_path, capsys, columns, more, words):
    file = write_parquet(tmp_path / "rows.parquet", {"t": TEXTS, "y": [0, 1] * 5})
    write_task(tmp_path / "tasks", "mine", file, columns=columns, more=more)
    assert main(["tasks", "check", "mine", f"task_path=[{tmp_path / 'tasks'}]"]) in (2, 4)
    printed = capsys.readouterr()
    assert "works" not in printed.out
    for word in words:
        assert word in printed.err
