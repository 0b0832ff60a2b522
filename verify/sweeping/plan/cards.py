"""What the plan of a sweep must know of each model: its claims' cells, its size, and what identifies it.

Nothing is run and no weights are fetched. Many cards are read by several processes, which import no torch.
"""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import json
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, TypeVar

from verify.checking.opening import Key, cells_of
from verify.checking.reading import resolved_claims
from verify.checking.subject import Loadable, gated
from verify.configuration.schema import VerifyConfig
from verify.engine.running.launch import default_threads
from verify.errors import UsageError, VerifyError
from verify.foundation.content import content_key
from verify.hub import models
from verify.hub.safety import TEXT_LIMIT
from verify.hub.weights import is_pickle
from verify.processes.import_path import exclude, protect
from verify.processes.spawning import without_main
from verify.sweeping.plan.cost import DTYPE_BYTES, Size, size_of
from verify.sweeping.plan.suite import Reference
from verify.tasks.registry import Registry

FEW = 200
"""So many models or fewer are read by this process alone: others take longer to start."""
MOST_PROCESSES = 8
LOOKED_UP_AT_ONCE = 8
CHUNK = 25
_FLOATS = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""The floating-point types in the header of a safetensors file."""

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
Subject = tuple[Reference, models.ModelRepository | VerifyError | None]
"""A model to read, and its repository or why there is none; None where it must still be looked up."""


@dataclass(frozen=True, slots=True)
class Card:
    """A model as its card and its files present it.

    ``content`` identifies its files: its commit, or the names, sizes and times of a folder's files. ``cells`` are the
    (task, split) to measure; ``by_arithmetic`` of the ``claims`` are settled by the card alone. ``size`` is None where
    nothing would be loaded; ``weights`` and ``download`` are bytes, ``dtype`` is that of the checkpoint.
    """

    reference: Reference
    model: str
    content: str
    cells: tuple[Key, ...]
    claims: int
    by_arithmetic: int
    size: Size | None
    weights: int
    download: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Unread:
    """A model that cannot be planned, and why."""

    reference: Reference
    error: VerifyError


def read_cards(
    references: Sequence[Reference], config: VerifyConfig, registry: Registry, say: Callable[[str], None]
) -> Iterator[Card | Unread]:
    """Read the card of every model, in their order; ``say`` receives a sentence where that takes long.

    Raises UsageError if the configuration is wrong in a way that only a card shows, such as a file of corrections.
    """
    elsewhere = [one for one in references if not is_folder(one.model)]
    exclude(*(Path(one.model) for one in references if one not in elsewhere))
    found: dict[Reference, models.ModelRepository | VerifyError] = {}
    if elsewhere:
        say(f"Looking {len(elsewhere)} model{'' if len(elsewhere) == 1 else 's'} up on the Hub.")
        found = dict(zip(elsewhere, looked_up(_repository_of, elsewhere), strict=True))
    subjects: list[Subject] = [(one, found.get(one)) for one in references]
    if len(subjects) <= FEW:
        for subject in subjects:
            yield _checked(_read(subject, config, registry))
        return
    say(f"Reading the cards of {len(subjects)} models.")
    pool = ProcessPoolExecutor(
        min(default_threads(1), MOST_PROCESSES),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(config, registry),
    )
    try:
        with without_main():
            read = pool.map(_read_here, subjects, chunksize=CHUNK)
        for one in read:
            yield _checked(one)
    finally:
        pool.shutdown(cancel_futures=True)


def looked_up(look_up: Callable[[_Asked], _Answer], asked: Sequence[_Asked]) -> list[_Answer]:
    """What ``look_up`` finds for each, several at once.

    Nobody waits for its threads but this function: once it is interrupted, the process can end, whatever stalls.
    """
    try:
        with ThreadPool(LOOKED_UP_AT_ONCE) as threads:
            return threads.map(look_up, asked, chunksize=1)
    except KeyboardInterrupt:
        _wait_for_no_downloads()
        raise


def _wait_for_no_downloads() -> None:
    """Have Python end without the pools of threads that the Hub's client has begun in daemon threads.

    They are daemons, too, but concurrent.futures waits for every thread of its pools and has no setting for that.
    """
    waited_for: MutableMapping[threading.Thread, Any] = getattr(concurrent.futures.thread, "_threads_queues", {})
    for thread in [one for one in waited_for if one.daemon]:
        waited_for.pop(thread, None)


def is_folder(reference: str) -> bool:
    """Whether a model is a folder here, or meant to be one, and not on the Hub."""
    if reference.startswith(models.HUB):
        return False
    try:
        return reference.startswith(("/", "./", "../", "~")) or Path(reference).is_dir()
    except (OSError, ValueError):
        return False


def _repository_of(reference: Reference) -> models.ModelRepository | VerifyError:
    try:
        return models.resolve(reference.model)
    except VerifyError as error:
        return error


def _checked(read: Card | Unread) -> Card | Unread:
    if isinstance(read, Unread) and isinstance(read.error, UsageError):
        raise read.error
    return read


_given: list[Any] = []
"""The configuration and the registry of a process that reads cards."""


def _begin(config: VerifyConfig, registry: Registry) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever waits for the cards ends this process
    protect()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _given[:] = [config, registry]


def _end_with_parent() -> None:
    """End this process with the one that has started it, even where that is killed: nobody else would."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _read_here(subject: Subject) -> Card | Unread:
    config, registry = _given
    return _read(subject, config, registry)


def _read(subject: Subject, config: VerifyConfig, registry: Registry) -> Card | Unread:
    reference, repository = subject
    if isinstance(repository, VerifyError):
        return Unread(reference, repository)
    try:
        return _card(reference, repository or models.resolve(reference.model), config, registry)
    except VerifyError as error:
        return Unread(reference, error)


def _card(reference: Reference, repository: models.ModelRepository, config: VerifyConfig, registry: Registry) -> Card:
    model, revision, only = repository.model, repository.revision, reference.tasks
    resolved = resolved_claims(models.texts(repository), model, revision, config, registry, only)
    cells = cells_of(resolved, [registry[name] for name in only or ()], config)
    size, weights, download, dtype, content = None, 0, 0, "float32", _content(repository)
    with contextlib.suppress(VerifyError):  # the check itself says what keeps a model from being loaded
        loadable = gated(repository, config)
        size, weights, download, dtype = _sized(loadable)
        content = content_key([_content(part) for part in loadable.parts]) if loadable.base else content
    return Card(
        reference,
        model,
        content,
        tuple(cells),
        len(resolved.claims),
        len(resolved.impossible),
        size,
        weights,
        download,
        dtype,
    )


def _content(repository: models.ModelRepository) -> str:
    if repository.revision is not None:
        return repository.revision
    listing = []
    for name in repository.files:
        path = repository.folder / name
        try:
            stat = path.stat()
            listing.append([name, stat.st_size, stat.st_mtime_ns])
        except OSError:
            listing.append([name, None, None])
    return content_key(listing)


def _sized(loadable: Loadable) -> tuple[Size, int, int, str]:
    """The size of a model, the bytes of its weights and of what must be fetched of them, and the checkpoint's dtype.

    The weights of an adapter count with its base's.
    """
    config = _configuration(loadable.parts[-1])
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    parameters = weights = download = 0
    for repository, name in ((part, name) for part in loadable.parts for name in models.weight_files(part)):
        file = repository.folder / name
        if file.is_file():
            weights += file.stat().st_size
            parameters += file.stat().st_size // DTYPE_BYTES.get(dtype, 4) if is_pickle(name) else _parameters(file)
        else:
            size = repository.sizes.get(name, 0)
            weights, download = weights + size, download + size
            parameters += size // DTYPE_BYTES.get(dtype, 4)
    return size_of(config, parameters), weights, download, dtype


def _configuration(repository: models.ModelRepository) -> dict[str, Any]:
    try:
        found = json.loads((repository.folder / "config.json").read_bytes()[:TEXT_LIMIT])
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _parameters(file: Path) -> int:
    """The numbers in a safetensors file whose header :func:`verify.hub.models.check_safety` has found sound.

    The header is JSON after its length in eight bytes (https://huggingface.co/docs/safetensors, "Format").
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(min(length, os.fstat(stream.fileno()).st_size)))
    tensors = [entry for name, entry in header.items() if name != "__metadata__"]
    return sum(math.prod(entry["shape"]) for entry in tensors if entry["dtype"] in _FLOATS)
