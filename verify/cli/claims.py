"""``verify claims``: print what a card claims, without running anything."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from verify.checking.claim_json import claim_entries, claims_object
from verify.checking.reading import CARD, asked_tasks, files_of, resolved_claims, texts_of, vocabulary_of
from verify.claims.extract import read_claims
from verify.configuration.schema import VerifyConfig
from verify.errors import HubError, UsageError
from verify.tasks.registry import load_registry


def run(target: str, config: VerifyConfig, *, as_json: bool, as_jsonl: bool) -> int:
    """Print the claims of ``target``: a README.md, a model folder, a Hub id, or (JSONL) a folder of cards.

    Returns the exit code 0. Raises :class:`verify.errors.UsageError` for a target that is none of these.
    """
    if as_jsonl:
        vocabulary = vocabulary_of(config)
        for name, files in _cards(Path(target)):
            found = {"id": name, "claims": claim_entries(read_claims(files, name, vocabulary=vocabulary).claims)}
            print(json.dumps(found, ensure_ascii=False))  # noqa: T201
        return 0
    model, revision, files = texts_of(target)
    registry = load_registry(config.task_path)
    resolved = resolved_claims(files, model, revision, config, registry, asked_tasks(config, registry))
    if as_json:
        print(json.dumps(claims_object(resolved, model, revision), ensure_ascii=False, indent=1))  # noqa: T201
    else:
        from verify.report.claims import show

        show(resolved, model if revision else f"{model} (local folder)", sys.stdout)
    return 0


def _cards(folder: Path) -> list[tuple[str, dict[str, str]]]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: --jsonl reads a folder of cards, NAME/{CARD}.")
    cards, is_refused = [], False
    for child in sorted(folder.iterdir()):
        try:
            if child.is_dir() and (files := files_of(child)):
                cards.append((child.name, files))
        except HubError as error:
            is_refused = True
            print(f"verify: {error}", file=sys.stderr)  # noqa: T201
    if not cards and not is_refused:
        raise UsageError(f"No card found: --jsonl looks for {folder}/NAME/{CARD}.")
    return cards
