"""What may be loaded from a model repository: the gate in front of the weights, and digests of what passed it.

A repository is untrusted input. Only safetensors weights are loaded, no code of the repository is run, and no file
outside the repository is read in its name. Everything here works on the files at hand; nothing reaches the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from verify.errors import BlockedError, HubError

WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

# Files of the repository's root that decide what a tokenizer or a processor does.
PROCESSOR_PATTERNS = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "dict.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "normalizer.json",
    "*processor_config.json",
    "chat_template*",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "*.codes",
    "*.jinja",
)
TEXT_LIMIT = 64 * 2**20  # bytes of one configuration or tokenizer file; the largest in use are near 35 MB

_OTHER_WEIGHTS = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.safetensors")
_LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True)
class ModelRepository:
    """One model at one revision.

    ``model`` is ORG/NAME, or a local folder's name. ``revision`` is a commit (40 hexadecimal digits), None for a local
    folder. ``folder`` holds the card, the configuration and other small text files, and the weights once they are
    fetched. ``files`` are the relative POSIX paths of every file of the repository, sorted; where ``listed`` is False,
    the Hub could not be reached and only the files in the local cache are known. ``sizes`` are those of the Hub's files
    in bytes, as far as the Hub has told them.
    """

    model: str
    revision: str | None
    folder: Path
    files: tuple[str, ...]
    is_local: bool
    listed: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict, repr=False, hash=False)

    def __str__(self) -> str:
        return f"{self.model}@{self.revision[:12]}" if self.revision else str(self.folder)


def check_safety(repository: ModelRepository) -> None:
    """Refuse a repository that cannot be loaded without running foreign code or reading foreign files.

    Call it before the weights are downloaded, and again after: the headers of weight files are checked when present.

    Raises:
        BlockedError: remote code, an adapter without its model, no safetensors weights, an index that names missing or
            outside files, a broken safetensors file, or a symbolic link that leaves a local folder.
        HubError: a configuration file is not JSON, or the weights are neither known nor reachable.

    """
    if repository.is_local:
        _check_links(repository)
    for name in repository.files:
        if "/" not in name and name.endswith("config.json") and "auto_map" in _json_object(repository, name):
            raise BlockedError(
                f"{repository} asks for code of its own: {name} holds auto_map, which names Python files of the "
                "repository. That code is never run. Check a version of the model whose architecture is part of "
                "transformers, or remove auto_map from a local copy if it is."
            )
    if "adapter_config.json" in repository.files:
        raise BlockedError(
            f"{repository} is an adapter (adapter_config.json), which is loaded on top of another model. Merge it into "
            "its base model, save the result in safetensors format and check that folder."
        )
    for name in weight_files(repository):
        path = repository.folder / name
        if path.is_file():
            _check_safetensors(repository, path)
        elif repository.is_local:
            raise BlockedError(f"{repository}: {name} is not a readable file. Copy the weights into the folder.")


def weight_files(repository: ModelRepository) -> tuple[str, ...]:
    """Return the names of the weight files that ``from_pretrained`` loads, sorted: one file, or the index's shards.

    Raises:
        BlockedError: there are none, or they are not safetensors files inside the repository.
        HubError: none is known and the Hub could not be reached.

    """
    named = _json_object(repository, "config.json").get("transformers_weights")
    name = named if named is not None else WEIGHTS if WEIGHTS in repository.files else WEIGHTS_INDEX
    if name not in repository.files:
        raise _no_weights(repository, named)
    if not name.endswith(".index.json"):
        return (_checked_name(repository, name, "config.json"),)
    shards = _json_object(repository, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise BlockedError(f"{repository}: {name} holds no weight_map. Save the weights again with save_pretrained.")
    names = tuple(sorted({_checked_name(repository, shard, name) for shard in shards.values()}))
    missing = [shard for shard in names if shard not in repository.files]
    if missing and not repository.listed:
        raise _not_cached(repository)
    if missing:
        raise BlockedError(
            f"{repository}: {name} names {len(missing)} of {len(names)} weight files that the repository lacks "
            f"({_few(missing)}). The upload or the copy is incomplete: add the missing files."
        )
    return names


def digests(repository: ModelRepository) -> dict[str, str]:
    """Return SHA-256 digests of what decides the predictions: ``weights``, ``processor`` and ``config``.

    ``weights`` covers the names and contents of :func:`weight_files`, ``processor`` those of the tokenizer and
    processor files (possibly none), ``config`` is the plain digest of config.json and absent without one. Digests
    depend on neither the folder nor the files' times.

    Raises:
        BlockedError: see :func:`weight_files`.
        HubError: a file is missing, unreadable, or not the one that the Hub announced.

    """
    processor = [name for name in repository.files if matches(name, PROCESSOR_PATTERNS)]
    found = {"weights": _digest(repository, weight_files(repository)), "processor": _digest(repository, processor)}
    if "config.json" in repository.files:
        found["config"] = _file_digest(repository, "config.json")
    return found


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether a file of the repository's root matches one of the shell patterns."""
    return "/" not in name and any(fnmatchcase(name, pattern) for pattern in patterns)


def leads_outside(folder: Path, path: Path) -> bool:
    """Say whether ``path``, with links followed, lies outside ``folder``.

    A snapshot in the Hub's local cache consists of links to blobs: of its own repository or, where repositories share
    them, of the whole cache. Both count as inside.
    """
    home = folder.resolve()
    inside = [home]
    if home.parent.name == "snapshots" and home.parent.parent.name.startswith("models--"):
        inside += [home.parent.parent / "blobs", home.parent.parent.parent / "blobs"]
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return True
    return not any(target.is_relative_to(place) for place in inside)


def _check_links(repository: ModelRepository) -> None:
    outside = [name for name in repository.files if leads_outside(repository.folder, repository.folder / name)]
    if outside:
        raise BlockedError(
            f"{repository}: {_few(outside)} leads outside the folder through a symbolic link. Replace each such "
            "link by a copy of its file."
        )


def _json_object(repository: ModelRepository, name: str) -> dict[str, Any]:
    """Read a JSON file of the root; an absent file is an empty object."""
    if name not in repository.files:
        return {}
    path = repository.folder / name
    try:
        if path.stat().st_size > TEXT_LIMIT:
            raise BlockedError(f"{repository}: {name} is larger than {TEXT_LIMIT >> 20} MiB and is not read.")
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise BlockedError(
            f"{repository}: {name} is not at hand. Either it is larger than {TEXT_LIMIT >> 20} MiB, or the local cache "
            "is incomplete: delete the model from the cache and run again."
        ) from error
    except OSError as error:
        raise HubError(
            f"{repository}: {name} cannot be read: {error.strerror}. Check the file's permissions."
        ) from error
    except (ValueError, RecursionError) as error:
        raise HubError(
            f"{repository}: {name} is not valid JSON ({error}). Ask the author to repair the file."
        ) from error
    if not isinstance(content, dict):
        raise HubError(f"{repository}: {name} is not a JSON object. Ask the author to repair the file.")
    return content


def _checked_name(repository: ModelRepository, name: object, source: str) -> str:
    """Accept only the plain relative name of a safetensors file."""
    if isinstance(name, str) and name.endswith(".safetensors") and "\\" not in name and ":" not in name:
        path = PurePosixPath(name)
        if not path.is_absolute() and ".." not in path.parts and str(path) == name:
            return name
    raise BlockedError(
        f"{repository}: {source} names {str(name)[:80]!r} as a weight file. Only safetensors files inside the "
        "repository are loaded. Save the weights again with save_pretrained and check that folder."
    )


def _check_safetensors(repository: ModelRepository, path: Path) -> None:
    """Check the header: a length within the file and the format's limit (100 MB), JSON, offsets that fit the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(_LFS_POINTER)) == _LFS_POINTER
        if is_pointer:
            raise BlockedError(
                f"{repository}: {path.name} is a Git LFS pointer, not the weights. Run 'git lfs pull' in the folder."
            )
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise BlockedError(
            f"{repository}: {path.name} is not a sound safetensors file ({error}). Download or copy it again; if it "
            "stays so, the author has to upload it again."
        ) from error
    except OSError as error:
        raise HubError(
            f"{repository}: {path.name} cannot be read: {error}. Check the file and its permissions."
        ) from error


def _no_weights(repository: ModelRepository, named: object) -> BlockedError | HubError:
    if not repository.listed:
        return _not_cached(repository)
    if named is not None:
        return BlockedError(
            f"{repository}: config.json names {str(named)[:80]!r} as its weights (transformers_weights), and the "
            "repository has no such file. Correct config.json or add the file."
        )
    others = [name for name in repository.files if matches(name, _OTHER_WEIGHTS) and not name.startswith("training_")]
    if not others:
        return BlockedError(
            f"{repository} holds no weights: neither {WEIGHTS} nor {WEIGHTS_INDEX}. There is nothing to rerun; check "
            "the model id, or ask the author to upload the weights."
        )
    if all(name.endswith(".safetensors") for name in others):
        return BlockedError(
            f"{repository} holds safetensors files ({_few(others)}), but neither {WEIGHTS} nor {WEIGHTS_INDEX}, the "
            "names that transformers loads. Save the weights again with save_pretrained and check that folder."
        )
    return BlockedError(
        f"{repository} holds its weights only in other formats ({_few(others)}); these are refused, because loading a "
        "pickle can run any code. Ask the author to convert them to safetensors (if a pull request on the Hub does so, "
        "check ORG/MODEL@refs/pr/NUMBER), or convert a copy that you trust with save_pretrained and check that folder."
    )


def _not_cached(repository: ModelRepository) -> HubError:
    return HubError(
        f"The weights of {repository} are not in the local cache, and the Hub could not be reached. Connect to the "
        "network (and unset HF_HUB_OFFLINE), then run again."
    )


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


def _few(names: Iterable[str]) -> str:
    def shown() -> Iterator[str]:
        listed = list(names)
        yield from listed[:3]
        if len(listed) > 3:
            yield f"and {len(listed) - 3} more"

    return ", ".join(shown())
