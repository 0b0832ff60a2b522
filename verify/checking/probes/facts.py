"""What is known of a rerun before anything is run again: its record, and the small files of the repository."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from verify.checking.probes.probe import Facts
from verify.judging.cases import Case
from verify.types import TaskSpec

_FILE_LIMIT = 64 * 2**20  # bytes; larger files are not read


def facts_of(case: Case, folder: Path) -> Facts:
    """The facts about the rerun of a case and about the model repository in ``folder``.

    A file that is missing or cannot be read tells nothing.
    """
    provenance, config = case.measurement.provenance, _json(folder / "config.json")
    recorded = provenance.get("preprocessing")
    stated = config.get("dtype", config.get("torch_dtype"))
    return Facts(
        preprocessing=recorded if isinstance(recorded, Mapping) else {},
        dtype=str(provenance.get("dtype", "float32")),
        stated_dtype=stated if isinstance(stated, str) else None,
        flips=case.measurement.flips,
        splits=_splits(case),
        lowercases=_lowercases(folder),
        prefixes=tuple(dict.fromkeys(_prefixes(case.task, config, folder))),
    )


def _splits(case: Case) -> dict[str, float | None]:
    """The splits with references that were not run, and how large they are in parts of the one that was."""
    task, population = case.task, max(case.measurement.population, 1)
    rows: dict[str, int | None] = {**dict.fromkeys(task.dataset.data_files or ()), **task.rows, **case.rows}
    return {
        split: None if count is None else count / population
        for split, count in rows.items()
        if split != case.measurement.split and split not in task.unlabelled
    }


def _lowercases(folder: Path) -> bool:
    """Whether the tokeniser puts texts in lower case: as its configuration says, or a normaliser among its own."""
    if _json(folder / "tokenizer_config.json").get("do_lower_case") is True:
        return True
    return any(
        part.get("type") == "Lowercase" or part.get("lowercase") is True
        for part in _parts(_json(folder / "tokenizer.json").get("normalizer"))
    )


def _parts(normaliser: Any) -> Iterator[Mapping[str, Any]]:
    """A normaliser of `tokenizers`, and those that a sequence of them holds."""
    if isinstance(normaliser, Mapping):
        yield normaliser
        for part in normaliser.get("normalizers") or ():
            yield from _parts(part)


def _prefixes(task: TaskSpec, config: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """The texts that sentence-transformers' prompts, or T5's ``task_specific_params``, put before an input."""
    if task.kind == "sentence-similarity":
        prompts = _json(folder / "config_sentence_transformers.json").get("prompts")
        yield from (str(text) for text in (prompts.values() if isinstance(prompts, Mapping) else ()) if text)
    stated = config.get("task_specific_params")
    for name, part in stated.items() if isinstance(stated, Mapping) else ():
        if name.startswith(task.kind) and isinstance(part, Mapping) and part.get("prefix"):
            yield str(part["prefix"])


def _json(file: Path) -> Mapping[str, Any]:
    """The object that a file holds; empty where there is none."""
    try:
        found = json.loads(file.read_bytes()) if file.stat().st_size <= _FILE_LIMIT else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, Mapping) else {}
