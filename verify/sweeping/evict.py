"""A bound on the disk that downloaded models take: those that are done make room for those to come."""

from __future__ import annotations

import contextlib
import logging
import platform
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from verify.foundation.content import content_key
from verify.foundation.plain import UnreadableError, from_plain
from verify.store.files import read_sealed, write_sealed
from verify.sweeping.plan.cards import is_folder

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo

SCHEMA = "verify.downloaded/1"
_WEIGHTS = frozenset(
    (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack", ".onnx", ".gguf", ".pb", ".tflite")
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Download:
    """A model that a sweep fetches, or has fetched: whether it is done, and the commits of weights there before."""

    before: tuple[str, ...]
    is_done: bool = False


class Evictor:
    """Deletes models from the Hub's local cache, oldest first, while it is larger than ``budget`` bytes.

    Only weights that came into the cache during a sweep are deleted, and only once their model is done. ``models`` are
    those of this sweep. What the cache held of them is remembered in ``folder``, that of the sweeps in the results, so
    that a sweep which goes on from one that was interrupted still knows what that one has downloaded.

    Only the cache of this machine is looked at: what the other machines of a cluster download into caches of their own
    stays there. Raises StoreError if ``folder`` cannot be read or written.
    """

    def __init__(self, budget: int, folder: Path, models: Iterable[str]) -> None:
        self._budget = budget
        self._file = folder / f"downloaded.{_name_of_cache()}.json"
        self._own: Mapping[str, _Download] = {}
        try:
            there = _weights(_cache())
        except OSError as error:
            _log.warning("The cache of the Hub cannot be read, so nothing is deleted from it: %s", error)
            return
        known = self._read()
        self._own = {
            model: replace(known.get(model) or _Download(tuple(sorted(there.get(model, ())))), is_done=False)
            for model in sorted(set(models))
            if not is_folder(model)
        }
        if self._own:
            self._write({**known, **self._own})

    def finished(self, model: str, in_use: Iterable[str]) -> list[str]:
        """Note that a model is done, and make room if that is needed; the models deleted.

        ``in_use`` are the models that are being worked on, or will be. Raises StoreError as the class does.
        """
        kept = set(in_use)
        downloads = self._read()  # again: another sweep of these results may have written it
        done = downloads.pop(model, None) or self._own.get(model)
        if done is not None:
            downloads[model] = replace(done, is_done=model not in kept)
            self._write(downloads)
        candidates = {name: one for name, one in downloads.items() if one.is_done and name not in kept}
        deleted = []
        with contextlib.suppress(OSError):  # another sweep deletes, too: the next model that is done makes room
            for name in self._make_room(candidates):
                deleted.append(name)
        if deleted:
            self._write({name: one for name, one in self._read().items() if name not in deleted})
        return deleted

    def _make_room(self, candidates: Mapping[str, _Download]) -> Iterator[str]:
        """Delete models, the first ones first, until the cache is small enough; the name of each one deleted."""
        cache = _cache()
        for model, download in candidates.items():
            if cache is None or cache.size_on_disk <= self._budget:
                return
            new = _weights(cache).get(model, set()) - set(download.before)
            if new:
                # a copy of a repository has the same commits, and they would be deleted by their names
                own = frozenset(repository for repository in cache.repos if repository.repo_id == model)
                freed = replace(cache, repos=own).delete_revisions(*new)
                _log.info("%s is deleted from the cache, %s", model, freed.expected_freed_size_str)
                freed.execute()
                yield model
                cache = _cache()

    def _read(self) -> dict[str, _Download]:
        found = read_sealed(self._file, depth=2) or {}
        with contextlib.suppress(UnreadableError):
            if found.get("schema") == SCHEMA:
                return dict(from_plain(Mapping[str, _Download], found.get("models")))
        return {}

    def _write(self, downloads: Mapping[str, _Download]) -> None:
        models = {name: asdict(one) for name, one in downloads.items()}
        write_sealed(self._file, {"schema": SCHEMA, "models": models}, depth=2)


def _name_of_cache() -> str:
    """Eight digits for this machine's cache: the machines that share a results folder may have others."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return content_key([platform.node(), HF_HUB_CACHE])[:8]


def _cache() -> HFCacheInfo | None:
    """What the cache holds; None if there is none yet. Raises OSError if it changes meanwhile or cannot be read."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir()
    except CacheNotFound:
        return None


def _weights(cache: HFCacheInfo | None) -> Mapping[str, set[str]]:
    """The commits of each model whose weights are there, and not just its card and its configuration."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for repository in cache.repos if cache else ():
        for revision in repository.revisions if repository.repo_type == "model" else ():
            if any(PurePosixPath(file.file_name).suffix in _WEIGHTS for file in revision.files):
                found[repository.repo_id].add(revision.commit_hash)
    return found
