"""Loading weights, and refusing those that do not fill the model.

A head that is missing from the checkpoint is filled with random numbers by transformers and only logged; measuring it
would be measuring noise, so it blocks the run.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from verify.engine.job import Job
from verify.engine.loading.plausible import Checkpoint, check_count, check_plausible, checkpoint_of
from verify.engine.loading.view import close_views
from verify.errors import BlockedError, EngineError

_log = logging.getLogger(__name__)


def model_for(job: Job, auto_class: Any, **options: Any) -> Any:
    """The job's model in evaluation mode, as :func:`load_model` gives it.

    It is kept for the jobs that follow: a model is loaded once for all its tasks, and given up when another one comes.
    With a device map, Accelerate spreads it over the devices, memory and disk that there are.
    """
    if job.device_map is not None:
        memory = {int(name) if name.isdigit() else name: size for name, size in (job.max_memory or {}).items()}
        options |= {"device_map": job.device_map, "max_memory": memory or None}
    files = [file.stat() for file in Path(job.model_folder).rglob("*") if file.is_file()]
    state = max((stat.st_mtime_ns for stat in files), default=0)
    key = (auto_class.__name__, job.model_folder, state, job.dtype, repr(sorted(options.items())))
    if key not in _kept:
        _kept.clear()
        if job.device_map is not None:
            options["offload_folder"] = str(Path(job.run_folder) / OFFLOAD)
        _kept[key] = load_model(auto_class, job.model_folder, job.dtype, **options)
    return _kept[key]


def forget() -> None:
    """Give up the model that :func:`model_for` keeps, and the folders that models were loaded from."""
    _kept.clear()
    close_views()


ADAPTER = "adapter"
"""The sub-folder of a model's folder that holds the adapter to be laid over it."""

OFFLOAD = "offload"
"""The folder, in the run folder of the first job that uses a model, of weights that neither devices nor memory hold."""

_kept: dict[tuple[Any, ...], Any] = {}


def load_model(auto_class: Any, folder: str, dtype: str, **options: Any) -> Any:
    """A model in evaluation mode, from safetensors only and with no code from the repository.

    ``dtype`` is a torch dtype's name, or native for the one in the checkpoint's configuration; ``options`` are handed
    to ``from_pretrained``. An adapter in the sub-folder ``ADAPTER`` is laid over the model. Raises BlockedError if any
    weight is missing or has another shape, EngineError if the model cannot be built.
    """
    _log.info("loading %s from %s", auto_class.__name__, folder)
    adapter = Path(folder) / ADAPTER
    if not adapter.is_dir():
        model, missing, mismatched = _built(auto_class, folder, dtype, **options)
        _require_filled(model, missing, mismatched)
        return model.eval()

    from verify.engine.loading.adapted import load_adapted

    def build(config: Any) -> tuple[Any, set[str]]:
        own = {} if config is None else {"config": config}
        model, missing, mismatched = _built(auto_class, folder, dtype, **own, **options)
        return model, {*missing, *mismatched}

    model, random = load_adapted(Path(folder), adapter, build)
    _require_filled(model, sorted(random), [])
    return model.eval()


def _built(auto_class: Any, folder: str, dtype: str, **options: Any) -> tuple[Any, list[str], list[str]]:
    """A model, and the names of its weights that the checkpoint lacks or has in another shape."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    checkpoint = require_plausible(folder)
    try:
        _require_fit(auto_class, folder, checkpoint)
        model, info = auto_class.from_pretrained(
            folder,
            dtype="auto" if dtype == "native" else getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    except BlockedError:
        raise
    except Exception as error:
        raise EngineError(
            f"The model in {Path(folder).name} could not be built by {auto_class.__name__}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        ) from error
    missing = sorted(info.get("missing_keys", ()))
    mismatched = sorted(str(item[0] if isinstance(item, (tuple, list)) else item) for item in info["mismatched_keys"])
    _unused[model] = unused_note(info.get("unexpected_keys") or (), type(model).__name__)
    return model, missing, mismatched


def _require_filled(model: Any, missing: list[str], mismatched: list[str]) -> None:
    if missing or mismatched:
        problems = [f"{len(missing)} weights are missing ({listed(missing)})"] if missing else []
        problems += [f"{len(mismatched)} have another shape ({listed(mismatched)})"] if mismatched else []
        raise BlockedError(
            f"The checkpoint does not fill {type(model).__name__}: {' and '.join(problems)}. They would be random, so "
            "nothing is measured. The repository may hold a model for another task."
        )


def unused_note(keys: Iterable[str], name: str) -> tuple[str, ...]:
    """One sentence on the tensors of a checkpoint that a model does not take, none if there are none.

    Leftovers of pretraining (its heads, poolers, buffers of positions) are named as such.
    """
    left = sorted(str(key) for key in keys)
    if not left:
        return ()
    odd = [key for key in left if not _LEFTOVER.search(key)]
    if not odd:
        return (f"{len(left)} tensors of the checkpoint are not used by {name}, as is usual ({listed(left)})",)
    return (
        f"{len(odd)} tensors of the checkpoint are not used by {name} ({listed(odd)}): what was measured is not the "
        "whole of what the repository holds",
    )


_LEFTOVER = re.compile(
    r"position_ids$|(^|\.)pooler\.|^cls\.(predictions|seq_relationship)\.|^lm_head\.|(^|\.)masked_bias$|attn\.bias$|"
    r"rotary_emb\.inv_freq$|^vocab_(transform|layer_norm|projector)\.|^(generator|discriminator)_(predictions|lm_head)|"
    r"num_batches_tracked$|relative_position_index$|embed_positions\.weights$|^mask_token$|mask_emb|^quantizer\.|"
    r"^project_(q|hid)\."
)
"""Tensors that honest checkpoints of the field carry beside what a task's model takes."""


def notes_of(model: Any) -> tuple[str, ...]:
    """What the load of a model showed that whoever reads its scores has to know."""
    return _unused.get(model, ()) if isinstance(model, Hashable) else ()


_unused: WeakKeyDictionary[Any, tuple[str, ...]] = WeakKeyDictionary()


def require_plausible(folder: str) -> Checkpoint:
    """What the weights in a folder hold. Raises BlockedError if a config.json in it cannot be theirs."""
    place = Path(folder)
    checkpoint = checkpoint_of(sorted(place.rglob("*.safetensors")))
    for file in sorted(place.rglob("config.json")):
        try:
            config = json.loads(file.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # whoever reads it says what is wrong with it
        check_plausible(config, checkpoint, f"{place.name}/{file.relative_to(place).as_posix()}")
    return checkpoint


def _require_fit(auto_class: Any, folder: str, checkpoint: Checkpoint) -> None:
    """Build the model without memory, and hold its size against the checkpoint's. Raises BlockedError."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    try:
        with torch.device("meta"):
            model = auto_class.from_config(config)
    except Exception:
        _log.info("%s cannot be built without memory", auto_class.__name__, exc_info=True)
        return
    check_count(
        sum(one.numel() for one in model.parameters()),
        sum(one.numel() for one in model.buffers()),
        checkpoint,
        type(model).__name__,
    )


def class_names(config: Any) -> tuple[str, ...]:
    """The model's class names in logit order, as its configuration states them."""
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


def listed(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
