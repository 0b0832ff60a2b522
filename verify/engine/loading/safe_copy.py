"""Safetensors copies of pickled checkpoints, made once for each content and kept in the user's cache.

A copy's name holds the digest of the pickle that it was made from and its own, which is checked whenever it is used.
So an interrupted write, a damaged disk or two processes at once can cost time, but never give other weights.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from io import BufferedReader
from pathlib import Path
from typing import Any

from filelock import FileLock

from verify.errors import BlockedError, EngineError, StoreError
from verify.hub.pickles import Tensor, tensors_in

LEAST_TORCH = (2, 10)
"""The first PyTorch whose ``weights_only`` has none of the known ways around it: code could run before 2.6
(CVE-2025-32434), and memory could be overwritten before 2.10 (CVE-2026-24747)."""

_log = logging.getLogger(__name__)


def safe_copy(pickle: Path) -> Path:
    """The safetensors copy of a pickled checkpoint, made now if there is none; nothing in the pickle is run.

    Raises:
        BlockedError: the file is no flat mapping of names to plain tensors, or this PyTorch is too old to open it.
        EngineError: the file changes meanwhile, or PyTorch cannot read it.
        StoreError: the copy cannot be written.

    """
    folder = copies_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with pickle.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            with FileLock(folder / f"{digest}.lock"):  # for the memory: several at once would be right, too
                return _sound(folder, digest) or _made(file, pickle.name, digest, folder)
    except OSError as error:
        raise StoreError(
            f"The safetensors copy of {pickle.name} cannot be kept in {folder}: {error.strerror or error}. Free some "
            "space, or let HF_HOME name a folder that can be written."
        ) from error


def copies_folder() -> Path:
    """Where copies are kept: beside the Hub's own cache, never in a model's folder."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "verify" / "safetensors"


def require_torch(version: str) -> None:
    """Raise BlockedError if this ``version`` of PyTorch is known to be unsafe on pickles."""
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in version.split("+")[0].split(".")[:2])
    if numbers < LEAST_TORCH:
        least = ".".join(map(str, LEAST_TORCH))
        raise BlockedError(
            f"allow_pickle=true needs PyTorch {least} or newer, and this is {version}: before, a pickle could run code "
            "(CVE-2025-32434) or overwrite memory (CVE-2026-24747) in spite of weights_only. Install a newer one: "
            f"pip install 'torch>={least}'."
        )


def _sound(folder: Path, digest: str) -> Path | None:
    """A copy of the pickle whose content is that which its name says; any other is removed."""
    for copy in folder.glob(f"{digest}-*.safetensors"):
        with copy.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == copy.stem.partition("-")[2]:
                return copy
        _log.warning("%s is damaged and is made again", copy)
        copy.unlink(missing_ok=True)
    return None


def _made(pickle: BufferedReader, name: str, digest: str, folder: Path) -> Path:
    import torch
    from safetensors.torch import save_file

    require_torch(torch.__version__)
    _log.info("making a safetensors copy of %s in %s", name, folder)
    weights = _loaded(pickle, name, tensors_in(pickle, name))
    pickle.seek(0)
    if hashlib.file_digest(pickle, "sha256").hexdigest() != digest:
        raise EngineError(f"{name} has changed while it was read. Leave the model alone while a command runs.")
    part = Path(tempfile.mkstemp(dir=folder, prefix=f"{digest[:16]}.", suffix=".part")[1])
    try:
        save_file(weights, part, metadata={"format": "pt"})
        with part.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        copy = folder / f"{digest}-{own}.safetensors"
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    return copy


def _loaded(file: BufferedReader, name: str, expected: dict[str, Tensor]) -> dict[str, Any]:
    """The tensors of a checkpoint, each in memory of its own, as they were ``expected``."""
    import torch

    file.seek(0)
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise EngineError(
            f"{name} cannot be opened by torch.load with weights_only: {' '.join(str(error).split())[:300]}"
        ) from error
    same = isinstance(found, dict) and {key: tuple(tensor.shape) for key, tensor in found.items()} == {
        key: tensor.shape for key, tensor in expected.items()
    }
    if not same:
        raise BlockedError(f"{name} holds other tensors for PyTorch than its archive shows, so it is not loaded.")
    seen = set[int]()
    weights = {}
    for key, tensor in found.items():
        storage = tensor.untyped_storage()
        owns_all = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        weights[key] = tensor.detach() if owns_all else tensor.detach().clone(memory_format=torch.contiguous_format)
    return weights
