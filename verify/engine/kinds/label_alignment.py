"""Which of the data set's classes each of a model's logits stands for, in the form that run.json records."""

from __future__ import annotations

from typing import Any

from verify.engine.job import Job
from verify.errors import NotComparableError
from verify.tasks.data import Examples
from verify.tasks.labels import align_labels


def label_info(job: Job, model_labels: tuple[str, ...] | None, examples: Examples, largest: int = 0) -> dict[str, Any]:
    """Align the classes of a model (None: it gives one number) with those of the data.

    ``largest`` is the largest label id of the references. Raises NotComparableError if the one cannot be compared with
    the other.
    """
    if examples.is_regression != (model_labels is None):
        has, needs = ("classes", "a number") if examples.is_regression else ("one number", "classes")
        raise NotComparableError(f"The model gives {has} and the task {job.task.name} asks for {needs}.")
    if model_labels is None:
        return {"label_of_logit": None, "label_alignment": "regression: no classes to align"}
    classes = len(model_labels)
    if examples.labels is None and largest >= classes:
        raise NotComparableError(
            f"The data hold the label {largest}, and the model's {classes} classes have the ids 0 to {classes - 1}. "
            "Name the data's classes under labels in the task file, or use data whose labels begin at 0."
        )
    alignment = align_labels(model_labels, examples.labels, job.task.label_aliases)
    return {
        "model_labels": model_labels,
        "data_labels": examples.labels,
        "label_of_logit": alignment.label_of_logit,
        "label_alignment": alignment.how,
    }
