"""The only room that talks to the Hub: model repositories pinned to a commit, and the commits of data sets.

Downloads go through ``huggingface_hub`` and its local cache. Where the Hub cannot be reached, or ``HF_HUB_OFFLINE=1``
forbids it, the cache answers with the commit that it holds. See :mod:`verify.hub.connection` for what is retried, and
:mod:`verify.hub.safety` for what is refused.
"""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from verify.errors import HubError
from verify.hub.connection import SERVER_ERRORS, TIMEOUT, TRANSIENT, bound_session, explained, is_unreachable, patiently
from verify.hub.loaded import PROCESSOR_PATTERNS
from verify.hub.replies import require_distinct
from verify.hub.safety import (
    TEXT_LIMIT,
    ModelRepository,
    check_safety,
    digests,
    leads_outside,
    loaded_files,
    matches,
    weight_files,
)
from verify.processes.import_path import exclude

__all__ = [
    "ModelRepository",
    "check_safety",
    "dataset_revision",
    "digests",
    "fetch_weights",
    "loaded_files",
    "resolve",
    "texts",
    "weight_files",
]

HUB = "hf://"
"""What stands before an id that means the Hub, whatever folders there are."""

CARD_LIMIT = 20 * 2**20  # bytes
MAX_FILES = 100_000  # of a local folder: more is a mistaken path, not a model

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"(?!.*(\.\.|//|@\{))[A-Za-z0-9_][\w./+-]*(?<![./])", re.ASCII)
_TRAINING_STATE = ("trainer_state.json", "optimizer*", "scheduler*", "rng_state*")

_log = logging.getLogger(__name__)


def resolve(reference: str) -> ModelRepository:
    """Find a model and pin it to a commit; fetch its small text files, but not its weights.

    Args:
        reference: ``ORG/MODEL``, ``ORG/MODEL@revision`` (branch, tag, ``refs/pr/N`` or commit), or a local folder: a
            path that starts with ``/``, ``./``, ``../`` or ``~``, or any folder with a README.md or a config.json.
            ``hf://ORG/MODEL`` is never a folder.

    Raises:
        HubError: the reference names nothing, or the repository cannot be reached or read.

    """
    if reference.startswith(HUB):
        return on_hub(*_parse(reference.removeprefix(HUB)))
    folder = _existing(reference)
    if reference.startswith(("/", "./", "../", "~")) or reference in (".", ".."):
        if folder is None or not folder.is_dir():
            raise HubError(f"There is no folder {reference}. Check the path, or give a model id of the form ORG/MODEL.")
        return _local(folder)
    if folder and holds_a_model(folder):
        return _local(folder)
    model, revision = _parse(reference)
    return on_hub(model, revision)


def texts(repository: ModelRepository) -> dict[str, str]:
    """Return the files that claims are read from, by relative path: the card, .eval_results/ and ``*_results.json``.

    A file that the repository lacks has no key. Bytes that are not UTF-8 become U+FFFD; line ends are kept.

    Raises:
        HubError: the card or a file of .eval_results/ is unreadable or larger than 20 MiB, or leads outside the folder.

    """
    found = {}
    for name in repository.files:
        if not is_claims_text(name):
            continue
        path = repository.folder / name
        try:
            if repository.is_local and leads_outside(repository.folder, path):
                raise HubError(f"{repository}: {name} is a link that leads outside the folder. Replace it by a copy.")
            if not path.is_file() or path.stat().st_size > CARD_LIMIT:
                if name.endswith(".json"):
                    _log.warning("%s: %s is larger than %d MiB and is skipped", repository, name, CARD_LIMIT >> 20)
                    continue
                raise HubError(
                    f"{repository}: {name} is larger than {CARD_LIMIT >> 20} MiB, or missing from an incomplete local "
                    "cache. Shorten it, or delete the model from the cache and run again."
                )
            found[name] = path.read_bytes().decode("utf-8-sig", errors="replace")
        except OSError as error:
            raise HubError(f"{repository}: {name} cannot be read: {error.strerror}. Check its permissions.") from error
    return found


def fetch_weights(repository: ModelRepository) -> ModelRepository:
    """Download the files that ``from_pretrained`` loads, at the pinned commit; a local folder has them already.

    Raises:
        BlockedError: there are no safetensors weights.
        HubError: a file could not be downloaded whole.

    """
    names = loaded_files(repository)
    if repository.is_local:
        return repository
    assert repository.revision is not None
    folder = _download(repository.model, repository.revision, names)
    return replace(repository, folder=folder)


def dataset_revision(path: str, revision: str | None) -> str | None:
    """Return the commit of a data set on the Hub.

    None stands for data without a commit (an absolute path, or a bare builder name such as ``csv``), and for a Hub that
    cannot be reached while the local cache does not know the revision either. A folder of that name changes nothing.

    Raises:
        HubError: the data set or the revision does not exist, or access is refused.

    """
    from huggingface_hub import HfApi

    if path.startswith(("/", ".", "~")) or "/" not in path:
        return None
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    if not _is_repository_id(path):
        raise HubError(
            f"{path!r} is neither a file or folder nor a data set id of the form ORG/NAME. Check the spelling."
        )
    _check_revision(path, revision)
    with explained(f"the data set {path}", revision):
        try:
            commit = patiently(lambda: HfApi().dataset_info(path, revision=revision, timeout=TIMEOUT).sha, TRANSIENT)
        except Exception as error:
            if not is_unreachable(error):
                raise
            return _cached_commit(path, revision, "dataset")
    _remember_commit(path, revision, commit, "dataset")
    return commit


def _parse(reference: str) -> tuple[str, str | None]:
    model, _, revision = reference.partition("@")
    if not _is_repository_id(model):
        raise HubError(
            f"{reference!r} is neither: there is no such folder with a README.md or config.json, and it is not a "
            "model id of the form ORG/MODEL or ORG/MODEL@revision. Check the spelling; put ./ before a folder's name."
        )
    if "@" in reference:
        _check_revision(model, revision)
    return model, revision or None


def _existing(path: str) -> Path | None:
    try:
        found = Path(path).expanduser()
        return found if path and found.exists() else None
    except (OSError, RuntimeError, ValueError):  # too long a name, or the home of an unknown user
        return None


def _is_repository_id(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _check_revision(name: str, revision: str | None) -> None:
    if revision is not None and not _REVISION.fullmatch(revision):
        raise HubError(f"{revision!r} cannot be a revision of {name}. Give a branch, a tag or a commit.")


def holds_a_model(folder: Path) -> bool:
    """Whether a folder has a card or a configuration. Raises HubError if it cannot be read."""
    try:
        return any((folder / name).is_file() for name in ("README.md", "config.json"))
    except OSError as error:
        raise _unreadable(folder, error) from error


def _unreadable(folder: Path, error: OSError) -> HubError:
    return HubError(f"{folder} cannot be read: {error.strerror}. Check the permissions of the folder and its files.")


def _local(folder: Path) -> ModelRepository:
    exclude(folder)
    try:
        return _listed(folder.resolve())
    except OSError as error:
        raise _unreadable(folder, error) from error


def _raised(error: OSError) -> None:
    raise error


def _listed(folder: Path) -> ModelRepository:
    files: list[str] = []
    for parent, folders, names in os.walk(folder, onerror=_raised):
        folders[:] = [name for name in folders if name not in (".git", ".cache")]
        # A link to a folder is not followed, but listed, so that the safety gate sees it.
        paths = [Path(parent) / name for name in [*names, *folders]]
        files += [path.relative_to(folder).as_posix() for path in paths if path.is_symlink() or path.is_file()]
        if len(files) > MAX_FILES:
            raise HubError(f"{folder} holds more than {MAX_FILES} files. Give the folder of one model.")
    return ModelRepository(folder.name, None, folder, tuple(sorted(files)), is_local=True)


def on_hub(model: str, revision: str | None) -> ModelRepository:
    """A model on the Hub, as :func:`resolve` gives it; a folder of that name is not looked at. Raises HubError."""
    _check_revision(model, revision)
    from huggingface_hub import HfApi, hf_hub_url

    def look_up() -> tuple[str, dict[str, int]]:
        info = HfApi().model_info(model, revision=revision, files_metadata=True, timeout=TIMEOUT)
        if info.sha is None or not _COMMIT.fullmatch(info.sha):
            raise ValueError("the answer names no commit")
        told = {file.rfilename: file.size for file in info.siblings or ()}
        for name, size in told.items():
            if size is not None or is_small_text(name):
                bound = _limit(name) if size is None else size
                announced[hf_hub_url(model, name, revision=info.sha)] = bound
        return info.sha, {name: size or 0 for name, size in told.items()}

    announced: dict[str, int] = {}

    with explained(f"the model {model}", revision):
        try:
            commit, sizes = patiently(look_up, TRANSIENT)
        except Exception as error:
            if not is_unreachable(error):
                raise
            return _from_cache(model, revision, error)
    ledger = bound_session()
    for url, size in announced.items():
        ledger.announce(url, size)
    require_distinct([name for name in sizes if is_small_text(name) or name.endswith(".safetensors")], sizes)
    wanted = [name for name, size in sizes.items() if is_small_text(name) and size <= _limit(name)]
    folder = _download(model, commit, wanted)
    _remember_commit(model, revision, commit, "model")
    return ModelRepository(model, commit, folder, tuple(sorted(sizes)), is_local=False, sizes=sizes)


def _from_cache(model: str, revision: str | None, cause: Exception) -> ModelRepository:
    """Return the cached snapshot of the revision; raise ``cause`` if there is none."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    commit = _cached_commit(model, revision, "model")
    folder = _cache_folder(model, "model") / "snapshots" / commit if commit else None
    if commit is None or folder is None or not folder.is_dir():
        raise cause
    _log.warning("The Hub could not be reached; using the cached snapshot %s of %s", commit[:12], model)
    try:
        sizes = {file.path: file.size for file in get_cached_repo_tree(model, revision=commit)}
        listed = True
    except CachedRepoTreeNotFoundError:
        found = [path for path in folder.rglob("*") if path.is_file()]
        sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in found}
        listed = False
    return ModelRepository(model, commit, folder, tuple(sorted(sizes)), is_local=False, listed=listed, sizes=sizes)


def _cache_folder(name: str, kind: str) -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.file_download import repo_folder_name

    return Path(HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type=kind)


def _cached_commit(name: str, revision: str | None, kind: str) -> str | None:
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (_cache_folder(name, kind) / "refs" / (revision or "main")).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def _remember_commit(name: str, revision: str | None, commit: str | None, kind: str) -> None:
    """Record in the cache, as huggingface_hub does, which commit a branch or tag is, for later runs without network."""
    if commit is None or revision == commit:
        return
    path = _cache_folder(name, kind) / "refs" / (revision or "main")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(commit)
        part.replace(path)
    except OSError as error:
        _log.warning("%s could not be written: %s", path, error)


def is_claims_text(name: str) -> bool:
    path = PurePosixPath(name)
    in_eval_results = path.parent == PurePosixPath(".eval_results") and path.suffix in (".yaml", ".yml")
    return in_eval_results or matches(name, ("README.md", "*_results.json"))


def is_small_text(name: str) -> bool:
    module_config = name.count("/") == 1 and name.endswith("/config.json")  # such as 1_Pooling/config.json
    configuration = matches(name, ("*.json", *PROCESSOR_PATTERNS)) and not matches(name, _TRAINING_STATE)
    return is_claims_text(name) or module_config or configuration


def _limit(name: str) -> int:
    return CARD_LIMIT if is_claims_text(name) else TEXT_LIMIT


def _download(model: str, commit: str, names: Iterable[str]) -> Path:
    """Bring files into the local cache and return the snapshot's folder, in which each of them is whole."""
    from huggingface_hub import snapshot_download

    names = list(names)
    with explained(f"the model {model}", commit):
        patterns = [glob.escape(name) for name in names] or ["README.md"]
        path = patiently(lambda: snapshot_download(model, revision=commit, allow_patterns=patterns), SERVER_ERRORS)
        missing = [name for name in names if not (Path(path) / name).is_file()]
        if missing:
            raise HubError(
                f"{missing[0]} of the model {model} is not in the local cache, and the Hub could not be reached. "
                "Connect to the network (and unset HF_HUB_OFFLINE), then run again."
            )
    return Path(path)
