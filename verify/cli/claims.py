"""``verify claims``: print what a card claims, without running anything."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from verify.claims.corrections import apply_corrections, load_corrections
from verify.claims.extract import read_claims
from verify.claims.meaning.vocabulary import Vocabulary
from verify.claims.meaning.vocabulary import load as load_vocabulary
from verify.configuration.schema import VerifyConfig
from verify.errors import HubError, UsageError
from verify.report.claim_json import claim_entries, claims_object
from verify.tasks.registry import Registry, load_registry
from verify.tasks.resolve import Resolved, resolve_claims

_CARD = "README.md"
_LARGEST = 50_000_000
_PATTERNS = (_CARD, ".eval_results/*.yaml", ".eval_results/*.yml", "*_results.json")


def run(target: str, config: VerifyConfig, *, as_json: bool, as_jsonl: bool) -> int:
    """Print the claims of ``target``: a README.md, a model folder, a Hub id, or (JSONL) a folder of cards.

    Returns the exit code 0. Raises :class:`verify.errors.UsageError` for a target that is none of these.
    """
    if as_jsonl:
        vocabulary = _vocabulary(config)
        for name, files in _cards(Path(target)):
            found = {"id": name, "claims": claim_entries(read_claims(files, name, vocabulary=vocabulary).claims)}
            print(json.dumps(found, ensure_ascii=False))  # noqa: T201
        return 0
    model, revision, files = _repository(target)
    registry = load_registry(config.task_path)
    resolved = resolved_claims(files, model, revision, config, registry, asked_tasks(config, registry))
    if as_json:
        print(json.dumps(claims_object(resolved, model, revision), ensure_ascii=False, indent=1))  # noqa: T201
    else:
        from verify.report.claims import show

        show(resolved, model if revision else f"{model} (local folder)", sys.stdout)
    return 0


def asked_tasks(config: VerifyConfig, registry: Registry) -> list[str] | None:
    """The names of the tasks that the user asks for; None for whatever a card claims."""
    asked = config.asked_tasks()
    return None if asked is None else [registry.find(name).name for name in asked]


def resolved_claims(
    files: Mapping[str, str],
    model: str,
    revision: str | None,
    config: VerifyConfig,
    registry: Registry,
    only: Sequence[str] | None,
) -> Resolved:
    """The claims in ``files``, corrected by hand where ``claims=FILE`` says so, each with its task.

    ``only`` are the tasks to look at, None for all of them.
    """
    vocabulary = _vocabulary(config)
    extraction = read_claims(files, model, revision, vocabulary=vocabulary)
    claims = list(extraction.claims)
    if config.claims is not None:
        path = Path(config.claims).expanduser()
        claims = apply_corrections(claims, load_corrections(path), model, path, vocabulary=vocabulary)
    return resolve_claims(extraction, registry, claims=claims, only=only, split=config.override.split)


def _vocabulary(config: VerifyConfig) -> Vocabulary:
    return load_vocabulary(tuple(Path(file).expanduser() for file in config.vocabulary))


def _repository(target: str) -> tuple[str, str | None, dict[str, str]]:
    path = Path(target)
    if path.is_file():
        return path.resolve().parent.name, None, {_CARD: _text(path)}
    if path.is_dir():
        files = _files(path)
        if not files:
            raise UsageError(
                f"{path} holds no {_CARD} and no .eval_results: name a model's folder or its card, "
                "or pass --jsonl for a folder of many cards."
            )
        return path.resolve().name, None, files
    hub = importlib.import_module("verify.hub.models")  # only here, because it imports the Hub's client
    repository = hub.resolve(target)
    return repository.model, repository.revision, hub.texts(repository)


def _cards(folder: Path) -> list[tuple[str, dict[str, str]]]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: --jsonl reads a folder of cards, NAME/{_CARD}.")
    cards, is_refused = [], False
    for child in sorted(folder.iterdir()):
        try:
            if child.is_dir() and (files := _files(child)):
                cards.append((child.name, files))
        except HubError as error:
            is_refused = True
            print(f"verify: {error}", file=sys.stderr)  # noqa: T201
    if not cards and not is_refused:
        raise UsageError(f"No card found: --jsonl looks for {folder}/NAME/{_CARD}.")
    return cards


def _files(folder: Path) -> dict[str, str]:
    """The texts of a model's folder, read as ``check`` reads them: a link that leads outside is a HubError."""
    hub = importlib.import_module("verify.hub.models")
    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file() or path.is_symlink()}
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    home = folder.resolve()
    texts: dict[str, str] = hub.texts(hub.ModelRepository(home.name, None, home, tuple(names), is_local=True))
    return texts


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise UsageError(f"{path} is larger than {_LARGEST // 1_000_000} MB, which no model card is.")
    return path.read_bytes().decode("utf-8", errors="replace")
