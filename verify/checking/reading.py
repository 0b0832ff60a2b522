"""What a repository claims: its texts read, corrected by hand where asked, each claim with its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from verify.claims.corrections import apply_corrections, load_corrections
from verify.claims.extract import read_claims
from verify.claims.meaning.vocabulary import Vocabulary
from verify.claims.meaning.vocabulary import load as load_vocabulary
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError
from verify.tasks.registry import Registry
from verify.tasks.resolve import Resolved, resolve_claims

CARD = "README.md"
_LARGEST = 50_000_000
_PATTERNS = (CARD, ".eval_results/*.yaml", ".eval_results/*.yml", "*_results.json")


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
    vocabulary = vocabulary_of(config)
    extraction = read_claims(files, model, revision, vocabulary=vocabulary)
    claims = list(extraction.claims)
    if config.claims is not None:
        path = Path(config.claims).expanduser()
        claims = apply_corrections(claims, load_corrections(path), model, path, vocabulary=vocabulary)
    return resolve_claims(extraction, registry, claims=claims, only=only, split=config.override.split)


def vocabulary_of(config: VerifyConfig) -> Vocabulary:
    """The words for metrics and data sets, with the user's own. Raises UsageError for a file that is wrong."""
    return load_vocabulary(tuple(Path(file).expanduser() for file in config.vocabulary))


def texts_of(target: str) -> tuple[str, str | None, dict[str, str]]:
    """The name, the commit (None for a folder) and the texts of a README.md, a model's folder or a Hub id.

    Raises UsageError for a target that is none of these, and HubError for one that cannot be read.
    """
    path = Path(target)
    if path.is_file():
        return path.resolve().parent.name, None, {CARD: _text(path)}
    if path.is_dir():
        files = files_of(path)
        if not files:
            raise UsageError(
                f"{path} holds no {CARD} and no .eval_results: name a model's folder or its card, "
                "or pass --jsonl for a folder of many cards."
            )
        return path.resolve().name, None, files
    from verify.hub import models

    repository = models.resolve(target)
    return repository.model, repository.revision, models.texts(repository)


def files_of(folder: Path) -> dict[str, str]:
    """The texts of a model's folder, read as ``check`` reads them: a link that leads outside is a HubError."""
    from verify.hub import models

    found = {path for pattern in _PATTERNS for path in folder.glob(pattern) if path.is_file() or path.is_symlink()}
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    home = folder.resolve()
    return models.texts(models.ModelRepository(home.name, None, home, tuple(names), is_local=True))


def _text(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise UsageError(f"{path} is larger than {_LARGEST // 1_000_000} MB, which no model card is.")
    return path.read_bytes().decode("utf-8", errors="replace")
