"""A small real classifier whose answers are known, data that it gets right for the most part, and a card to write."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from engine.running.test_run import plain_loop
from helpers.builders import bert, save, sentences, write_parquet, write_task
from sklearn.metrics import accuracy_score, f1_score

from verify.cli.main import main

CLASSES = ["angry", "calm", "glad"]
COUNT = 240
TEXTS = sentences(COUNT)
PATH = "task_path=[tasks]"


@dataclass
class Place:
    """The folder in which a user works; ``predicted`` and ``labels`` [240] are class ids, most of them equal.

    The first class is rarer than the others and told apart less well, so that averages of F1 differ.
    """

    folder: Path
    predicted: np.ndarray | None = None
    labels: np.ndarray | None = None

    def build(self) -> "Place":
        """A model that gives every class, and labels that agree with it in most rows."""
        model, words = bert(self.folder / "model", TEXTS, CLASSES)
        logits = plain_loop(model, words, TEXTS)
        shift = np.median(logits, axis=0) + np.array([np.std(logits[:, 0]) / 2, 0, 0], np.float32)
        with torch.no_grad():
            model.classifier.bias -= torch.tensor(shift)
        save(self.folder / "model", model)
        self.predicted = (logits - shift).argmax(1)
        chance = np.random.default_rng(0)
        sure = np.where(self.predicted == 0, 0.4, 0.9)
        self.labels = np.where(chance.random(COUNT) < sure, self.predicted, chance.integers(0, 3, COUNT))
        assert np.bincount(self.predicted, minlength=3).min() >= 15
        file = write_parquet(self.folder / "data.parquet", {"text": TEXTS, "label": self.labels.tolist()})
        named = f"labels: [{', '.join(CLASSES)}]\n"
        write_task(self.folder / "tasks", "moods", file, columns="{text: text, label: label}", more=named)
        return self

    def scores(self, predicted: np.ndarray | None = None) -> dict[str, float]:
        """Scores by scikit-learn, of the model or of other predictions."""
        chosen = self.predicted if predicted is None else predicted
        averages = {f"f1_{name}": f1_score(self.labels, chosen, average=name) for name in ("macro", "weighted")}
        return {"accuracy": accuracy_score(self.labels, chosen), **averages}

    def claim(self, stated: dict[str, str]) -> None:
        """A card whose metadata states these numbers, by the canonical name of the metric."""
        names = {"f1_macro": "F1 macro", "f1_weighted": "F1 weighted"}
        listed = "".join(
            f"    - {{type: {'f1' if name in names else name}, name: {names.get(name, name)}, value: {value}}}\n"
            for name, value in stated.items()
        )
        (self.folder / "model/README.md").write_text(
            "---\nmodel-index:\n- name: m\n  results:\n  - task: {type: text-classification}\n"
            f"    dataset: {{type: moods, name: moods, split: validation}}\n    metrics:\n{listed}---\n# m\n"
        )


def run(capsys, *arguments: str):
    """Run a verb in this process; its exit code, its JSON object and what went to standard error."""
    code = main([*arguments, "--json"])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, json.loads(printed.out) if printed.out else None, printed.err


def check(capsys, *arguments: str):
    """A check that always runs the whole split."""
    return run(capsys, "check", "./model", PATH, "engine.device=cpu", "policy.stop=never", *arguments)


def kinds(found) -> dict[str, str]:
    return {verdict["claim"]["metric"]: verdict["kind"] for verdict in found["verdicts"]}
