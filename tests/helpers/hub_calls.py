"""Calls of :mod:`verify.hub.models` in fresh processes, and model folders to call it with.

huggingface_hub reads HF_ENDPOINT and HF_HOME when it is imported, so each test that needs a Hub asks from a process of
its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from verify.hub import models

CARD = "---\nlicense: apache-2.0\n---\n# Tiny\nAccuracy: 0.91\n"
WEIGHTS = save({"weight": np.arange(30_000, dtype=np.float32)})  # 120 kB

PRELUDE = """
import json, os, sys
from dataclasses import asdict
from verify.hub import models, revisions
from verify.errors import VerifyError

def plain(repository):
    return {**asdict(repository), "folder": str(repository.folder)}

def everything(reference):
    repository = models.resolve(reference)
    models.check_safety(repository)
    fetched = models.fetch_weights(repository)
    models.check_safety(fetched)
    return {**plain(fetched), "digests": models.digests(fetched), "texts": models.texts(fetched)}

try:
    answer = CALL
except VerifyError as error:
    answer = {"error": type(error).__name__, "message": str(error)}
assert not {"torch", "transformers"} & set(sys.modules)
print(json.dumps(answer))
"""


def run(environment: dict[str, str], code: str) -> str:
    """Run ``code`` in a fresh process, which must succeed, and return the last line that it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def ask(environment: dict[str, str], call: str, before: str = "") -> Any:
    """Evaluate one expression in a fresh process, and return what it gave or the VerifyError that it raised."""
    return json.loads(run(environment, before + PRELUDE.replace("CALL", call)))


def refusal(environment: dict[str, str], call: str, kind: str = "HubError", before: str = "") -> str:
    """Return the message of the error that the call must raise; it must be one paragraph without a secret in it."""
    answer = ask(environment, call, before)
    assert answer.get("error") == kind, answer
    assert "\n" not in answer["message"]
    return str(answer["message"])


def write_model(folder: Path, **files: str | bytes) -> Path:
    """Write a model folder: a card, a configuration and weights, or what ``files`` says instead."""
    content: dict[str, str | bytes] = {"README.md": CARD, "config.json": "{}", "model.safetensors": WEIGHTS, **files}
    for name, text in content.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return folder


def local_model(folder: Path, **files: str | bytes) -> models.ModelRepository:
    """Write a model folder and resolve it."""
    return models.resolve(str(write_model(folder, **files)))
