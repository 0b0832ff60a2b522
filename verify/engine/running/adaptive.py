"""Adaptive precision: a bfloat16 pass, then float32 only where bfloat16 could have decided otherwise.

How far bfloat16 moves a decision is measured on examples that run in both; whatever lies within twice the largest
movement seen of changing its prediction runs again in float32, and those runs join the measured ones until nothing new
is asked for. The result is a certificate, not a proof: the bound is an observed one, and its size and the number of
comparisons behind it are recorded.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.running.loop import Loop
from verify.engine.running.packed import computes_bfloat16
from verify.errors import EngineError
from verify.metrics.flips.budget import decisions
from verify.store.predictions import Family, LabelPredictions, LabelSetPredictions, Predictions, TagPredictions
from verify.store.runs import DRAFT, PREDICTIONS, RunFolder
from verify.types import Emit

CALIBRATION = 128
SAFETY = 2.0
FIRST_PORTION = 512
"""Examples that are brought to an end before others are begun, where the time may run out; then twice as many."""

_NUMBERS = frozenset({Family.REGRESSION, Family.SIMILARITY, Family.LIKELIHOOD})


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


def notes_on(device: Any) -> list[str]:
    """What whoever asks for adaptive precision on this device should know."""
    import torch

    if device.type == "cpu":
        is_quick = computes_bfloat16()
    else:
        is_quick = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    slow = "This device has no instructions for bfloat16, so engine.precision=exact would have been faster."
    return [] if is_quick else [slow]


def run_adaptive(loop: Loop, model: Any, emit: Emit) -> Certificate | None:
    """Bring the predictions of the loop's rows up to date, or of as many of the first ones as the time allows.

    Returns the certificate of those, None for none. Raises EngineError if the kind of model makes no decisions that
    could be checked.
    """
    if loop.prepared.family in _NUMBERS:
        raise EngineError(
            "engine.precision=adaptive needs predictions that are decisions; this task measures numbers. Leave it out, "
            "or choose engine.dtype=bfloat16 for a low-precision run."
        )
    if int(loop.prepared.settings.get("generation", {}).get("num_beams", 1)) > 1:
        raise EngineError(
            "engine.precision=adaptive cannot tell which texts of a beam search are certain, because beams are dropped "
            "on the way. Leave it out, or set num_beams: 1 in the task."
        )
    import torch

    low = copy.deepcopy(model).to(torch.bfloat16)
    certificate = None
    for count in _portions(len(loop.rows), everything=loop.deadline is None):
        made = _run_portion(loop, loop.rows[:count], model, low, emit)
        if made is None:
            break
        certificate = made
    return certificate


def _portions(count: int, *, everything: bool) -> Iterator[int]:
    size = FIRST_PORTION
    while not everything and size < count:
        yield size
        size *= 2
    yield count


def _run_portion(loop: Loop, rows: NDArray[np.int64], model: Any, low: Any, emit: Emit) -> Certificate | None:
    """Bring the predictions of ``rows`` up to date; None if the time ran out before the end."""
    folder, size = loop.folder, loop.job.batch_size
    if not loop.over(np.setdiff1d(rows, folder.examples(DRAFT)), DRAFT, emit, model=low, batch_size=size):
        return None
    wanted, exact = rows[:CALIBRATION], np.empty(0, dtype=np.int64)
    _give_up(loop, np.intersect1d(wanted, _certificate(folder, rows)[2]))
    while True:
        missing = np.setdiff1d(wanted, folder.examples(PREDICTIONS))
        if len(missing) and not loop.over(missing, PREDICTIONS, emit, model=model, batch_size=size):
            return None
        exact = np.union1d(exact, missing)
        certificate, doubtful, taken = _certificate(folder, rows)
        _give_up(loop, np.setdiff1d(np.intersect1d(doubtful, taken), exact))
        if np.isin(doubtful, folder.examples(PREDICTIONS)).all():
            break
        wanted = doubtful
    accepted = np.setdiff1d(rows, folder.examples(PREDICTIONS))
    loop.accelerator.wait_for_everyone()
    kept = folder.predictions(DRAFT, accepted) if len(accepted) and loop.rank == 0 else None
    if kept is not None:
        folder.append(PREDICTIONS, type(kept), {name: getattr(kept, name) for name in kept.COLUMNS})
    loop.accelerator.wait_for_everyone()
    return certificate


def _give_up(loop: Loop, examples: NDArray[np.int64]) -> None:
    """Take out what an earlier run, with a smaller bound, has taken over from the draft."""
    loop.accelerator.wait_for_everyone()
    if loop.rank == 0:
        loop.folder.drop(PREDICTIONS, examples)
    loop.accelerator.wait_for_everyone()


def _certificate(
    folder: RunFolder, rows: NDArray[np.int64]
) -> tuple[Certificate, NDArray[np.int64], NDArray[np.int64]]:
    """What the examples that ran in both precisions show, the examples in doubt, and those taken over from the draft.

    The last are known by not having moved at all.
    """
    nothing = np.empty(0, dtype=np.int64)
    both = np.intersect1d(folder.examples(DRAFT), folder.examples(PREDICTIONS))
    low, high = (folder.predictions(kind, np.intersect1d(both, rows)) for kind in (DRAFT, PREDICTIONS))
    draft = folder.predictions(DRAFT, rows)
    if draft is None or low is None or high is None or len(low) == 0:
        return Certificate(0.0, 0.0, 0, 0.0, 0), nothing, nothing
    moved = movements(low, high)
    largest, compared = float(moved.max()), int((moved > 0).sum())
    margins = draft.margins()
    doubtful = draft.example if margins is None else draft.example[margins <= SAFETY * largest]
    changed = int((decisions(low) != decisions(high)).sum())
    certificate = Certificate(SAFETY * largest, largest, compared, compared / len(rows), changed)
    return certificate, doubtful, low.example[moved == 0]


def movements(low: Predictions, high: Predictions) -> NDArray[np.float64]:
    """How far each decision moved between two precisions of the same examples [N], in units of the margin.

    Of logits: the largest change of a difference between two of them, which bounds every margin's change. Elsewhere the
    change of the margin, or the sum of both margins where the decision itself changed; of tags the largest of any word.
    """
    if isinstance(low, LabelPredictions) and isinstance(high, LabelPredictions):
        moved: NDArray[np.float64] = np.ptp(low.logits.astype(np.float64) - high.logits, axis=1)
    elif isinstance(low, LabelSetPredictions) and isinstance(high, LabelSetPredictions):
        moved = np.abs(low.logits.astype(np.float64) - high.logits).max(axis=1)
    elif isinstance(low, TagPredictions) and isinstance(high, TagPredictions):
        words = zip(low.tags, high.tags, low.word_margins, high.word_margins, strict=True)
        moved = np.array([_change(*map(np.asarray, row)).max(initial=0.0) for row in words], dtype=np.float64)
    else:
        before, after = low.margins(), high.margins()
        if before is None or after is None:
            raise TypeError(f"{type(low).__name__} holds no decisions")
        moved = _change(decisions(low), decisions(high), before, after)
    return np.where(np.isfinite(moved), moved, 0.0)


def _change(
    old: NDArray[Any], new: NDArray[Any], before: NDArray[np.floating], after: NDArray[np.floating]
) -> NDArray[np.float64]:
    """How far decisions moved from ``old`` to ``new``, whose margins were ``before`` and are ``after``."""
    with np.errstate(invalid="ignore"):  # no other decision: ∞ − ∞
        changed: NDArray[np.float64] = np.where(old == new, np.abs(before - after), before + after).astype(np.float64)
    return changed


def recorded(certificate: Certificate) -> dict[str, Any]:
    """The certificate as run.json keeps it."""
    return asdict(certificate)
