"""A tiny untrained model of the right kind, saved as a repository is, so that a task can be tried without a real one.

Its scores mean nothing; what it shows is that the data, the columns, the labels and the whole path fit together. There
is one module for each kind of model, with a function ``save(examples, folder)``.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from verify.engine.job import module_of
from verify.tasks.data import Examples


def save_stub(kind: str, examples: Examples, folder: Path) -> None:
    """Write a model with random weights, and its tokeniser or processor, that fits ``examples`` into ``folder``."""
    import torch

    torch.manual_seed(0)
    importlib.import_module(f"verify.engine.stub.{module_of(kind)}").save(examples, folder)
