"""Loading weights, and refusing those that do not fill the model.

A head that is missing from the checkpoint is filled with random numbers by transformers and only logged; measuring it
would be measuring noise, so it blocks the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verify.errors import BlockedError, EngineError


def load_model(auto_class: Any, folder: str, dtype: str) -> Any:
    """A model in evaluation mode, from safetensors only and with no code from the repository.

    ``dtype`` is a torch dtype's name, or native for the one in the checkpoint's configuration. Raises BlockedError if
    any weight is missing or has another shape, EngineError if the model cannot be built.
    """
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model, info = auto_class.from_pretrained(
            folder,
            dtype="auto" if dtype == "native" else getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        raise EngineError(
            f"The model in {Path(folder).name} could not be built by {auto_class.__name__}: "
            f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"
        ) from error
    missing = sorted(info.get("missing_keys", ()))
    mismatched = sorted(str(item[0] if isinstance(item, (tuple, list)) else item) for item in info["mismatched_keys"])
    if missing or mismatched:
        problems = [f"{len(missing)} weights are missing ({_listed(missing)})"] if missing else []
        problems += [f"{len(mismatched)} have another shape ({_listed(mismatched)})"] if mismatched else []
        raise BlockedError(
            f"The checkpoint does not fill {type(model).__name__}: {' and '.join(problems)}. They would be random, so "
            "nothing is measured. The repository may hold a model for another task."
        )
    return model.eval()


def class_names(config: Any) -> tuple[str, ...]:
    """The model's class names in logit order, as its configuration states them."""
    return tuple(str(config.id2label[i]) for i in range(config.num_labels))


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:4]) + (", …" if len(keys) > 4 else "")
