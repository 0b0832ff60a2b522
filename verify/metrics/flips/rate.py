"""How many flips in one direction a rerun is allowed, given how many its second configuration showed.

The number of flips between two sound configurations of one run is Poisson, with a rate that differs from model to
model: classifiers in float32 show up to two per 1,000 examples, and long generations many more. Few flips are seen in a
small split, so what is known beforehand counts. The logarithm of the rate is taken to follow Student's t distribution:
a narrow peak where classifiers lie, and tails that give way where many flips are seen.

Each flip is as likely to help as to hurt. The net number is then the difference of two Poisson numbers (Skellam,
"The frequency distribution of the difference between two Poisson variates", Journal of the Royal Statistical Society
109, 1946), and an allowance that it exceeds in one case of a hundred contradicts one honest claim of a hundred.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RATE, SPREAD, FREEDOM = 0.0014, 0.3, 4
"""The flips per example that are expected before any is seen, the scale of their logarithm, and its degrees of freedom.

Chosen, with ``LEVEL``, by exact enumeration. For rates of 0.5 to 2 per 1,000 at most 1 % of honest claims are
contradicted, and half a point is missed in at most 18 % of cases at 872 examples (hardly ever at 10,000). Beyond that,
at 5 to 10 per 1,000, up to 4 % of honest claims are contradicted at 872 examples, and 1 % at 10,000."""

LEVEL = 0.0085
"""The chance that honest noise exceeds what is allowed, on average over the rates that are plausible."""

_RATES = np.geomspace(1e-5, 0.5, 200)

Floats = NDArray[np.float64]


@lru_cache(maxsize=4096)
def allowed_flips(flips: int, examples: int) -> int:
    """The smallest number of net flips that noise exceeds in at most ``LEVEL`` of cases, ``examples`` (0 at most).

    ``flips`` were seen between two configurations of a run of so many ``examples``.
    """
    if not examples:
        return 0
    expected = _RATES * examples
    away = np.log(_RATES / RATE) / SPREAD
    log_weight = flips * np.log(expected) - expected - (FREEDOM + 1) / 2 * np.log1p(away**2 / FREEDOM)
    weight = np.exp(log_weight - log_weight.max())
    plausible = weight > 1e-9 * weight.max()
    chances = weight[plausible] @ net_flips(expected[plausible]) / weight[plausible].sum()
    exceeded = 1 - (chances[0] + 2 * np.concatenate([[0], np.cumsum(chances[1:])]))
    return min(int(np.argmax(exceeded <= LEVEL)), examples)


def net_flips(expected: Floats) -> Floats:
    """The chance of a net number of 0, 1, 2 … flips (and, equally, of −1, −2 …) for each expected number of flips [R].

    Skellam's distribution with two equal means, from its characteristic function exp(λ·(cos θ − 1)). Returns [R, K]
    with a K beyond which nothing counts.
    """
    size = 1 << int(np.ceil(np.log2(20 * np.sqrt(expected.max()) + 64)))
    angle = 2 * np.pi * np.arange(size // 2 + 1) / size
    found: Floats = np.fft.irfft(np.exp(expected[:, None] * (np.cos(angle) - 1)), size)[:, : size // 2]
    return found
