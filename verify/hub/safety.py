"""What may be loaded from a model repository: the gate in front of the weights.

A repository is untrusted input. Only safetensors weights are loaded, or pickles that
are known to hold nothing but tensors where the user allows it; no code of the repository is run, and no file
outside the repository is read in its name. Everything here works on the files at hand; nothing reaches the network.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from verify.errors import BlockedError
from verify.hub.adapters import CONFIG, read_adapter
from verify.hub.loaded import CONFIG_PATTERNS, digests, is_processor, loaded_files, small_files
from verify.hub.repository import TEXT_LIMIT, ModelRepository, few, json_object, leads_outside, matches
from verify.hub.weights import check_pickle, check_safetensors, is_pickle, weight_files

__all__ = [
    "TEXT_LIMIT",
    "ModelRepository",
    "check_safety",
    "digests",
    "leads_outside",
    "loaded_files",
    "matches",
    "weight_files",
]

GENERATION_LIMIT = 4 * 2**20  # bytes; the settings in use have some kB, with every token of a vocabulary 1 MB

_OBJECTS = (*CONFIG_PATTERNS, "tokenizer_config.json", "*processor_config.json", "special_tokens_map.json")


def check_safety(repository: ModelRepository) -> None:
    """Refuse a repository that cannot be loaded without running foreign code or reading foreign files.

    Call it before the weights are downloaded, and again after: the headers of weight files are checked when present.

    Raises:
        BlockedError: remote code, an adapter whose settings are not understood, no safetensors weights (nor pickles
            where these are allowed), an index that names missing or outside files, a broken weight file, or a symbolic
            link that leaves a local folder.
        HubError: a configuration file is not JSON, or the weights are neither known nor reachable.

    """
    if repository.is_local:
        _check_links(repository)
    for name in small_files(repository):
        path = repository.folder / name
        if name.endswith("generation_config.json") and path.is_file() and path.stat().st_size > GENERATION_LIMIT:
            raise BlockedError(
                f"{repository}: {name} is larger than {GENERATION_LIMIT >> 20} MiB, where settings take a few kB, and "
                "is not read. Shorten its lists in a copy and check that folder."
            )
        if _is_configuration(name) and json_object(repository, name).get("auto_map"):
            raise BlockedError(
                f"{repository} asks for code of its own: {name} holds auto_map, which names Python files of the "
                "repository. That code is never run. Check a version of the model whose architecture is part of "
                "transformers, or remove auto_map from a local copy if it is."
            )
    if repository.is_adapter:
        read_adapter(json_object(repository, CONFIG), str(repository))
    for name in loaded_files(repository):
        if is_processor(name) or not (is_pickle(name) or name.endswith(".safetensors")):
            continue
        path = repository.folder / name
        if path.is_file():
            check = check_pickle if is_pickle(name) else check_safetensors
            check(repository, path)
        elif repository.is_local:
            raise BlockedError(f"{repository}: {name} is not a readable file. Copy the weights into the folder.")


def _check_links(repository: ModelRepository) -> None:
    outside = [name for name in repository.files if leads_outside(repository.folder, repository.folder / name)]
    if outside:
        raise BlockedError(
            f"{repository}: {few(outside)} leads outside the folder through a symbolic link. Replace each such "
            "link by a copy of its file."
        )


def _is_configuration(name: str) -> bool:
    """Whether a load reads the file as a JSON object, in which it would follow auto_map."""
    return matches(PurePosixPath(name).name, _OBJECTS)
