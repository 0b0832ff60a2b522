"""What every classifier's module does with references and logits: one class, several, or a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from verify.engine.job import Job
from verify.engine.kinds.label_alignment import label_info
from verify.store.predictions import Column, Family
from verify.tasks.data import Examples

Rows = Callable[[NDArray[np.int64], Sequence[Sequence[Any]]], Mapping[str, Column]]


def classifier(
    job: Job, model_labels: tuple[str, ...] | None, examples: Examples, rows: NDArray[np.int64]
) -> tuple[Family, dict[str, Any], Rows]:
    """The family, the ``info`` and the ``rows`` of a :class:`verify.engine.job.Prepared` whose units are examples.

    Raises NotComparableError if the model's classes cannot be compared with the data's, or references are missing.
    """
    references: NDArray[Any]
    if examples.is_multi_label:
        references, family, largest = examples.reference_sets(), Family.MULTI_LABEL, 0
    else:
        kind = np.float64 if examples.is_regression else np.int64
        references = np.array(examples.references(), dtype=kind)
        family = Family.REGRESSION if examples.is_regression else Family.CLASSIFICATION
        largest = 0 if examples.is_regression else int(references.max(initial=0))
    info = label_info(job, model_labels, examples, largest)

    def columns(positions: NDArray[np.int64], outputs: Sequence[Sequence[Any]]) -> Mapping[str, Column]:
        logits = np.stack([one[0] for one in outputs]).astype(np.float32)
        return {"logits": logits, "reference": references[rows[positions]]}

    return family, info, columns
