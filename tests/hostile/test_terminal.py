"""Characters that steer a terminal, turn its order round or hide, from every place where strangers write."""

import json
import os
import unicodedata
from pathlib import Path

import pytest

from hostile.harness import variants, verify
from verify.cli.main import main
from verify.report.clean import clean

clipboard = "\x1b]52;c;cGF5bG9hZA==\x07"
screen = "\x1b[2J\x1b[1;1H"
link = "\x1b]8;;http://example.org\x1b\\here\x1b]8;;\x1b\\"
one_byte = "\x9b2J\x9d52;c;eA==\x9c\x85"
turned = "\u202ederovorp\u202c\u2066x\u2069\u200e\u200f\u061c"
hidden = "acc\u200b\u2060\ufeff\u00ad" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore")
lines = "a\x0b\x0cb\u2028c\u2029d\x08\x7f"
FORBIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def require_clean(*texts: str) -> None:
    for text in texts:
        bad = {one for one in text if unicodedata.category(one) in FORBIDDEN and one not in "\n\t"}
        assert not bad, ascii(bad)


def yaml(text: str) -> str:
    """A scalar of YAML that means ``text``."""
    return json.dumps(text)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        try:
            code = main(list(words))
        except SystemExit as end:
            code = int(end.code or 0)
        return (code, *capsys.readouterr())

    return call


def card(bad: str) -> None:
    Path("model").mkdir(exist_ok=True)
    Path("model/config.json").write_text(json.dumps({"architectures": [bad], "model_type": bad}))
    Path("model/README.md").write_text(
        f"---\nmodel-index:\n- name: {yaml(bad)}\n  results:\n  - task: {{type: text-classification}}\n"
        f"    dataset: {{type: {yaml('a' + bad)}, name: {yaml('b' + bad)}, config: {yaml('c' + bad)}, "
        f"split: {yaml('d' + bad)}}}\n    metrics:\n    - {{type: {yaml('e' + bad)}, name: {yaml(bad)}, value: 91.5}}\n"
        f"    - {{type: accuracy, value: 91.5}}\n"
        f"---\n# m\n\n| Model | Accuracy |\n|---|---|\n| {bad.splitlines()[0]} | 93.1 |\n"
    )


ALL = (clipboard, screen, link, one_byte, turned, hidden, lines)


@variants(*ALL)
def test_a_card(variant, run):
    card(variant)
    code, out, err = run("claims", "./model")
    assert code == 0
    require_clean(out, err)
    code, found, err = run("claims", "./model", "--json")
    require_clean(found, err)
    literal = {claim["metric"] for claim in json.loads(found)["claims"] + json.loads(found)["candidates"]}
    assert any(variant in str(name) for name in literal) or variant in json.dumps(json.loads(found), ensure_ascii=False)


@variants(*ALL)
def test_a_task_file(variant, run):
    Path("tasks").mkdir()
    Path("tasks/mine.yaml").write_text(
        f"# {variant}\nkind: sequence-classification\n"
        f"dataset: {{path: {yaml(variant)}, split: {yaml('x' + variant)}}}\n"
        f"columns: {{text: {yaml(variant)}, label: label}}\n"
    )
    for action in (("list",), ("show", "mine"), ("check", "mine")):
        _, out, err = run("tasks", *action, "task_path=[tasks]")
        require_clean(out, err)
        assert out + err


@variants(*ALL)
def test_words_of_the_command_line_and_names_of_files(variant, run):
    name = clean(variant)[:20]
    for words in (
        ("check", f"./{variant}"),
        ("claims", f"./{variant}"),
        ("judge", f"results/{variant}"),
        ("explain", f"results/{variant}"),
        ("tasks", "show", variant),
        ("check", "./x", f"no.such={variant}"),
        ("check", "./x", f"results={yaml(variant)}", "--cfg"),
        ("claims", "./x", "--json", "--jsonl", variant),
        ("nothing", variant),
    ):
        _, out, err = run(*words)
        require_clean(out, err)
    assert name in run("tasks", "show", variant)[2]


@variants(clipboard, turned, one_byte)
def test_verdicts_of_results_that_somebody_sent(variant, run):
    """What cannot be read is an error whose message is clean; what can be read is shown cleaned."""
    card("x")
    run("check", "./model")
    for file in Path("results").rglob("*.json"):
        text = file.read_text()
        changed = json.loads(
            text, object_hook=lambda one: {k: v + variant if isinstance(v, str) else v for k, v in one.items()}
        )
        file.write_text(json.dumps(changed))
    for verb in ("judge", "explain"):
        _, out, err = run(verb, "results/model")
        require_clean(out, err)
        assert out + err


@variants("ascii", "latin-1", "utf-8")
def test_terminals_that_lack_characters(variant, tmp_path):
    os.chdir(tmp_path)
    card(turned + "模型 → é")
    environment = {**os.environ, "PYTHONIOENCODING": variant, "LC_ALL": "C", "PYTHONUTF8": "0"}
    outcome = verify("claims", "./model", cwd=tmp_path, environment=environment).require_bounds()
    assert outcome.code == 0
    require_clean(outcome.out, outcome.err)


def a_long_metric() -> str:
    return "m" * 50_000


def a_long_metric_of_invisible_characters() -> str:
    return "\u202e" * 10_000


@variants(a_long_metric, a_long_metric_of_invisible_characters)
def test_a_very_long_name_is_cut_on_the_terminal_and_whole_for_programs(variant, run):
    card(variant())
    code, out, err = run("claims", "./model")
    assert code == 0
    assert len(out) < 60_000
    require_clean(out, err)
    whole = run("claims", "./model", "--json")[1]
    assert variant() in json.dumps(json.loads(whole), ensure_ascii=False)


@variants("[red]x[/red]", "[link=http://example.org]x[/link]", "[/]", ":smile:", "\\[red]x", "[red")
def test_markup_of_strangers_is_text(variant, run):
    card(variant)
    code, out, _ = run("claims", "./model")
    assert code == 0
    assert variant in out.replace("\n", "") or variant[:5] in out
