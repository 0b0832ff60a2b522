"""The models of the suite of known truth: trained in a second each, scored by other packages, and some then damaged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from benchmarks.causes import numbers
from benchmarks.causes.data import TEST, Data
from benchmarks.causes.models import Recipe, embedder, trained
from benchmarks.causes.numbers import Numbers
from benchmarks.sweep.data import PACKAGES, sets

RECIPES: Mapping[str, Recipe] = {
    "summaries": Recipe(4, 5e-3),
    "digits": Recipe(10, 5e-3),
    "code": Recipe(6, 5e-3),
}
ENDLESS = 10**9
"""Layers of a model that shares its weights among them: it is as small as any other, and never done."""
TRIED = 10
"""Seeds among which one is chosen where a case asks for more than a trained model."""

Order = tuple[int, ...]
"""For each output of a classifier the class whose name it bears; empty where that is the one that it learned."""


@dataclass(frozen=True)
class Subject:
    """A trained model: the set that it learned from and the seed. ``measured`` is the set that it is measured on."""

    learned: str
    seed: int
    measured: str

    def on(self, measured: str) -> Subject:
        return Subject(self.learned, self.seed, measured)


def text(seed: int) -> Subject:
    return Subject("summaries", seed, "summaries")


def image(seed: int) -> Subject:
    return Subject("digits", seed, "digits")


def tags(seed: int) -> Subject:
    return Subject("code", seed, "code")


def pairs(seed: int) -> Subject:
    """The encoder of a text classifier, which puts texts of one package close together."""
    return Subject("summaries", seed, "pairs")


@dataclass
class Workshop:
    """Trains what is asked for, once, in a folder of its own."""

    folder: Path
    data: Mapping[str, Data] = field(default_factory=sets)
    _known: dict[tuple[Subject, str, Order], Numbers] = field(default_factory=dict)

    def state(self, subject: Subject) -> Path:
        """The repository of a model, without a card."""
        *_, last = trained(self.data[subject.learned], subject.seed, self.folder, RECIPES[subject.learned])
        return embedder(last) if subject.measured == "pairs" else last

    def numbers(self, subject: Subject, part: str = TEST, order: Order = ()) -> Numbers:
        """What scikit-learn, seqeval or SciPy say of the model on one part, by canonical name; fractions.

        With an ``order``, of a classifier after :func:`reorder_labels`.
        """
        key = (subject, part, order)
        if key not in self._known:
            self._known[key] = _numbers(self.state(subject), self.data[subject.measured], part, order)
        return self._known[key]

    def first(self, subject: Subject, suits: Callable[[Subject], bool]) -> Subject:
        """The subject, or the same with the first other seed that ``suits``: training is not the same everywhere."""
        others = (replace(subject, seed=subject.seed + 100 * again) for again in range(TRIED))
        found = next((other for other in others if suits(other)), None)
        if found is None:
            raise SystemExit(f"None of {TRIED} seeds gives what the case needs of {subject}; choose another recipe.")
        return found

    def rows(self, subject: Subject, part: str = TEST) -> int:
        count: int = self.data[subject.measured].parts[part].num_rows
        return count


def _numbers(state: Path, data: Data, part: str, order: Order) -> Numbers:
    if data.kind == "sentence-similarity":
        return numbers.correlated(numbers.cosines(state, data, part, "mean"), np.array(data.column(part, "score")))
    if data.kind == "token-classification":
        return numbers.entities(*numbers.tags_of(state, data, part))
    given, reference = np.stack(numbers.logits(state, data, part)), np.array(data.column(part, "label"))
    given = given[:, np.argsort(order)] if order else given
    found = {"accuracy": numbers.classified(given, reference, "macro")["accuracy"]}
    for average in numbers.AVERAGES:
        averaged = numbers.classified(given, reference, average)
        found |= {f"{name}_{average}": averaged[name] for name in ("f1", "precision", "recall")}
    return found


def endless(folder: Path, reader: Path) -> None:
    """A repository whose model is loaded in an instant and needs hours for one example, without growing.

    It reads texts as the text classifier in the folder ``reader`` does.
    """
    import torch
    from transformers import AlbertConfig, AlbertForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(reader)
    config = AlbertConfig(
        vocab_size=len(words),
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
        id2label=dict(enumerate(PACKAGES)),
        label2id={name: number for number, name in enumerate(PACKAGES)},
    )
    AlbertForSequenceClassification(config).eval().save_pretrained(folder)
    words.save_pretrained(folder)
    _change_config(folder, num_hidden_layers=ENDLESS)


def reorder_labels(folder: Path, order: Order) -> None:
    """Name the outputs of a classifier in another order than the one that it learned."""
    names = json.loads((folder / "config.json").read_text())["id2label"]
    moved = {str(place): names[str(source)] for place, source in enumerate(order)}
    _change_config(folder, id2label=moved, label2id={name: int(place) for place, name in moved.items()})


def ask_for_code(folder: Path) -> None:
    _change_config(folder, auto_map={"AutoModelForSequenceClassification": "modeling.OwnModel"})
    (folder / "modeling.py").write_text("class OwnModel: ...\n")


def spoil_config(folder: Path) -> None:
    file = folder / "config.json"
    file.write_text(file.read_text()[:-20])


def remove_head(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    file = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(file).items() if not name.startswith("classifier.")}
    save_file(kept, file, {"format": "pt"})


def cut_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def pickle_weights(folder: Path) -> None:
    import torch
    from safetensors.torch import load_file

    file = folder / "model.safetensors"
    torch.save(load_file(file), folder / "pytorch_model.bin")
    file.unlink()


def copied(state: Path, folder: Path) -> Path:
    shutil.copytree(state, folder)
    return folder


def _change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}, indent=1) + "\n")
