"""Adaptive precision: a bfloat16 pass, then float32 only where bfloat16 could have decided otherwise.

How far bfloat16 moves a decision is measured on examples that run in both; whatever lies within twice the largest
movement seen of changing its prediction runs again in float32, and those runs join the measured ones until nothing new
is asked for. The result is a certificate, not a proof: the bound is an observed one, and its size and the number of
comparisons behind it are recorded.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Emit
from verify.engine.loop import Loop
from verify.errors import EngineError
from verify.metrics.flips import decisions
from verify.predictions import CLASSES, LabelPredictions, LabelSetPredictions, Predictions
from verify.store import DRAFT, PREDICTIONS

CALIBRATION = 128
SAFETY = 2.0


@dataclass(frozen=True)
class Certificate:
    """``bound``: how far a decision may move (logits); every prediction nearer to another one was run in float32.

    ``largest`` is the largest movement seen among ``compared`` examples, ``rechecked`` the share of all examples (a
    fraction) that ran in float32, ``changed`` how many of those bfloat16 would have decided otherwise.
    """

    bound: float
    largest: float
    compared: int
    rechecked: float
    changed: int


def run_adaptive(loop: Loop, model: Any, emit: Emit) -> Certificate | None:
    """Bring the predictions of the loop's rows up to date; None if the time ran out before the end.

    Raises EngineError if the kind of model makes no decisions that could be checked.
    """
    folder, rows = loop.folder, loop.rows
    if CLASSES[loop.prepared.family].margins is Predictions.margins:
        raise EngineError(
            "engine.precision=adaptive needs predictions that are decisions; this task measures numbers. Leave it out, "
            "or choose engine.dtype=bfloat16 for a low-precision run."
        )
    import torch

    known = np.union1d(folder.examples(DRAFT), folder.examples(PREDICTIONS))
    low = copy.deepcopy(model).to(torch.bfloat16)
    if not loop.over(np.setdiff1d(rows, known), DRAFT, emit, model=low):
        return None
    wanted = rows[:CALIBRATION]
    while True:
        missing = np.setdiff1d(wanted, folder.examples(PREDICTIONS))
        if len(missing) and not loop.over(missing, PREDICTIONS, emit, model=model):
            return None
        certificate, doubtful = _certificate(loop)
        if len(np.setdiff1d(doubtful, folder.examples(PREDICTIONS))) == 0:
            break
        wanted = doubtful
    draft = folder.rows(DRAFT)
    accepted = np.setdiff1d(rows, folder.examples(PREDICTIONS))
    loop.accelerator.wait_for_everyone()
    if draft is not None and len(accepted) and loop.rank == 0:
        kept = folder.predictions(DRAFT, accepted)
        if kept is not None:
            folder.append(PREDICTIONS, type(kept), {name: getattr(kept, name) for name in kept.COLUMNS})
    loop.accelerator.wait_for_everyone()
    return certificate


def _certificate(loop: Loop) -> tuple[Certificate, NDArray[np.int64]]:
    """What the examples that ran in both precisions show, and the examples whose decision is in doubt."""
    folder, rows = loop.folder, loop.rows
    draft, exact = folder.predictions(DRAFT, rows), folder.predictions(PREDICTIONS, rows)
    if draft is None or exact is None:
        return Certificate(0.0, 0.0, 0, 1.0, 0), np.empty(0, dtype=np.int64)
    both = np.intersect1d(draft.example, exact.example)
    low, high = folder.predictions(DRAFT, both), folder.predictions(PREDICTIONS, both)
    if low is None or high is None or len(both) == 0:
        return Certificate(0.0, 0.0, 0, 1.0, 0), np.empty(0, dtype=np.int64)
    moved = movements(low, high)
    compared = int((moved > 0).sum())  # a row that was taken over from the draft has not moved at all
    bound = SAFETY * float(moved.max())
    margins = draft.margins()
    doubtful = draft.example[margins <= bound] if margins is not None else draft.example
    changed = int((decisions(low) != decisions(high)).sum())
    rechecked = (compared + len(np.setdiff1d(exact.example, draft.example))) / len(rows)
    return Certificate(bound, float(moved.max()), compared, rechecked, changed), doubtful


def movements(low: Predictions, high: Predictions) -> NDArray[np.float64]:
    """How far each decision moved between two precisions of the same examples [N], in units of the margin.

    Of logits: the largest change of a difference between two of them, which bounds every margin's change. Elsewhere the
    change of the margin, or the sum of both margins where the decision itself changed.
    """
    if isinstance(low, LabelPredictions) and isinstance(high, LabelPredictions):
        moved: NDArray[np.float64] = np.ptp(low.logits.astype(np.float64) - high.logits, axis=1)
    elif isinstance(low, LabelSetPredictions) and isinstance(high, LabelSetPredictions):
        moved = np.abs(low.logits.astype(np.float64) - high.logits).max(axis=1)
    else:
        before, after = low.margins(), high.margins()
        if before is None or after is None:
            raise TypeError(f"{type(low).__name__} holds no decisions")
        same = decisions(low) == decisions(high)
        moved = np.where(same, np.abs(before - after), before + after)
    return np.where(np.isfinite(moved), moved, 0.0)


def recorded(certificate: Certificate) -> dict[str, Any]:
    """The certificate as run.json keeps it."""
    return asdict(certificate)
