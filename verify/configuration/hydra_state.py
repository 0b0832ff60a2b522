"""Hydra's state, lent to one composition at a time and given back as it was.

Hydra keeps what is being composed and all registered schemas in singletons of the process. A program that calls this
package may use Hydra itself, and may call from several threads.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra

from verify.configuration.schema import EngineConfig, PolicyConfig, SuiteConfig, VerifyConfig

GROUPS = ("policy", "engine", "suite")

_one_at_a_time = threading.RLock()


@contextlib.contextmanager
def own_hydra() -> Iterator[None]:
    """Have Hydra know the schemas of this package, and nothing that the calling program composes, meanwhile."""
    with _one_at_a_time:
        store, hydra = ConfigStore.instance(), GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        ours = ("schema.yaml", *GROUPS)
        theirs = {name: copy.copy(store.repo[name]) for name in ours if name in store.repo}
        store.store(name="schema", node=VerifyConfig)
        store.store(group="policy", name="schema", node=PolicyConfig)
        store.store(group="engine", name="schema", node=EngineConfig)
        store.store(group="suite", name="schema", node=SuiteConfig)
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = hydra  # another instance by now: Hydra replaces its singleton
            for name in ours:
                store.repo.pop(name, None)
            store.repo.update(theirs)
