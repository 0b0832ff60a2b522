import json
import os
import subprocess
import sys

import pytest

from verify.cli.claims import run
from verify.configuration.schema import VerifyConfig
from verify.errors import HubError, UsageError

CARD = "It achieves the following results on the evaluation set:\n- Loss: 0.2873\n- Accuracy: 0.9290\n"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    return folder


def test_json_of_a_folder_and_of_a_card(model, capsys):
    assert run(str(model), VerifyConfig(), as_json=True, as_jsonl=False) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"schema", "model", "revision", "claims", "candidates", "findings"}
    assert printed["model"] == "mine"
    accuracy = printed["claims"][1]
    assert accuracy["metric"] == "accuracy"
    assert (accuracy["value"], accuracy["literal"], accuracy["unit"]) == (0.929, "0.9290", "fraction")
    assert accuracy["interval"] == [0.92895, 0.92905]
    assert (accuracy["where"], accuracy["file"], accuracy["line"]) == ("eval-list", "README.md", 3)
    assert accuracy["quote"] == "- Accuracy: 0.9290"
    run(str(model / "README.md"), VerifyConfig(), as_json=True, as_jsonl=False)
    assert json.loads(capsys.readouterr().out)["claims"] == printed["claims"]


def test_jsonl_of_a_folder_of_cards(model, capsys):
    run(str(model.parent), VerifyConfig(), as_json=False, as_jsonl=True)
    (line,) = capsys.readouterr().out.splitlines()
    card = json.loads(line)
    assert card["id"] == "mine"
    assert [claim["value"] for claim in card["claims"]] == [0.2873, 0.929]


def test_the_table_shows_value_unit_and_place(model, capsys):
    run(str(model), VerifyConfig(), as_json=False, as_jsonl=False)
    shown = capsys.readouterr().out
    for word in ("accuracy", "0.9290", "fraction", "README.md:3"):
        assert word in shown


@pytest.mark.parametrize("as_jsonl", [False, True])
def test_a_folder_without_a_card_is_refused(tmp_path, as_jsonl):
    with pytest.raises(UsageError, match=r"README\.md"):
        run(str(tmp_path), VerifyConfig(), as_json=False, as_jsonl=as_jsonl)


def test_neither_torch_nor_transformers_is_imported(model):
    code = (
        "import sys; from verify.configuration.schema import VerifyConfig; from verify.cli.claims import run; "
        f"run({str(model)!r}, VerifyConfig(), as_json=False, as_jsonl=False); "
        "print([name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines()[-1] == "[]"


def test_names_of_ones_own_are_read_and_resolved(model, tmp_path, capsys):
    (model / "README.md").write_text(
        "---\ndatasets: [imdb]\n---\n\n| Dataset | Sharpness |\n|---|---|\n| imdb | 0.91 |\n"
    )
    (tmp_path / "words.yaml").write_text(
        "metrics:\n  accuracy: {unit: fraction, greater_is_better: true, aliases: [sharpness]}\n"
    )
    run(str(model), VerifyConfig(vocabulary=[str(tmp_path / "words.yaml")]), as_json=True, as_jsonl=False)
    claim = json.loads(capsys.readouterr().out)["claims"][0]
    assert (claim["metric"], claim["literal"], claim["resolved_task"]) == ("accuracy", "0.91", "imdb")


def test_corrections_by_hand_are_applied_before_tasks_are_sought(model, tmp_path, capsys):
    file = tmp_path / "corrections.yaml"
    file.write_text("- {metric: accuracy, value: '0.9', unit: fraction, dataset: imdb, split: test}\n")
    run(str(model), VerifyConfig(claims=str(file)), as_json=True, as_jsonl=False)
    found = json.loads(capsys.readouterr().out)["claims"]
    added = next(claim for claim in found if claim["literal"] == "0.9")
    assert (added["resolved_task"], added["resolved_split"]) == ("imdb", "test")
    assert [claim["reason"] for claim in found if claim["resolved_task"] is None]


def test_a_card_that_leads_outside_its_folder_is_refused_and_the_others_are_read(model, tmp_path, capsys):
    (tmp_path / "secret").write_text(CARD)
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(HubError, match="outside the folder"):
        run(str(linked), VerifyConfig(), as_json=True, as_jsonl=False)
    assert run(str(tmp_path), VerifyConfig(), as_json=False, as_jsonl=True) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["id"] for line in printed.out.splitlines()] == ["mine"]
    assert "outside the folder" in printed.err


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_a_card_that_is_no_file_is_no_card(tmp_path, kind):
    (os.mkfifo if kind == "pipe" else os.mkdir)(tmp_path / "README.md")
    with pytest.raises(UsageError, match=r"README\.md"):
        run(str(tmp_path), VerifyConfig(), as_json=True, as_jsonl=False)
