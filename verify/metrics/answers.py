"""Metrics of extractive question answering, as the official scripts of SQuAD define them.

SQuAD 1.1: Rajpurkar et al. 2016 (arXiv 1606.05250); SQuAD 2.0, where a question may have no answer: Rajpurkar et al.
2018 (arXiv 1806.03822). The two differ in one corner, a text of which normalisation leaves nothing: it overlaps with
nothing in 1.1, and is no answer in 2.0. The rules of 2.0 hold where some question has no answer. Scores are fractions.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats, mean_of, ratio, share_of
from verify.metrics.undefined import UndefinedScoreError, defined
from verify.predictions import AnswerPredictions
from verify.types import Score

Flags = NDArray[np.bool_]

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return a text without case, ASCII punctuation, English articles and surplus white space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def word_f1(predicted: str, reference: str) -> float:
    """Return the F1 of the words that two normalised texts share, each as often as it occurs in both; else 0."""
    mine, theirs = predicted.split(), reference.split()
    shared = (Counter(mine) & Counter(theirs)).total()
    return 2 * shared / (len(mine) + len(theirs)) if shared else 0.0


def metrics(predictions: AnswerPredictions) -> dict[str, Additive]:
    """Return ``exact_match`` and ``f1`` (the mean over questions), each against the best of a question's references.

    Where some question has no answer, the same of the two kinds of question: ``has_answer_…`` and ``no_answer_…``. A
    question without an answer scores 1 if it gets none, else 0.
    """
    exact, overlap, answerable = _of_questions(predictions)
    found = {"exact_match": share_of(exact), "f1": mean_of(overlap)}
    if answerable.all():
        return found
    for prefix, part in (("has_answer", answerable), ("no_answer", ~answerable)):
        if part.any():
            found[f"{prefix}_exact_match"] = Additive(
                np.stack([exact & part, part], axis=1) * 1.0, ratio, is_share=True
            )
            found[f"{prefix}_f1"] = Additive(np.stack([overlap * part, part], axis=1), ratio)
    return found


def others(predictions: AnswerPredictions) -> dict[str, Callable[[], Score]]:
    """Return ``best_exact_match`` and ``best_f1`` where some question has no answer.

    The score if every question whose ``null_scores`` exceed one threshold had got no answer, at the threshold that is
    best for these data. As in the official script, the answers are those predicted (a threshold already applied to them
    stays applied), and questions with equal scores go one by one, in their own order.
    """
    if all(_is_answerable(references) for references in predictions.references):
        return {}
    return {
        "best_exact_match": partial(_best, "best_exact_match", predictions, 0),
        "best_f1": partial(_best, "best_f1", predictions, 1),
    }


def _best(name: str, predictions: AnswerPredictions, which: int) -> Score:
    unscored = int((~np.isfinite(predictions.null_scores)).sum())
    if unscored:
        raise UndefinedScoreError(
            f"{name} is undefined: {unscored} of {len(predictions)} answers come without a score for no answer. Set "
            "no_answer: yes in the task file and run it again."
        )
    exact, overlap, answerable = _of_questions(predictions)
    answered = np.array([bool(text) for text in predictions.texts])
    scores = exact.astype(np.float64) if which == 0 else overlap
    gain = np.where(answerable, scores, -1.0 * answered)
    steps = np.cumsum(gain[np.argsort(predictions.null_scores, kind="stable")])
    best = int((~answerable).sum()) + max(0.0, float(steps.max()))
    return defined(name, best / len(predictions), len(predictions), round(best) if which == 0 else None)


def _of_questions(predictions: AnswerPredictions) -> tuple[Flags, Floats, Flags]:
    """Return whether each answer is right, its overlap with the best reference, and whether there is an answer."""
    answerable = np.array([_is_answerable(references) for references in predictions.references], dtype=np.bool_)
    score = _first_score if answerable.all() else _second_score
    pairs = [
        score(normalised(text), [normalised(reference) for reference in references])
        for text, references in zip(predictions.texts, predictions.references, strict=True)
    ]
    values = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return values[:, 0] == 1, values[:, 1], answerable


def _is_answerable(references: Sequence[str]) -> bool:
    """Whether an answer is listed; some data sets list the empty string for none."""
    return any(references)


def _first_score(text: str, references: Sequence[str]) -> tuple[bool, float]:
    return text in references, max(word_f1(text, reference) for reference in references)


def _second_score(text: str, references: Sequence[str]) -> tuple[bool, float]:
    said = [reference for reference in references if reference]
    if not text or not said:
        return text in (said or [""]), float(text in (said or [""]))
    return _first_score(text, said)
