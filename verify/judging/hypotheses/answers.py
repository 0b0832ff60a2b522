"""Causes that lie in how answers to questions are chosen and compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import cast

from verify.judging.cases import Case, Trial, differing_readings, replaced
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.metrics.additive import Additive
from verify.metrics.families.answers import metrics
from verify.store.predictions import AnswerPredictions, Family

_BOTH = ("exact_match", "f1")


def _exchanged(case: Case) -> Iterator[Trial]:
    """The claims that differ may hold the other metric's number: F1 printed as exact match, and the reverse."""
    scores, values, words = _scores(case), {}, []
    for claim, name in differing_readings(case):
        other = name.replace("exact_match", "f1") if name.endswith("exact_match") else name.replace("f1", "exact_match")
        if other != name and other in scores:
            values[claim.claim_id] = scores[other]
            words.append(f"{name} is {other}")
    yield Trial("answers_mislabelled", ", ".join(dict.fromkeys(words)), values)


def _answerable(case: Case) -> Iterator[Trial]:
    scores = _scores(case)
    if "has_answer_exact_match" in scores:
        setting = "only questions that have an answer count"
        yield Trial("answerable_only", setting, replaced(case, _of_answerable(scores)))


def _best_threshold(case: Case) -> Iterator[Trial]:
    """`best_exact` for `exact`: the threshold for "no answer" that is best for these very questions; or the reverse."""
    scores = _scores(case)
    if "best_exact_match" in scores:
        best = {name: scores[f"best_{name}"] for name in _BOTH if f"best_{name}" in scores}
        yield Trial("answer_threshold", "the one that is best for these questions", replaced(case, best))
        fixed = {f"best_{name}": scores[name] for name in _BOTH if name in scores}
        yield Trial("answer_threshold", "the model's own", replaced(case, fixed))


def _forced(case: Case) -> Iterator[Trial]:
    """The first candidate that says something, where "no answer" is no choice.

    All questions may count, or those alone that have an answer, as in SQuAD 1.1.
    """
    predictions = _predictions(case)
    said = [
        text or next((one for one in candidates if one), "")
        for text, candidates in zip(predictions.texts, predictions.n_best, strict=True)
    ]
    if said != list(predictions.texts):
        scores = _values(metrics(replace(predictions, texts=said)))
        yield Trial("answers_forced", "all questions count", replaced(case, scores))
        if "has_answer_exact_match" in scores:
            setting = "only questions that have an answer count"
            yield Trial("answers_forced", setting, replaced(case, _of_answerable(scores)))


def _unnormalised(case: Case) -> Iterator[Trial]:
    scores = _values(metrics(_predictions(case), str))
    setting = "answers are compared as they are, with case, punctuation and articles"
    yield Trial("answers_unnormalised", setting, replaced(case, scores))


def _first_reference(case: Case) -> Iterator[Trial]:
    predictions = _predictions(case)
    if any(len(texts) > 1 for texts in predictions.references):
        first = replace(predictions, references=[texts[:1] for texts in predictions.references])
        setting = "only the first of several answers is right"
        yield Trial("first_answer", setting, replaced(case, _values(metrics(first))))


def _of_answerable(scores: Mapping[str, float]) -> dict[str, float]:
    return {name: scores[f"has_answer_{name}"] for name in _BOTH}


def _scores(case: Case) -> dict[str, float]:
    return {name: score.value for name, score in case.measurement.scores.items()}


def _values(found: Mapping[str, Additive]) -> dict[str, float]:
    return {name: float(metric.value(metric.statistics.sum(axis=0))) for name, metric in found.items()}


def _predictions(case: Case) -> AnswerPredictions:
    return cast(AnswerPredictions, case.predictions)


_FAMILIES = frozenset({Family.ANSWERS})

HYPOTHESES = (
    Hypothesis(
        "answers_mislabelled", "another metric stands under this name ({setting})", _FAMILIES, _exchanged, weight=1.2
    ),
    Hypothesis("answerable_only", "{setting}", _FAMILIES, _answerable, weight=1.2),
    Hypothesis(
        "answer_threshold", 'the threshold for "no answer" is {setting}', _FAMILIES, _best_threshold, weight=1.2
    ),
    Hypothesis(
        "answers_forced", "every question gets an answer, the best that says something ({setting})", _FAMILIES, _forced
    ),
    Hypothesis("first_answer", "{setting}", _FAMILIES, _first_reference),
    Hypothesis("answers_unnormalised", "{setting}", _FAMILIES, _unnormalised, weight=0.8),
)
"""The hypotheses on answers, the most common first."""
