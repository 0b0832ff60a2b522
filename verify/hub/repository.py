"""A model repository at one revision, and how its small files are read: as data that somebody else wrote.

Everything here works on the files at hand; nothing reaches the network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from verify.errors import BlockedError, HubError
from verify.hub import adapters

TEXT_LIMIT = 64 * 2**20  # bytes of one configuration or tokenizer file; the largest in use are near 35 MB


@dataclass(frozen=True)
class ModelRepository:
    """One model at one revision.

    ``model`` is ORG/NAME, or a local folder's name. ``revision`` is a commit (40 hexadecimal digits), None for a local
    folder. ``folder`` holds the card, the configuration and other small text files, and the weights once they are
    fetched. ``files`` are the relative POSIX paths of every file of the repository, sorted; where ``listed`` is False,
    the Hub could not be reached and only the files in the local cache are known. ``sizes`` are those of the Hub's files
    in bytes, as far as the Hub has told them. ``allows_pickle`` says that the user lets weights be loaded that are only
    there as pickles.
    """

    model: str
    revision: str | None
    folder: Path
    files: tuple[str, ...]
    is_local: bool
    listed: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict, repr=False, hash=False)
    allows_pickle: bool = False

    def __str__(self) -> str:
        return f"{self.model}@{self.revision[:12]}" if self.revision else str(self.folder)

    @property
    def is_adapter(self) -> bool:
        """Whether it holds a PEFT adapter, which is laid over another model."""
        return adapters.CONFIG in self.files


@dataclass(frozen=True)
class Base:
    """The model below an adapter: the reference that finds it again at the same commit, and what is loaded of it."""

    reference: str
    folder: Path
    files: tuple[str, ...] = ()

    @property
    def revision(self) -> str | None:
        """The commit, None of a folder."""
        found = re.search(r"@([0-9a-f]{40})$", self.reference)
        return found[1] if found else None


def laid_over(base: Base | None) -> tuple[str, ...]:
    """The note on results of an adapter, none without a base."""
    return (f"This is an adapter, laid over {base.reference}.",) if base else ()


def json_object(repository: ModelRepository, name: str) -> dict[str, Any]:
    """Read a JSON file that must hold an object; an absent file is an empty one.

    Raises BlockedError if it is too large or not at hand, HubError if it is unreadable or holds something else.
    """
    content = json_value(repository, name) if name in repository.files else {}
    if not isinstance(content, dict):
        raise HubError(f"{repository}: {name} is not a JSON object. Ask the author to repair the file.")
    return content


def json_value(repository: ModelRepository, name: str) -> Any:
    """Read a JSON file of the repository. Raises BlockedError if too large or not at hand, HubError if not JSON."""
    path = repository.folder / name
    try:
        if path.stat().st_size > TEXT_LIMIT:
            raise BlockedError(f"{repository}: {name} is larger than {TEXT_LIMIT >> 20} MiB and is not read.")
        return json.loads(path.read_bytes())
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


def not_cached(repository: ModelRepository) -> HubError:
    """The error for weights that would have to be downloaded where there is no network."""
    return HubError(
        f"The weights of {repository} are not in the local cache, and the Hub could not be reached. Connect to the "
        "network (and unset HF_HUB_OFFLINE), then run again."
    )


def few(names: Iterable[str]) -> str:
    """The first three of some names, and how many more there are."""

    def shown() -> Iterator[str]:
        listed = list(names)
        yield from listed[:3]
        if len(listed) > 3:
            yield f"and {len(listed) - 3} more"

    return ", ".join(shown())
