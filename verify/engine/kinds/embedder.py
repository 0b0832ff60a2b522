"""How a repository says that its token embeddings become the embedding of a text.

The files are those that sentence-transformers writes: modules.json lists the modules, each in a folder with a
config.json (https://sbert.net/docs/sentence_transformer/usage/custom_models.html). They are read as data: no class that
they name is imported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from verify.engine.loading.plausible import checkpoint_of
from verify.errors import BlockedError, EngineError
from verify.hub.weights import WEIGHTS

_TRANSFORMER_CONFIGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
_POOLING_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
}
_POOLING_NAMES = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "Mish", "Softplus")
NORMALIZE = "normalize"


@dataclass(frozen=True)
class Step:
    """What is done to pooled embeddings [n, D]; ``sizes`` are the D that it takes and gives, None where any will do."""

    name: str
    apply: Callable[[Any], Any]
    sizes: tuple[int, int] | None = None


@dataclass(frozen=True)
class Recipe:
    """What turns a text into one vector.

    ``folder`` holds the transformer. ``prompt`` is put before every text; its tokens are pooled only if
    ``pool_prompt``. ``pooling`` names the poolings whose results stand side by side; ``steps`` are applied to them in
    order. ``max_tokens`` is the longest input, special tokens included. ``similarity`` and ``prompts`` (the names of
    those that are not empty) are for the record. ``is_stated`` is False where the repository says nothing and the
    field's default, the mean over all tokens, is used.
    """

    folder: Path
    pooling: tuple[str, ...] = ("mean",)
    steps: tuple[Step, ...] = ()
    max_tokens: int | None = None
    lower_case: bool = False
    prompt: str = ""
    pool_prompt: bool = True
    similarity: str | None = None
    prompts: tuple[str, ...] = ()
    is_stated: bool = False

    def fits(self, size: int) -> Recipe:
        """The recipe itself. Raises EngineError if it does not apply to token embeddings of ``size`` numbers."""
        size *= len(self.pooling)
        for step in self.steps:
            if step.sizes is not None and step.sizes[0] != size:
                raise EngineError(
                    f"The repository's module {step.name} takes {step.sizes[0]} numbers, and the pooling "
                    f"{'+'.join(self.pooling)} before it gives {size}. If the task sets pooling, leave that out."
                )
            size = step.sizes[1] if step.sizes is not None else size
        return self

    def with_settings(self, *, pooling: str = "auto", normalize: str = "auto", prompt: str | None = None) -> Recipe:
        """The recipe with a task's settings in place of what the repository says."""
        steps = self.steps
        if normalize != "auto":
            steps = tuple(step for step in steps if step.name != NORMALIZE)
        if normalize == "yes":
            steps = (*steps, Step(NORMALIZE, _normalized))
        return replace(
            self,
            pooling=self.pooling if pooling == "auto" else (pooling,),
            steps=steps,
            prompt=self.prompt if prompt is None else prompt,
        )


def read_recipe(folder: Path) -> Recipe:
    """What the sentence-transformers files of a repository say, or the default where it has none.

    Raises EngineError if a module is not understood, BlockedError if its weights are missing or could run code.
    """
    if not (folder / "modules.json").is_file():
        return Recipe(folder)
    modules = _read(folder / "modules.json", list)
    recipe, has_pooling = Recipe(folder, is_stated=True), False
    for place, module in enumerate(modules):
        kind = module.get("type") if isinstance(module, dict) else None
        name = kind.rpartition(".")[2] if isinstance(kind, str) and kind.startswith("sentence_transformers.") else None
        inside = _inside(folder, module.get("path", "")) if name else folder
        if name == "Transformer" and place == 0:
            recipe = replace(recipe, folder=inside, **_transformer(inside))
        elif name == "Pooling" and place == 1:
            recipe, has_pooling = replace(recipe, **_pooling(inside)), True
        elif name == "Normalize" and has_pooling:
            recipe = replace(recipe, steps=(*recipe.steps, Step(NORMALIZE, _normalized)))
        elif name == "Dense" and has_pooling:
            recipe = replace(recipe, steps=(*recipe.steps, _dense(inside)))
        elif name != "Dropout" or not has_pooling:  # in evaluation mode, dropout does nothing
            raise _not_understood(f"its module {place}, {kind}", folder / "modules.json")
    if not has_pooling:
        raise _not_understood("no pooling after the transformer", folder / "modules.json")
    return replace(recipe, **_prompts(folder))


def pool(names: Sequence[str], hidden: Any, mask: Any) -> Any:
    """Token embeddings [n, T, D] to embeddings [n, len(names) · D]; ``mask`` [n, T] is 1 for each token to be pooled.

    The definitions are those of sentence-transformers' Pooling.
    """
    import torch

    weights = mask.unsqueeze(-1).to(hidden.dtype)
    places = torch.arange(1, hidden.shape[1] + 1, device=hidden.device)
    rows = torch.arange(len(hidden), device=hidden.device)
    vectors = []
    for name in names:
        if name == "cls":
            vectors.append(hidden[rows, mask.to(torch.int64).argmax(dim=1)])
        elif name == "last":
            vectors.append(hidden[rows, (mask * places).argmax(dim=1)])
        elif name == "max":
            vectors.append(hidden.masked_fill(weights == 0, float("-inf")).amax(dim=1))
        else:
            weighted = weights * places.to(hidden.dtype)[None, :, None] if name == "weighted_mean" else weights
            total = weighted.sum(dim=1).clamp(min=1e-9)
            vectors.append((hidden * weighted).sum(dim=1) / (total.sqrt() if name == "mean_sqrt_len" else total))
    return torch.cat(vectors, dim=1)


def _normalized(vectors: Any) -> Any:
    from torch.nn.functional import normalize

    return normalize(vectors, dim=1)


def _transformer(folder: Path) -> dict[str, Any]:
    """The longest input and the casing, from the first of the names under which they are kept."""
    file = next((folder / name for name in _TRANSFORMER_CONFIGS if (folder / name).is_file()), None)
    config = _read(file, dict) if file is not None else {}
    task = config.get("transformer_task", "feature-extraction")
    if task != "feature-extraction":
        raise _not_understood(f"the transformer_task {task}", folder)
    longest = config.get("max_seq_length")
    if longest is not None and (not isinstance(longest, int) or longest < 1):
        raise _not_understood(f"max_seq_length: {longest}", folder)
    return {"max_tokens": longest, "lower_case": bool(config.get("do_lower_case", False))}


def _pooling(folder: Path) -> dict[str, Any]:
    config = _read(folder / "config.json", dict)
    stated = config.get("pooling_mode")
    if stated is None:
        names = tuple(name for key, name in _POOLING_KEYS.items() if config.get(key)) or ("mean",)
        unknown = [key for key in config if key.startswith("pooling_mode") and key not in _POOLING_KEYS and config[key]]
    else:
        listed = [stated] if isinstance(stated, str) else list(stated)
        names = tuple(_POOLING_NAMES.get(name, "") for name in listed)
        unknown = [str(name) for name in listed if name not in _POOLING_NAMES]
    if unknown:
        raise _not_understood(f"the pooling {unknown[0]}", folder / "config.json")
    return {"pooling": names, "pool_prompt": bool(config.get("include_prompt", True))}


def _dense(folder: Path) -> Step:
    """A linear layer and its activation, in float32."""
    import torch

    config = _read(folder / "config.json", dict)
    activation = config.get("activation_function", "torch.nn.modules.activation.Tanh") or "torch.nn.Identity"
    name = str(activation).rpartition(".")[2]
    if not str(activation).startswith("torch.nn.") or name not in _ACTIVATIONS:
        raise _not_understood(f"the activation {activation}", folder / "config.json")
    for key, plain in (("module_input_name", "sentence_embedding"), ("module_output_name", "sentence_embedding")):
        if config.get(key) not in (None, plain):
            raise _not_understood(f"{key}: {config[key]}", folder / "config.json")
    if config.get("use_residual"):
        raise _not_understood("use_residual", folder / "config.json")
    try:
        shape = int(config["in_features"]), int(config["out_features"])
    except (KeyError, TypeError, ValueError) as error:
        raise _not_understood("in_features and out_features", folder / "config.json") from error
    _require_size(shape, folder)
    linear = torch.nn.Linear(*shape, bias=bool(config.get("bias", True)))
    _fill(linear, folder)
    layer = torch.nn.Sequential(linear, getattr(torch.nn, name)()).eval().requires_grad_(False)
    return Step(f"{folder.name} (dense, {name})", lambda vectors: layer.to(vectors.device)(vectors), shape)


def _require_size(shape: tuple[int, int], folder: Path) -> None:
    """Raise BlockedError for a layer with more numbers than its file, before memory is taken for it."""
    file = folder / WEIGHTS
    held = checkpoint_of([file]).elements if file.is_file() else 0
    if file.is_file() and (min(shape) < 1 or shape[0] * shape[1] > held):
        raise BlockedError(
            f"The weights of the module {folder.name} do not fill it: by its config.json it takes {shape[0]:,} numbers "
            f"and gives {shape[1]:,}, and {file.name} holds {held:,} numbers. Nothing is measured."
        )


def _fill(linear: Any, folder: Path) -> None:
    from safetensors.torch import load_file

    file = folder / WEIGHTS
    if not file.is_file():
        raise BlockedError(
            f"The module {folder.name} has no model.safetensors. Weights in another form are not loaded, because "
            "opening them could run code. Ask the model's author for safetensors."
        )
    try:
        weights = {key.removeprefix("linear."): value.float() for key, value in load_file(file).items()}
        linear.load_state_dict(weights)
    except Exception as error:
        raise BlockedError(
            f"The weights of the module {folder.name} do not fill it: {' '.join(str(error).split())[:300]} Nothing is "
            "measured."
        ) from error


def _prompts(folder: Path) -> dict[str, Any]:
    file = folder / "config_sentence_transformers.json"
    config = _read(file, dict) if file.is_file() else {}
    prompts, default = config.get("prompts") or {}, config.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise _not_understood("prompts", file)
    if default is not None and default not in prompts:
        raise _not_understood(f"the default prompt {default}, which prompts lacks", file)
    return {
        "prompt": str(prompts[default]) if default is not None else "",
        "similarity": config.get("similarity_fn_name"),
        "prompts": tuple(name for name, text in prompts.items() if text),
    }


def _inside(folder: Path, path: Any) -> Path:
    """The folder of a module. Paths in a repository are not trusted: one that leads out of it is an error."""
    inside = folder / str(path)
    if not inside.resolve().is_relative_to(folder.resolve()):
        raise _not_understood(f"the path {path}, which leads out of the repository", folder / "modules.json")
    return inside


def _read(file: Path, kind: type[Any]) -> Any:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise EngineError(
            f"{file.parent.name}/{file.name} cannot be read ({type(error).__name__}), so it is not known how "
            "the model's embeddings are made. The repository may be incomplete."
        ) from error
    if not isinstance(content, kind):
        raise _not_understood(f"a {type(content).__name__} where a {kind.__name__} is expected", file)
    return content


def _not_understood(what: str, file: Path) -> EngineError:
    return EngineError(
        f"{file.parent.name}/{file.name} says how the model's embeddings are made, and this is not understood: {what}. "
        "They would be other embeddings than the author's, so nothing is measured."
    )
