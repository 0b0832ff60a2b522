"""Many claims at once: which of them stand as differing when all that were tried are counted.

Among 200 honest claims a test at 5 % contradicts ten. The e-BH procedure (Wang & Ramdas, "False discovery rate control
with e-values", Journal of the Royal Statistical Society B 84, 2022) flags fewer: of the claims that it flags, the
expected share of honest ones is at most ``alpha``, however the claims depend on each other. Claims about one model
share its predictions, so a procedure that asks for independence would promise too much.

The e-value of a claim is the evidence against it: a number of at least 0 whose mean is at most 1 where the claim is
honest. A sequential test ends with one. A full rerun of the claim's own examples has no sampling error: a claim that it
contradicts has an infinite e-value, one that it does not contradict 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def flagged(e_values: Mapping[str, float], alpha: float) -> set[str]:
    """The claims that differ, at a false discovery rate of ``alpha`` (a fraction).

    ``e_values`` holds every claim that was attempted, also one whose test was broken off (with the e-value that it had
    reached, or 1): how many they are decides how much one large e-value is worth. Of m claims the k with the largest
    e-values are flagged, for the largest k at which the smallest of them is at least m / (k · alpha).

    Raises:
        ValueError: if an e-value is negative or no number, or ``alpha`` is not above 0 and at most 1.
    """
    for name, value in e_values.items():
        if not value >= 0:
            raise ValueError(f"an e-value is a number of at least 0, and that of {name} is {value}")
    if not e_values:
        return set()
    alone = needed(len(e_values), alpha)
    ordered = sorted(e_values.values(), reverse=True)
    enough = min((alone / k for k, value in enumerate(ordered, 1) if value >= alone / k), default=math.inf)
    return {name for name, value in e_values.items() if value >= enough}


def needed(attempted: int, alpha: float) -> float:
    """The e-value at which one claim among ``attempted`` is flagged whatever the others show: attempted / alpha.

    Raises:
        ValueError: if nothing is attempted, or ``alpha`` (a fraction) is not above 0 and at most 1.
    """
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha is above 0 and at most 1, not {alpha}")
    if attempted < 1:
        raise ValueError(f"at least one claim must be attempted, not {attempted}")
    return attempted / alpha
