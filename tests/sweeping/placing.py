"""Models with tasks of their own to sweep, and the units that ask for them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from helpers.builders import bert, model_index, save, sentences, write_parquet, write_task

from verify.configuration.compose import compose_config
from verify.configuration.schema import VerifyConfig
from verify.sweeping.units import Ended, Happened, Report, Unit

COUNT, LONG_COUNT = 60, 2000
NAMES = ["no", "yes"]
TEXTS, LONG_TEXTS = sentences(COUNT), sentences(LONG_COUNT)


@dataclass(frozen=True)
class Place:
    """A folder with models and the tasks ``short`` and ``long``, of which the second takes a large model seconds."""

    folder: Path

    def build(self) -> "Place":
        for name, texts in (("short", TEXTS), ("long", LONG_TEXTS)):
            labels = [i % 2 for i in range(len(texts))]
            file = write_parquet(self.folder / f"{name}.parquet", {"text": texts, "label": labels})
            named = "labels: ['no', 'yes']\n"
            write_task(self.folder / "tasks", name, file, columns="{text: text, label: label}", more=named)
        bert(self.folder / "small", TEXTS, NAMES)
        model, _ = bert(self.folder / "large", LONG_TEXTS, NAMES, hidden=256, layers=4)
        for module in model.modules():
            if isinstance(module, torch.nn.Linear | torch.nn.Embedding):
                torch.nn.init.normal_(module.weight, std=0.05)
        save(self.folder / "large", model)
        return self

    def card(self, model: str, *tasks: str) -> None:
        """A card that claims an accuracy on each task."""
        cards = [model_index({"accuracy": "0.5"}, dataset=task) for task in tasks]
        results = "".join(card.split("  results:\n")[1].split("---\n")[0] for card in cards)
        (self.folder / model / "README.md").write_text(
            f"---\nmodel-index:\n- name: {model}\n  results:\n{results}---\n# {model}\n"
        )

    def copy(self, name: str, of: str = "small") -> str:
        """Another model with the same weights."""
        shutil.copytree(self.folder / of, self.folder / name)
        return name

    def config(self, results: str, *settings: str) -> VerifyConfig:
        return compose_config(
            None,
            [
                f"task_path=[{self.folder / 'tasks'}]",
                f"results={self.folder / results}",
                "engine.device=cpu",
                "policy.stop=never",
                *settings,
            ],
        )

    def unit(self, model: str, tasks: Sequence[str] | None = None, **fields: Any) -> Unit:
        asked = tuple(tasks) if tasks is not None else None
        return Unit(str(self.folder / model), f"key-of-{model}", asked, **fields)

    def hub_unit(self, model: str) -> Unit:
        return Unit(model, f"key-of-{model.replace('/', '-')}")


def stages(reports: Sequence[Report]) -> list[str]:
    return [one.event["stage"] for one in reports if isinstance(one, Happened) and one.event["event"] == "stage"]


def ended(reports: Sequence[Report]) -> list[Ended]:
    return [one for one in reports if isinstance(one, Ended)]


def timeless(value: Any) -> Any:
    """A finished unit but for its time."""
    return replace(value, seconds=0.0)
