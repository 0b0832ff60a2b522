"""``verify check`` under a launcher: ``accelerate launch`` or torchrun start the whole command several times."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.builders import bert, model_index, sentences, write_parquet, write_task

from verify.cli.main import main
from verify.engine.running.layout import alone, launched
from verify.errors import UsageError
from verify.store.runs import PREDICTIONS, RunFolder

ROOT = Path(__file__).parents[3]
TEXTS = sentences(120)
LABELS = [i % 2 for i in range(120)]
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "LOCAL_RANK": "1"}


def test_without_a_launcher_there_is_no_layout():
    assert launched({}) is None
    assert launched({"PATH": "/bin", "OMP_NUM_THREADS": "1"}) is None
    assert launched({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}) is None
    assert launched({"RANK": "first", "WORLD_SIZE": "2"}) is None


def test_a_launcher_says_which_process_this_is_and_of_how_many():
    assert launched(TORCHRUN) == (1, 4)
    assert launched({"RANK": "0", "WORLD_SIZE": "2"}) == (0, 2)


def test_several_machines_are_refused_in_one_paragraph():
    with pytest.raises(UsageError) as caught:
        launched({**TORCHRUN, "WORLD_SIZE": "8"})
    assert "8 processes on several machines (4 here)" in str(caught.value)
    assert "once on each machine" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_workers_do_not_inherit_what_a_launcher_says():
    launcher = {
        **TORCHRUN,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29500",
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_USE_DEEPSPEED": "true",
        "OMPI_COMM_WORLD_SIZE": "4",
    }
    own = {"PATH": "/bin", "HF_HOME": "/cache", "CUDA_VISIBLE_DEVICES": "0,1", "ACCELERATE_USE_CPU": "true"}
    assert alone({**launcher, **own}) == own


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a model whose card is right about a task; its number of right answers."""
    from engine.running.test_run import plain_loop

    model, words = bert(tmp_path / "model", TEXTS, ["no", "yes"])
    right = int((plain_loop(model, words, TEXTS).argmax(1) == LABELS).sum())
    file = write_parquet(tmp_path / "data.parquet", {"text": TEXTS, "label": LABELS})
    write_task(tmp_path / "tasks", "mine", file, columns="{text: text, label: label}", more="labels: ['no', 'yes']\n")
    (tmp_path / "model" / "README.md").write_text(model_index({"accuracy": f"{right / 120:.4f}"}, dataset="mine"))
    monkeypatch.chdir(tmp_path)
    return tmp_path, right


def test_only_the_first_process_works(place, monkeypatch, capsys):
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "./model", "task_path=[tasks]"]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert not Path("results").exists()


def test_the_first_process_starts_as_many_workers_unless_told_otherwise(place, monkeypatch, capsys):
    for name, value in {**TORCHRUN, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert main(["check", "./model", "--cfg"]) == 0
    assert re.search(r"processes: 4$", capsys.readouterr().out, re.MULTILINE)
    assert main(["check", "./model", "engine.processes=1", "--cfg"]) == 0
    assert re.search(r"processes: 1$", capsys.readouterr().out, re.MULTILINE)


LAUNCHERS = {
    "accelerate launch": (
        ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--mixed_precision", "no"],
        {"ACCELERATE_USE_CPU": "true"},
    ),
    "torchrun": (["torch.distributed.run", "--standalone", "--nproc_per_node", "2"], {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_under_a_launcher_two_workers_share_the_run_and_one_table_is_printed(place, launcher):
    folder, right = place
    words, more = LAUNCHERS[launcher]
    command = [sys.executable, "-m", *words, "-m", "verify", "check", "./model", "task_path=[tasks]"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **more}
    done = subprocess.run(
        [*command, "engine.device=cpu"], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Claims of model") == 1
    assert "reproduced" in done.stdout
    (file,) = Path("results").glob("model/mine.validation/*/measurements/*.json")
    stored = json.loads(file.read_text())
    assert stored["provenance"]["processes"] == 2
    assert stored["scores"]["accuracy"]["count"] == right
    run = RunFolder(file.parents[1])
    assert len(run.rows(PREDICTIONS)) == 120
    (folder / "model" / "README.md").write_text(model_index({"accuracy": "0.0123"}, dataset="mine"))
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode != 0, "a launcher hands failures on"
    assert "0.0123" in again.stdout
