"""Which files of a repository a load may open, and digests of exactly these.

The list is closed: the worker sees a folder with these files and nothing else (:mod:`verify.engine.loading.view`), so
that what is hashed is what decides the predictions. Cards, logs, training states and weights of other frameworks are
not in it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from verify.errors import HubError
from verify.hub import adapters
from verify.hub.repository import ModelRepository, matches
from verify.hub.weights import PICKLE, PICKLE_INDEX, WEIGHTS, WEIGHTS_INDEX, module_folders, weight_files

PROCESSOR_PATTERNS = (
    "tokenizer*",
    "vocab*",
    "*_vocab.json",
    "merges.txt",
    "dict.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "normalizer.json",
    "emoji.json",
    "byte_maps.json",
    "word_shape.json",
    "word_pronunciation.json",
    "tekken.json",
    "prophetnet.tokenizer",
    "*processor_config.json",
    "chat_template*",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.codes",
    "*.jinja",
)
"""Files that decide what a tokenizer or a processor does; the names are those that transformers' classes state."""

CONFIG_PATTERNS = ("config.json", "generation_config.json")
_MODULE_PATTERNS = ("modules.json", "config_sentence_transformers.json", "sentence_*_config.json", "alphabet.json")
_SMALL = (*PROCESSOR_PATTERNS, *CONFIG_PATTERNS, *_MODULE_PATTERNS, WEIGHTS_INDEX)
_CHAT_TEMPLATES = "additional_chat_templates"


def loaded_files(repository: ModelRepository) -> tuple[str, ...]:
    """The relative POSIX names of all files that a load may open, sorted; each is one of ``repository.files``.

    Raises:
        BlockedError: see :func:`verify.hub.weights.weight_files`.
        HubError: modules.json is not JSON, or the weights are neither known nor reachable.

    """
    return tuple(sorted({*_weights(repository), *small_files(repository)}))


def small_files(repository: ModelRepository) -> tuple[str, ...]:
    """Those of :func:`loaded_files` that hold no weights, sorted. Raises only what modules.json may raise."""
    places = {"", *module_folders(repository)}
    found = set()
    for name in repository.files:
        folder, _, file = name.rpartition("/")
        is_template = folder == _CHAT_TEMPLATES and file.endswith(".jinja")
        is_index = file == PICKLE_INDEX and repository.allows_pickle
        is_adapter = name == adapters.CONFIG
        if is_template or is_adapter or (folder in places and (is_index or matches(file, _SMALL))):
            found.add(name)
    return tuple(sorted(found))


def digests(repository: ModelRepository) -> dict[str, str]:
    """Return SHA-256 digests of what decides the predictions: ``weights``, ``processor`` and ``config``.

    Together they cover the names and contents of exactly :func:`loaded_files`: ``weights`` those of the safetensors
    files, of modules and adapters too, ``processor`` those of the tokenizer and processor files (possibly none),
    ``config`` the others. That is the plain digest of config.json where it is the only one, and absent without any.
    Digests depend on neither the folder nor the files' times.

    Raises:
        BlockedError: see :func:`loaded_files`.
        HubError: a file is missing, unreadable, or not the one that the Hub announced.

    """
    weights = _weights(repository)
    others = small_files(repository)
    processor = [name for name in others if is_processor(name)]
    config = [name for name in others if not is_processor(name)]
    found = {"weights": _digest(repository, weights), "processor": _digest(repository, processor)}
    if config == ["config.json"]:
        found["config"] = _file_digest(repository, "config.json")
    elif config:
        found["config"] = _digest(repository, config)
    return found


def _weights(repository: ModelRepository) -> set[str]:
    """The weight files of the model, of the modules behind it, and of its languages (MMS)."""
    languages = {name for name in repository.files if matches(name, ("adapter.*.safetensors",))}
    modules = set()
    for folder in module_folders(repository):
        names = (f"{folder}/{WEIGHTS}", *([f"{folder}/{PICKLE}"] if repository.allows_pickle else []))
        modules |= set([name for name in names if name in repository.files][:1])
    return {*weight_files(repository), *modules, *languages}


def is_processor(name: str) -> bool:
    """Whether a file decides what a tokenizer or a processor does."""
    path = PurePosixPath(name)
    return matches(path.name, PROCESSOR_PATTERNS)


def _digest(repository: ModelRepository, names: Iterable[str]) -> str:
    total = hashlib.sha256()
    for name in sorted(names):
        total.update(os.fsencode(name) + f"\0{_file_digest(repository, name)}\n".encode())
    return total.hexdigest()


def _file_digest(repository: ModelRepository, name: str) -> str:
    path = repository.folder / name
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise HubError(
            f"{repository}: {name} cannot be read ({error.strerror}). Fetch the weights first, or check the folder."
        ) from error
    # The cache links a large file to a blob named by the SHA-256 digest that the Hub announced for it. That blob may be
    # a link in turn, into a store with names of another kind.
    announced = path.readlink().name if path.is_symlink() and not repository.is_local else ""
    if re.fullmatch(r"[0-9a-f]{64}", announced) and announced != found:
        raise HubError(
            f"{repository}: {name} in the local cache is damaged: its SHA-256 digest is not the announced one. Delete "
            f"{path.resolve()} and run again."
        )
    return found
