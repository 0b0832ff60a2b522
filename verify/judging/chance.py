"""How likely claims that have nothing to do with a rerun would meet one of the settings that were tried on it.

A claim is unrelated if it is another model's number, or another run's. Its distance from what was measured is taken as
normal. Several claims of one model rise and fall together, no one knows how closely, so the chance is computed for
several correlations and the largest counts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CORRELATIONS = (0.0, 0.9, 0.98)
"""Of the distances of two unrelated claims of one model: from none to what scores on the same examples show."""

_FAR = 8.0
"""Standard deviations beyond which nothing counts: the probability is 1e-15."""

_SHIFTS = np.linspace(-_FAR, _FAR, 401)


def chance_of_a_meeting(boxes: Floats, held: Floats) -> float:
    """The probability (a fraction) that M claims, each of which differs from the rerun, meet at least one setting.

    ``boxes`` [T, M, 2] holds for each of T settings the two ends between which each claim would meet it, ``held``
    [M, 2] those between which it would hold as it stands: distances from what was measured, in standard deviations of
    an unrelated claim, positive where a claim is better. All M claims must meet the same setting.

    Exact for one claim: the normal probability of the union of intervals. For several claims the union is bounded from
    above, by the sum over settings and by the union for each claim alone, so that the chance is never understated.
    """
    near = (boxes[..., 0] < _FAR).all(axis=1) & (boxes[..., 1] > -_FAR).all(axis=1)
    if not near.any():
        return 0.0
    distinct = np.unique(np.round(boxes[near], 12), axis=0)
    return max(_chance(distinct, held, correlation) for correlation in CORRELATIONS[: None if len(held) > 1 else 1])


def _chance(boxes: Floats, held: Floats, correlation: float) -> float:
    """Given the shift that all claims share, they are independent: so integrate over it."""
    shared, own = math.sqrt(correlation), math.sqrt(1 - correlation)
    shifts = _SHIFTS if correlation else np.zeros(1)
    density = np.exp(-(shifts**2) / 2)

    def mass(spans: Floats) -> Floats:
        """[…, 2] → […, S]."""
        from scipy.special import ndtr

        ends = ndtr((spans[..., None] - shared * shifts) / own)
        return np.asarray(ends[..., 1, :] - ends[..., 0, :], dtype=np.float64)

    def new(spans: Floats, holding: Floats) -> Floats:
        """The mass of what meets a setting and does not hold as it stands."""
        return mass(spans) - mass(_common(spans, holding))

    met = new(boxes, held).prod(axis=1).sum(axis=0)
    for claim in range(len(held)):
        met = np.minimum(met, new(_union(boxes[:, claim]), held[claim]).sum(axis=0))
    differing = float(density @ (1 - mass(held)).prod(axis=0))
    return min(float(density @ met) / differing, 1.0) if differing > 0 else 1.0


def _common(spans: Floats, holding: Floats) -> Floats:
    low = np.maximum(spans[..., 0], holding[..., 0])
    return np.stack([low, np.maximum(np.minimum(spans[..., 1], holding[..., 1]), low)], axis=-1)


def _union(spans: Floats) -> Floats:
    """Intervals [T, 2] as disjoint ones."""
    found: list[list[float]] = []
    for low, high in sorted(spans.tolist()):
        if found and low <= found[-1][1]:
            found[-1][1] = max(found[-1][1], high)
        else:
            found.append([low, high])
    return np.array(found)
