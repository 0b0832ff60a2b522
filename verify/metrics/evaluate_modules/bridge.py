"""Metrics that are not this package's own: any `evaluate` module that a task names as ``evaluate:NAME_OR_PATH``.

Loading such a module runs its Python code, with the rights of whoever started the run. A task file that names one is
therefore a deliberate choice of its author and of the person who uses it; the built-in tasks name none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from verify.errors import VerifyError
from verify.metrics.families.classification import predicted_labels
from verify.metrics.names import METRICS
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import LabelPredictions, Predictions, TagPredictions, TextPredictions
from verify.types import FOREIGN


def foreign(name: str, predictions: Predictions) -> dict[str, float]:
    """Load an `evaluate` module, run it, and return every number of its result under the module's own keys.

    **This runs the module's Python code.** ``name`` (with or without ``evaluate:``) is whatever ``evaluate.load``
    takes: a script, a folder that holds a script of the same name, or a module on the Hub. The module gets lists:
    predicted and reference label ids (a class that the data set lacks is an id below 0), floats for a regression, lists
    of tags, or texts.
    Entries of the result that are not numbers (per-class arrays, texts) are left out.

    Raises:
        VerifyError: if the module cannot be loaded, fails on these inputs, or returns no number.
        UndefinedScoreError: if it returns a number that is not finite.
    """
    path = name.removeprefix(FOREIGN)
    loaded = _load(path)
    predicted, references, kind = _inputs(predictions)
    try:
        result = loaded.compute(predictions=predicted, references=references)
    except Exception as error:
        raise VerifyError(
            f"The evaluate module {path} failed on the {kind} of this run ({type(error).__name__}: {_brief(error)}). "
            "It must take predictions and references as flat lists and need no further arguments; a small local module "
            "can pass on arguments such as an average."
        ) from error
    return _numbers(path, result)


def _inputs(predictions: Predictions) -> tuple[list[Any], list[Any], str]:
    """Predictions and references as `evaluate` modules take them, and what they are in a word."""
    if isinstance(predictions, LabelPredictions):
        if predictions.label_of_logit is None:
            return predictions.logits[:, 0].astype(np.float64).tolist(), predictions.reference.tolist(), "numbers"
        labels = predicted_labels(predictions.logits, predictions.label_of_logit)
        return labels.tolist(), predictions.reference.tolist(), "label ids"
    if isinstance(predictions, TagPredictions):
        return [list(row) for row in predictions.tags], [list(row) for row in predictions.reference], "tags"
    if isinstance(predictions, TextPredictions):
        single = all(len(row) == 1 for row in predictions.references)
        references = [row[0] if single else list(row) for row in predictions.references]
        return list(predictions.texts), references, "texts"
    raise VerifyError(
        f"An evaluate module cannot be given {type(predictions).__name__}: it takes labels, numbers, tags or texts. "
        "Choose one of the built-in metrics of this kind of task."
    )


def _load(path: str) -> Any:
    import evaluate

    if not Path(path).is_absolute() and (would_run := _in_working_folder(path)):
        raise VerifyError(
            f"The evaluate module {path} is one of the Hub, and the evaluate library would run {would_run} of the "
            f"working folder in its place. Start from another folder, or name the file: {FOREIGN}./{path}."
        )
    try:
        return evaluate.load(path)
    except Exception as error:
        if Path(path).exists():
            why = "The path exists, but holds no module that loads."
        else:
            why = "It is no local path, and the Hub did not give it: offline, or it has no module of this name."
        own = f' The metric "{path}" is built in: write it without "{FOREIGN}".' if path in METRICS else ""
        raise VerifyError(
            f"The evaluate module {path} could not be loaded ({type(error).__name__}: {_brief(error)}). {why}{own} "
            f"A local path works with no network: {FOREIGN}PATH/NAME.py, or a folder NAME that holds NAME.py. Loading "
            "a module runs its Python code, so name only modules that you trust."
        ) from error


def _in_working_folder(name: str) -> Path | None:
    """The file of the working folder that ``evaluate.load`` prefers to a module of the Hub, if there is one."""
    script = Path(name).name.removesuffix(".py") + ".py"
    candidates = (Path(name), Path(name) / script)
    return next((file for file in candidates if file.name == script and file.is_file()), None)


def _numbers(path: str, result: Any) -> dict[str, float]:
    if not isinstance(result, Mapping):
        raise VerifyError(
            f"The evaluate module {path} returned {type(result).__name__}, not a mapping of names to numbers."
        )
    numbers: dict[str, float] = {}
    for key, value in result.items():
        scalar = value.item() if isinstance(value, np.generic | np.ndarray) and value.size == 1 else value
        if isinstance(scalar, Real) and not isinstance(scalar, bool):
            numbers[str(key)] = float(scalar)
    if not numbers:
        kinds = ", ".join(f"{key}: {type(value).__name__}" for key, value in result.items()) or "nothing"
        raise VerifyError(f"The evaluate module {path} returned no number ({kinds}), so there is no score to compare.")
    for key, number in numbers.items():
        if not math.isfinite(number):
            raise UndefinedScoreError(f"{key} of the evaluate module {path} is undefined: it came out as {number}.")
    return numbers


def _brief(error: Exception) -> str:
    """Return the error's text on one line, shortened: some libraries print whole tables of inputs."""
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else f"{text[:299]}…"
