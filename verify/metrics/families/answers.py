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
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from verify.metrics.additive import Additive, Floats, mean_of, ratio, share_of
from verify.metrics.undefined import UndefinedScoreError, defined
from verify.store.predictions import AnswerPredictions
from verify.types import Score

Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

_ARTICLE = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    """Return a text without case, ASCII punctuation, English articles and surplus white space."""
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_WITHOUT_PUNCTUATION)).split())


def word_f1(predicted: str, reference: str) -> float:
    """Return the F1 of the words that two normalised texts share, each as often as it occurs in both; else 0."""
    mine, theirs = predicted.split(), reference.split()
    if mine == theirs:
        return 1.0 if mine else 0.0
    if set(mine).isdisjoint(theirs):
        return 0.0
    shared = (Counter(mine) & Counter(theirs)).total()
    return 2 * shared / (len(mine) + len(theirs))


def metrics(predictions: AnswerPredictions, normalise: Callable[[str], str] = normalised) -> dict[str, Additive]:
    """Return ``exact_match`` and ``f1`` (the mean over questions), each against the best of a question's references.

    Where some question has no answer, the same of the two kinds of question: ``has_answer_…`` and ``no_answer_…``. A
    question without an answer scores 1 if it gets none, else 0. Texts are compared after ``normalise``.
    """
    return _sums(*_of_questions(predictions, normalise))


def both(predictions: AnswerPredictions) -> tuple[dict[str, Additive], dict[str, Callable[[], Score]]]:
    """Return :func:`metrics`, and where some question has no answer ``best_exact_match`` and ``best_f1``."""
    scored = _of_questions(predictions)
    names = () if scored[2].all() else ("best_exact_match", "best_f1")
    return _sums(*scored), {name: BestThreshold(name, predictions, scored) for name in names}


@dataclass(frozen=True)
class BestThreshold:
    """``best_exact_match`` or ``best_f1``; calling it gives the score.

    The score if every question whose ``null_scores`` exceed one threshold had got no answer, at the threshold that is
    best for these data. As in the official script, the answers are those predicted (a threshold already applied to them
    stays applied), and questions with equal scores go one by one, in their own order.
    """

    name: str
    predictions: AnswerPredictions
    scored: tuple[Flags, Floats, Flags]

    def gains(self) -> tuple[Indices, Floats, Flags]:
        """Return the order [N] of ``null_scores``, the gain of each question [N], and which have no answer [N].

        A gain is what a question adds to the number of right ones if it is answered rather than not: its score if there
        is an answer, and -1 or 0 if there is none. Raises UndefinedScoreError if some answer comes without a score for
        no answer.
        """
        unscored = int((~np.isfinite(self.predictions.null_scores)).sum())
        if unscored:
            raise UndefinedScoreError(
                f"{self.name} is undefined: {unscored} of {len(self.predictions)} answers come without a score for no "
                "answer. Set no_answer: yes in the task file and run it again."
            )
        exact, overlap, answerable = self.scored
        answered = np.array([bool(text) for text in self.predictions.texts])
        gain = np.where(answerable, overlap if self.name == "best_f1" else exact, -1.0 * answered)
        return np.argsort(self.predictions.null_scores, kind="stable"), gain, ~answerable

    def __call__(self) -> Score:
        order, gain, unanswerable = self.gains()
        n, best = len(gain), int(unanswerable.sum()) + max(0.0, float(np.cumsum(gain[order]).max()))
        return defined(self.name, best / n, n, round(best) if self.name == "best_exact_match" else None)


def threshold_gains(name: str, predictions: AnswerPredictions) -> tuple[Indices, Floats, Flags]:
    """Return :meth:`BestThreshold.gains` of ``best_exact_match`` or ``best_f1``."""
    return BestThreshold(name, predictions, _of_questions(predictions)).gains()


def _sums(exact: Flags, overlap: Floats, answerable: Flags) -> dict[str, Additive]:
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


def _of_questions(
    predictions: AnswerPredictions, normalise: Callable[[str], str] = normalised
) -> tuple[Flags, Floats, Flags]:
    """Return whether each answer is right, its overlap with the best reference, and whether there is an answer."""
    answerable = np.array([_is_answerable(references) for references in predictions.references], dtype=np.bool_)
    score = _first_score if answerable.all() else _second_score
    known = cache(normalise)  # references of a question are often the same, and the answer one of them
    pairs = [
        score(known(text), [known(reference) for reference in references])
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
