"""A bound on the disk that downloaded models take: those that are done make room for those to come."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from huggingface_hub import HFCacheInfo

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Revision:
    model: str
    commit: str


class Evictor:
    """Deletes models from the Hub's local cache, oldest first, while it is larger than ``budget`` bytes.

    Only what came into the cache during this sweep is deleted, and only once its model is done.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._before = _revisions(_cache())
        self._done: dict[str, None] = {}

    def finished(self, model: str, in_use: Iterable[str]) -> list[str]:
        """Note that a model is done, and make room if that is needed; the models deleted.

        ``in_use`` are the models that are being worked on, or will be.
        """
        self._done.pop(model, None)
        self._done[model] = None
        kept, deleted = set(in_use), []
        cache = _cache()
        for candidate in [one for one in self._done if one not in kept]:
            if cache is None or cache.size_on_disk <= self._budget:
                break
            del self._done[candidate]
            new = [one.commit for one in _revisions(cache) - self._before if one.model == candidate]
            if new:
                # a copy of a repository has the same commits, and they would be deleted by their names
                own = frozenset(repository for repository in cache.repos if repository.repo_id == candidate)
                freed = replace(cache, repos=own).delete_revisions(*new)
                _log.info("%s is deleted from the cache, %s", candidate, freed.expected_freed_size_str)
                freed.execute()
                deleted.append(candidate)
                cache = _cache()
        return deleted


def _cache() -> HFCacheInfo | None:
    """What the cache holds; None if there is none yet."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return scan_cache_dir()
    except CacheNotFound:
        return None


def _revisions(cache: HFCacheInfo | None) -> set[_Revision]:
    return {
        _Revision(repository.repo_id, revision.commit_hash)
        for repository in (cache.repos if cache else ())
        if repository.repo_type == "model"
        for revision in repository.revisions
    }
