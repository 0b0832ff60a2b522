"""A user's folder with a small model, its data and its task, to make hostile and honest copies of."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from helpers.builders import bert, model_index, sentences, write_parquet, write_task
from transformers import AutoModelForSequenceClassification

from hostile.harness import Outcome, verify
from verify.store.runs import PREDICTIONS, RunFolder

TEXTS = sentences(40)
CARD = model_index({"accuracy": "0.5"}, dataset="mine")


@dataclass(frozen=True)
class Place:
    """``base`` is a sound model. Every repository in ``folder`` has a card that claims an accuracy of 0.5."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    def model(self) -> Any:
        return AutoModelForSequenceClassification.from_pretrained(self.base)

    def pickled(self, name: str, data: bytes) -> Path:
        """A copy of the base whose weights are ``data``, as a pickle."""
        copy = self.folder / name
        shutil.copytree(self.base, copy)
        (copy / "model.safetensors").unlink()
        (copy / "pytorch_model.bin").write_bytes(data)
        return copy

    def adapter(self, name: str, config: Any) -> tuple[Path, Path]:
        """An adapter on the base, and the model that merging gives."""
        import peft

        torch.manual_seed(1)
        adapted = peft.get_peft_model(self.model(), config)
        with torch.no_grad():
            for parameter in adapted.parameters():
                if parameter.requires_grad:
                    parameter.add_(torch.randn_like(parameter) * 0.3)
        folder, merged = self.folder / name, self.folder / f"{name}-merged"
        adapted.save_pretrained(folder)
        shutil.copytree(self.base, merged)
        adapted.merge_and_unload().save_pretrained(merged)
        (folder / "README.md").write_text(CARD)
        return folder, merged

    def check(self, *words: str, environment: dict[str, str] | None = None, payload: Path | None = None) -> Outcome:
        """``verify check`` in the folder, within the bounds of hostile input."""
        own = environment or {**os.environ, "HF_HOME": str(self.folder / "home"), "HF_HUB_OFFLINE": "1"}
        words = ("check", *words, "task_path=[./tasks]", "--json")
        return verify(*words, cwd=self.folder, environment=own, payload=payload).require_bounds()


def make_place(folder: Path) -> Place:
    bert(folder / "base", TEXTS, ["no", "yes"])
    (folder / "base/README.md").write_text(CARD)
    file = write_parquet(folder / "data.parquet", {"text": TEXTS, "label": [i % 2 for i in range(len(TEXTS))]})
    write_task(folder / "tasks", "mine", file, columns="{text: text, label: label}", more='labels: ["no", "yes"]\n')
    return Place(folder)


def scores(outcome: Outcome, digits: int | None = None) -> dict[str, float]:
    """Every score of the only measurement, rounded to ``digits``."""
    (measurement,) = outcome.found["measurements"]
    return {
        name: round(one["value"], digits) if digits else one["value"] for name, one in measurement["scores"].items()
    }


def logits(place: Place, outcome: Outcome) -> Any:
    (measurement,) = outcome.found["measurements"]
    return RunFolder((place.folder / measurement["result"]).parents[1]).predictions(PREDICTIONS).logits
