"""A user's folder, as a test of a kind writes it, and what ``verify check`` and ``verify tasks check`` make of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from verify.cli.main import main

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Stated:
    """One number of a card, and the truth about it.

    ``label`` is the metric as the card writes it, ``metric`` its canonical name, ``true`` what an oracle measured (a
    fraction, or a raw number). The card prints the truth plus ``flattery`` (in the card's own unit), with ``digits``
    decimals. ``within`` is how far a sound rerun may be from the oracle: for a count next to nothing, for a mean of
    float32 outputs what changes in the last bits.
    """

    label: str
    metric: str
    true: float
    digits: int = 4
    percent: bool = False
    flattery: float = 0.0
    within: float = 1e-9

    @property
    def scale(self) -> float:
        return 100.0 if self.percent else 1.0

    @property
    def literal(self) -> str:
        return f"{self.true * self.scale + self.flattery:.{self.digits}f}"


@dataclass
class Place:
    """A folder with a model's repository, task files and data: everything that a user has, and no Python."""

    folder: Path
    stated: dict[tuple[str, str], list[Stated]] = field(default_factory=dict)

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def file(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def task(self, name: str, text: str) -> None:
        self.file(f"tasks/{name}.yaml").write_text(text)

    def claim(self, data: str, *stated: Stated, split: str = "test") -> None:
        """Put numbers on the card; ``data`` is the task's alias."""
        assert len({one.literal for one in stated}) == len(stated), "two claims that look the same are one"
        self.stated[data, split] = list(stated)

    def check(self, *arguments: str) -> dict[str, Any]:
        """Run ``verify check`` in the folder, in a process of its own; the object that it prints."""
        (self.model / "README.md").write_text(_card(self.stated))
        command = [sys.executable, "-m", "verify", "check", "./model", "task_path=[./tasks]", "--json", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_HOME": str(self.folder / "hf")}
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.stdout, done.stderr
        assert "Traceback" not in done.stderr
        found = json.loads(done.stdout)
        assert done.returncode == found["exit_code"]
        return found

    def assert_judged(self, found: Mapping[str, Any], data: str, split: str = "test") -> None:
        """Every true number about ``data`` is reproduced; every flattered one is not, by what was added to it."""
        verdicts = {
            verdict["claim"]["literal"]: verdict for verdict in found["verdicts"] if verdict["claim"]["dataset"] == data
        }
        assert set(verdicts) == {one.literal for one in self.stated[data, split]}
        for one in self.stated[data, split]:
            verdict = verdicts[one.literal]
            context = (one, verdict["reason"], verdict["next"])
            if verdict["kind"] == "explained":  # the number happens to be another metric's, which must then give it
                value, noise = verdict["explanation"]["found"]["value"], verdict["interval"]
                assert abs(value - float(one.literal)) <= (noise[1] - noise[0]) / 2, context
                assert verdict["explanation"]["chance"] <= 0.05, context
            assert (verdict["kind"] in ("overstated", "explained")) == bool(one.flattery), context
            assert one.flattery or verdict["kind"] == "reproduced", context
            assert verdict["evidence"] == "full"
            measured = one.true * one.scale
            assert verdict["measured"] == pytest.approx(measured, abs=one.within * one.scale), context
            assert verdict["delta"] == pytest.approx(measured - float(one.literal), abs=one.within * one.scale)

    def assert_can_be_tried(self, name: str, capsys: Any, monkeypatch: Any) -> None:
        """``verify tasks check`` sends a tiny model over the first rows, and every metric asked for is measured."""
        monkeypatch.chdir(self.folder)
        assert main(["tasks", "check", name, "task_path=[./tasks]"]) == 0
        printed = capsys.readouterr().out
        assert f"The task {name} works." in printed
        assert "Not measured" not in printed


def _card(stated: Mapping[tuple[str, str], Sequence[Stated]]) -> str:
    results = "".join(
        f"  - task: {{type: any}}\n    dataset: {{type: {data}, name: {data}, split: {split}}}\n    metrics:\n"
        + "".join(f"    - {{type: {one.label}, value: {one.literal}}}\n" for one in numbers)
        for (data, split), numbers in stated.items()
    )
    return f"---\nmodel-index:\n- name: model\n  results:\n{results}---\n# A model\n"
