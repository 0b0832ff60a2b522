"""Causal and masked language models: which of the two a checkpoint is, and what it says about single tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Job
from verify.engine.loading.load import model_for
from verify.errors import EngineError

CAUSAL, MASKED = "causal", "masked"

_CHUNK = 2**26  # logits turned into float32 at once: 256 MiB


def load_language_model(job: Job, objective: str) -> tuple[Any, str]:
    """The job's model with its head, and its objective: causal or masked. ``objective`` auto asks the checkpoint.

    Raises EngineError if the checkpoint is no language model, if it has an encoder and a decoder, or if it is to be
    read as a causal model and sees later tokens.
    """
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(
            job.model_folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise EngineError(
            f"The model's configuration could not be read: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        ) from error
    if config.is_encoder_decoder:
        raise EngineError(
            f"A {config.model_type} model reads one text and writes another, so a text has no likelihood of its own "
            "under it. Choose a causal or a masked language model."
        )
    objective = objective_of(config) if objective == "auto" else objective
    if objective == MASKED:
        return model_for(job, transformers.AutoModelForMaskedLM), MASKED
    model = model_for(job, transformers.AutoModelForCausalLM)
    model.config.use_cache = False
    _require_causal(model)
    return model, CAUSAL


def objective_of(config: Any) -> str:
    """Causal or masked, from the architecture that a configuration names, or from the family where it names another.

    Raises EngineError if the family has no language model of either kind.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_FOR_MASKED_LM_MAPPING

    for name in config.architectures or ():
        if name.endswith("ForMaskedLM"):
            return MASKED
        if name.endswith(("ForCausalLM", "LMHeadModel")):
            return CAUSAL
    if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False):
        return MASKED
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return CAUSAL
    raise EngineError(
        f"A {config.model_type} model is no language model, so texts have no likelihood under it. Choose another "
        "kind of task."
    )


def logits_at(model: Any, inputs: Mapping[str, Any], rows: Any, columns: Any) -> Any:
    """The logits [n, V] at n places of a batch, given by their ``rows`` and ``columns`` (int64 [n]).

    The places are picked from the hidden states just before these are projected to the vocabulary, so that nothing of
    its size is computed elsewhere. A model that has no projection of its own gives all logits, of which those asked for
    are taken.
    """

    def pick(_head: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = given[0]
        return (hidden[rows.to(hidden.device), columns.to(hidden.device)].unsqueeze(0), *given[1:])

    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(pick) if head is not None else None
    try:
        logits = model(**inputs).logits
    finally:
        if hook is not None:
            hook.remove()
    if logits.shape[:2] == (1, len(rows)):
        return logits[0]
    return logits[rows.to(logits.device), columns.to(logits.device)]


def token_scores(logits: Any, targets: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each place, −ln p of its target under ``logits`` [n, V], in float32, and whether it was the most likely."""
    import torch

    losses, hits = [torch.empty(0)], [torch.empty(0, dtype=torch.bool)]
    size = max(1, _CHUNK // logits.shape[-1])
    for part, wanted in zip(logits.split(size), targets.to(logits.device).split(size), strict=True):
        losses.append(torch.nn.functional.cross_entropy(part.float(), wanted, reduction="none").cpu())
        hits.append((part.argmax(dim=-1) == wanted).cpu())
    return torch.cat(losses).numpy().astype(np.float64), torch.cat(hits).numpy()


def _require_causal(model: Any) -> None:
    """Raise EngineError if what stands later in a text changes what the model says about an earlier token."""
    import torch

    config = model.config.get_text_config()
    middle = config.vocab_size // 2  # most special tokens stand at the ends
    words = [i for i in range(middle, middle + 10) if i != getattr(config, "pad_token_id", None)][:9]
    device = "cpu" if model.device.type == "meta" else model.device  # weights on disk: Accelerate moves the inputs
    ids, changed = (torch.tensor([row], device=device) for row in (words[:8], [*words[:7], words[8]]))
    columns = torch.arange(7)
    with torch.inference_mode():
        one, other = (
            logits_at(model, {"input_ids": batch}, torch.zeros_like(columns), columns).float()
            for batch in (ids, changed)
        )
    if not torch.allclose(one, other, rtol=1e-3, atol=1e-3 * float(one.std()), equal_nan=True):
        raise EngineError(
            f"{type(model).__name__} sees later tokens of a text, so it predicts what it has read, and its perplexity "
            "would mean nothing. For a masked language model, set objective: masked under settings."
        )
