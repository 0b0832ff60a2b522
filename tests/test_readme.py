"""Every command of the README is run: in a folder that holds what the README speaks of, with a Hub on loopback."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from engine.running.test_run import plain_loop
from helpers.builders import DEMO, bert, model_index, sentences, write_parquet
from helpers.loopback_hub import LoopbackHub

from verify.tasks.kinds import KINDS
from verify.tasks.registry import load_registry

README = (Path(__file__).resolve().parents[1] / "README.md").read_text()
COMMANDS = [
    line.split("#")[0].strip() for line in README.splitlines() if line.startswith(("    verify ", "    accelerate "))
]
TEXTS = sentences(60)


def test_the_readme_has_its_commands():
    assert len(COMMANDS) >= 12
    assert len(set(COMMANDS)) == len(COMMANDS)
    assert [line.strip() for line in README.splitlines() if line.startswith("    make ")] == ["make demo", "make test"]


def test_the_table_of_kinds_is_that_of_the_program():
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in README.splitlines() if line.startswith("|")]
    shown = {row[0]: row[1:] for row in rows if row[0] in KINDS}
    for kind in KINDS.values():
        columns = "; ".join(", ".join(roles) for roles in (kind.required, kind.optional) if roles)
        assert shown[kind.name] == [columns, ", ".join(kind.metrics), ", ".join(kind.settings)]
    assert f"{len(load_registry())} benchmarks come with the package" in README


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The working folder and the environment in which the README's commands are run."""
    work, root = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("hub")
    model, words = bert(work / "my-model", TEXTS, ["negative", "positive"])
    right = (plain_loop(model, words, TEXTS).argmax(1) == [0, 1] * 30).sum()
    card = model_index({"accuracy": f"{right / 60:.4f}"}, dataset="sst2")
    (work / "my-model/README.md").write_text(card)
    task = re.search(r"# (my_tasks/\S+)\n((?:    .*\n)+)", README)
    (work / "my_tasks").mkdir()
    (work / task[1]).write_text("".join(line[4:] + "\n" for line in task[2].splitlines()))
    corrections = re.search(r"# (corrections\S+)\n((?:    .*\n)+)", README)
    (work / corrections[1]).write_text("".join(line[4:] + "\n" for line in corrections[2].splitlines()))
    suite = re.search(r"# (my_conf/suite/\S+)\n((?:    .*\n)+?)\n", README)
    (work / suite[1]).parent.mkdir(parents=True)
    (work / suite[1]).write_text("".join(line[4:] + "\n" for line in suite[2].splitlines()))
    (work / "models").mkdir()
    shutil.copytree(work / "my-model", work / "models/mine")
    (work / "models.txt").write_text("./my-model  # here\nORG/MODEL\n")
    rows = "".join(f"{text},{i % 2}\n" for i, text in enumerate(TEXTS))
    (work / "my_tasks/reviews.csv").write_text(f"body,stars\n{rows}")
    for name in ("ORG/MODEL", "ORG/MODEL@v1.0", "distilbert/distilbert-base-uncased-finetuned-sst-2-english"):
        shutil.copytree(work / "my-model", root / "models" / name)
    data = root / "datasets/nyu-mll/glue"
    write_parquet(data / "sst2/validation-00000-of-00001.parquet", {"sentence": TEXTS, "label": [0, 1] * 30})
    config = "- config_name: sst2\n  data_files:\n  - {split: validation, path: sst2/validation-*}\n"
    (data / "README.md").write_text(f"---\nconfigs:\n{config}---\n")
    with LoopbackHub(root) as hub:
        environment = {**hub.environment(work / "home"), "PYTHONPATH": str(DEMO.parents[1])}
        first = [sys.executable, "-m", "verify", "check", "./my-model"]
        subprocess.run(first, cwd=work, env=environment, capture_output=True, timeout=300, check=True)
        yield work, environment


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_works(place, command):
    work, environment = place
    program = [sys.executable, "-m", *shlex.split(command.replace("accelerate launch", "accelerate.commands.launch"))]
    commands = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])
    on_cpu = {**environment, "PATH": commands, "ACCELERATE_USE_CPU": "true"}  # else the launcher asks for two GPUs
    done = subprocess.run(program, cwd=work, env=on_cpu, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1, 3), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip()


def test_the_lines_of_python_work(place):
    work, environment = place
    lines = re.search(r"    import verify\n(?:(?:    .*)?\n)+", README)[0]
    code = "\n".join(line[4:] for line in lines.splitlines()).replace("progress=print", "progress=[].append")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=work,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_the_demo_prints_the_table_of_the_readme():
    environment = {**os.environ, "COLUMNS": "160"}
    done = subprocess.run(
        [sys.executable, str(DEMO.parent / "demo.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "6 of 6 verdicts are right." in done.stdout
    shown = re.sub(r"[│\s]+", " ", done.stderr)
    for line in re.findall(r"README\.md:\d+ .*", README):
        measured, difference, verdict = re.split(r"\s{2,}", line)[1:4]
        assert f"{measured} {difference} {verdict}" in shown.replace("│", " ")
