import random

import numpy as np
import pytest
from metrics.families.test_answers import first_version, second_version

from judging.hypotheses.finding import found, settings_tried, sought
from verify.store.predictions import AnswerPredictions

WORDS = ["the", "old", "Town", "hall", "of", "York", "1,066", "a", "King", "river", "north"]


def answered(n=600, unanswerable=0.4, seed=0, references=3):
    """A model that finds many answers, says "no answer" too rarely, and keeps candidates beside its answer."""
    chance = random.Random(seed)
    texts, n_best, null_scores, lists = [], [], [], []
    for _ in range(n):
        right = [" ".join([*chance.choices(WORDS, k=chance.randint(0, 3)), "York"]) for _ in range(references)]
        has_answer = chance.random() >= unanswerable
        guess = chance.choice(right) if chance.random() < 0.6 else " ".join(chance.choices(WORDS, k=3))
        guess = f"{guess}." if chance.random() < 0.3 else guess.title() if chance.random() < 0.3 else guess
        null = chance.gauss(-1.5 if has_answer else 0.2, 1.0)
        texts.append("" if null > 0 else guess)
        n_best.append([guess, "", " ".join(chance.choices(WORDS, k=2))])
        null_scores.append(null)
        lists.append(right if has_answer else [])
    scores = [[2.0, 1.0, 0.0]] * n
    null = np.array(null_scores) if unanswerable else np.full(n, -np.inf)
    return AnswerPredictions(np.arange(n), texts, n_best, scores, null, lists, np.ones(n))


def official(predictions, texts=None, version=second_version, only=None, references=None):
    """Exact match and F1 as the official scripts define them."""
    texts = predictions.texts if texts is None else texts
    lists = predictions.references if references is None else references
    pairs = [
        version(text, right or [""]) for text, right in zip(texts, lists, strict=True) if only is None or only(right)
    ]
    return {"exact_match": float(np.mean([one for one, _ in pairs])), "f1": float(np.mean([two for _, two in pairs]))}


def forced(predictions):
    return [
        text or next(one for one in candidates if one)
        for text, candidates in zip(predictions.texts, predictions.n_best, strict=True)
    ]


SECOND = answered()
FIRST = answered(unanswerable=0.0, seed=1)


def test_exchanged_numbers_are_found_and_one_alone_too():
    scores = official(SECOND)
    swapped = {"exact_match": scores["f1"], "f1": scores["exact_match"]}
    assert found(sought(SECOND, swapped)) == ("answers_mislabelled", "exact_match is f1, f1 is exact_match", True)
    one = {"exact_match": scores["f1"], "f1": scores["f1"]}
    assert found(sought(SECOND, one)) == ("answers_mislabelled", "exact_match is f1", True)


def test_answerable_questions_alone_are_found():
    assert found(sought(SECOND, official(SECOND, only=bool)))[::2] == ("answerable_only", True)


def test_the_best_threshold_is_found():
    """The official definition: every threshold is tried, and the best of each metric is taken."""
    run = answered(300, seed=2)
    answers = list(zip(run.texts, run.null_scores, strict=True))
    each = [
        official(run, [text if null <= threshold else "" for text, null in answers])
        for threshold in (-np.inf, *run.null_scores)
    ]
    best = {name: max(scores[name] for scores in each) for name in ("exact_match", "f1")}
    assert found(sought(run, best)) == ("answer_threshold", "the one that is best for these questions", True)


def test_forced_answers_are_found():
    assert found(sought(SECOND, official(SECOND, forced(SECOND)))) == ("answers_forced", "all questions count", True)
    search = sought(SECOND, official(SECOND, forced(SECOND), only=bool))
    assert found(search) == ("answers_forced", "only questions that have an answer count", True)


def test_the_first_answer_of_several_is_found():
    first = [right[:1] for right in FIRST.references]
    search = sought(FIRST, official(FIRST, version=first_version, references=first))
    assert found(search)[::2] == ("first_answer", True)


def test_unnormalised_answers_are_found():
    def overlap(mine, right):
        shared = sum(min(mine.count(word), right.count(word)) for word in set(mine))
        return 2 * shared / (len(mine) + len(right))

    pairs = list(zip(FIRST.texts, FIRST.references, strict=True))
    numbers = {
        "exact_match": float(np.mean([text in right for text, right in pairs])),
        "f1": float(np.mean([max(overlap(text.split(), one.split()) for one in right) for text, right in pairs])),
    }
    assert found(sought(FIRST, numbers))[::2] == ("answers_unnormalised", True)


def test_nothing_about_missing_answers_is_tried_where_every_question_has_one():
    search = sought(FIRST, {"exact_match": 0.987})
    for hypothesis in ("answerable_only", "answer_threshold"):
        assert settings_tried(search, hypothesis) == []


@pytest.mark.parametrize("run", [FIRST, SECOND])
@pytest.mark.parametrize("shift", [-0.0337, 0.0291])
def test_unrelated_numbers_stay_unexplained(run, shift):
    scores = official(run, version=first_version if run is FIRST else second_version)
    assert sought(run, {name: value + shift for name, value in scores.items()}).best is None
