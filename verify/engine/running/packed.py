"""Linear layers with weights in oneDNN's own layout, for passes on a CPU.

torch hands float32 products to MKL, and lays bfloat16 weights out anew at every call. With the weights laid out once,
oneDNN's kernels took a fifth to a quarter less time in float32 and up to half in bfloat16 (measured on matrices of BERT
models). torch.compile does the same when it freezes a model, but compiles for half a minute first; so the operators
that it would call are called here. Other bits can come out in the last places, which is one of the things that the
second configuration, which runs without, is there to show.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

SMALLEST = 64
"""Layers with fewer inputs or outputs gain nothing."""

SHARE_OF_MEMORY = 0.5
"""Packed weights stand beside the others: as long as they take no more than this share of the free memory."""


@contextmanager
def packed(model: Any) -> Iterator[int]:
    """Within it, the linear layers of ``model`` run on packed weights; yields how many do, 0 where it is no help."""
    changed = []
    try:
        for module in _candidates(model):
            module.forward = _forward(module)
            changed.append(module)
        yield len(changed)
    finally:
        for module in changed:
            del module.forward


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions by which oneDNN computes in bfloat16, such as AVX-512's.

    Without them it lays out no bfloat16 weights, and torch took six times as long for a product as in float32 (on a CPU
    with AVX2).
    """
    import torch

    asked = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return asked is not None and bool(asked())


def _candidates(model: Any) -> list[Any]:
    import torch

    operators = torch.ops.mkldnn
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(operators, "_linear_pointwise"):
        return []
    dtypes = (torch.float32, torch.bfloat16) if computes_bfloat16() else (torch.float32,)
    found = [
        module
        for module in model.modules()
        if type(module) is torch.nn.Linear
        and "forward" not in vars(module)
        and not hasattr(module, "_hf_hook")
        and module.weight.device.type == "cpu"
        and module.weight.dtype in dtypes
        and min(module.weight.shape) >= SMALLEST
    ]
    size = sum(module.weight.numel() * module.weight.element_size() for module in found)
    return found if size < SHARE_OF_MEMORY * _free_memory() else []


def _forward(module: Any) -> Callable[[Any], Any]:
    import torch

    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach())
    bias = None if module.bias is None else module.bias.detach()
    dtype = module.weight.dtype
    run = torch.ops.mkldnn._linear_pointwise

    def forward(inputs: Any) -> Any:
        if inputs.dtype is not dtype or inputs.numel() == 0:
            return torch.nn.functional.linear(inputs, module.weight, module.bias)
        return run(inputs, weight, bias, "none", [], "")

    return forward


def _free_memory() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0
