import re
import string

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers import builders
from hypothesis import given
from hypothesis import strategies as st

from verify.metrics.additive import measure
from verify.metrics.families.answers import both, metrics, normalised
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import AnswerPredictions

TEXTS = st.lists(
    st.sampled_from(
        ["the", "The", "a", "an", "cat", "Cat", "cats", "1,000", "U.S.", "—", "!", "theory", "\u00a0", "é"]
    ),
    max_size=4,
).map(" ".join)
REFERENCES = st.lists(TEXTS.filter(bool), min_size=1, max_size=3)
SCORES = st.integers(-3, 3).map(float)


def run(texts, references, null_scores=None):
    n = len(texts)
    scores = np.full(n, -np.inf) if null_scores is None else np.asarray(null_scores, np.float64)
    return AnswerPredictions(
        np.arange(n), texts, [[text] for text in texts], [[1.0]] * n, scores, references, np.ones(n)
    )


def words(text):
    """The words that the definition compares: lower case, no punctuation, no articles."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def overlap(mine, theirs):
    left, shared = list(theirs), 0
    for word in mine:
        if word in left:
            left.remove(word)
            shared += 1
    if shared == 0:
        return 0.0
    precision, recall = shared / len(mine), shared / len(theirs)
    return 2 * precision * recall / (precision + recall)


def first_version(text, references):
    mine, all_theirs = words(text), [words(reference) for reference in references]
    return float(mine in all_theirs), max(overlap(mine, theirs) for theirs in all_theirs)


def second_version(text, references):
    mine, all_theirs = words(text), [words(reference) for reference in references if words(reference)] or [[]]
    best = max(overlap(mine, theirs) if mine and theirs else float(mine == theirs) for theirs in all_theirs)
    return float(mine in all_theirs), best


def best_over_thresholds(values, answered, answerable, null_scores):
    """No answer above the threshold, the prediction up to it; where null scores are distinct."""
    candidates = []
    for threshold in [-np.inf, *null_scores]:
        kept = [
            value if score <= threshold else float(not has)
            for value, has, score in zip(values, answerable, null_scores, strict=True)
        ]
        candidates.append(sum(kept) / len(kept))
    return max(candidates)


@given(st.lists(st.tuples(TEXTS, REFERENCES), min_size=1, max_size=6))
def test_scores_equal_the_first_definition(rows):
    texts, references = zip(*rows, strict=True)
    scores, notes = measure(metrics(run(texts, references)))
    expected = np.array([first_version(text, listed) for text, listed in rows])
    assert (set(scores), notes) == ({"exact_match", "f1"}, ())
    assert scores["exact_match"].count == expected[:, 0].sum()
    assert scores["f1"].value == pytest.approx(expected[:, 1].mean(), abs=1e-9)
    assert both(run(texts, references))[1] == {}


@given(st.lists(st.tuples(TEXTS, REFERENCES | st.just([])), min_size=1, max_size=6), st.data())
def test_scores_equal_the_second_definition(rows, data):
    rows = [*rows, (data.draw(TEXTS), [])]
    texts, references = zip(*rows, strict=True)
    null_scores = data.draw(st.permutations(range(len(rows)))) if data.draw(st.booleans()) else [0.0] * len(rows)
    predictions = run(texts, references, null_scores)
    scores, notes = measure(metrics(predictions))
    expected = np.array([second_version(text, listed) for text, listed in rows])
    has = np.array([bool(listed) for listed in references])
    assert notes == ()
    for place, name in enumerate(("exact_match", "f1")):
        assert scores[name].value == pytest.approx(expected[:, place].mean(), abs=1e-9)
        for prefix, part in (("has_answer", has), ("no_answer", ~has)):
            assert (f"{prefix}_{name}" in scores) == part.any()
            if part.any():
                assert scores[f"{prefix}_{name}"].value == pytest.approx(expected[part, place].mean(), abs=1e-9)
        if len(set(null_scores)) == len(rows):
            # A text of which normalisation leaves nothing is an answer to the search for a threshold alone.
            values = [
                value if listed or not text else 0.0
                for value, (text, listed) in zip(expected[:, place], rows, strict=True)
            ]
            best = both(predictions)[1][f"best_{name}"]()
            assert best.value == pytest.approx(best_over_thresholds(values, texts, has, null_scores), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Panthers' defence!", "panthers defence"),
        ("An apple a day", "apple day"),
        ("theory of a-theism", "theory of atheism"),
        ("the", ""),
        ("“quoted”", "“quoted”"),
        ("a.m.", "am"),
    ],
)
def test_normalised(text, expected):
    assert normalised(text) == expected


def test_hand_checked_questions_with_an_answer():
    texts = ["the Panthers", "Denver Broncos team", "308 points", "Oslo", "cat cat"]
    references = [["Panthers"], ["Broncos", "Denver Broncos"], ["308"], ["Bergen"], ["cat dog cat"]]
    scores, _ = measure(metrics(run(texts, references)))
    assert (scores["exact_match"].count, scores["exact_match"].n) == (1, 5)
    assert scores["f1"].value == pytest.approx((1 + 4 / 5 + 2 / 3 + 0 + 4 / 5) / 5)


def test_hand_checked_questions_without_an_answer():
    texts = ["Panthers", "", "", "Oslo", "Rome"]
    references = [["Panthers"], ["Broncos"], [], [], [""]]
    predictions = run(texts, references, [-5.0, 4.0, 3.0, 1.0, -1.0])
    scores, _ = measure(metrics(predictions))
    assert {name: (score.count, score.n) for name, score in scores.items() if "exact" in name} == {
        "exact_match": (2, 5),
        "has_answer_exact_match": (1, 2),
        "no_answer_exact_match": (1, 3),
    }
    assert scores["has_answer_f1"].value == 0.5
    assert scores["no_answer_f1"].value == pytest.approx(1 / 3)
    best = both(predictions)[1]["best_exact_match"]()
    assert (best.count, best.n, best.value) == (4, 5, 0.8)  # a threshold between -5 and -1
    assert both(predictions)[1]["best_f1"]().value == pytest.approx(0.8)


def test_what_normalisation_leaves_of_an_article_differs_between_the_versions():
    scores, _ = measure(metrics(run(["the"], [["The", "a the"]])))
    assert (scores["exact_match"].value, scores["f1"].value) == (1, 0)
    scores, _ = measure(metrics(run(["the", "an"], [["The"], []])))
    assert (scores["exact_match"].value, scores["f1"].value) == (1, 1)


def test_only_questions_without_an_answer():
    scores, _ = measure(metrics(run(["", "x"], [[], []])))
    assert {name: score.value for name, score in scores.items()} == dict.fromkeys(
        ("exact_match", "f1", "no_answer_exact_match", "no_answer_f1"), 0.5
    )


def test_a_model_that_was_not_asked_has_no_best_threshold():
    predictions = run(["x", "y"], [["x"], []])
    for name in ("best_exact_match", "best_f1"):
        with pytest.raises(UndefinedScoreError, match=f"{name} is undefined: 2 of 2 answers"):
            both(predictions)[1][name]()


@builders.needs_shared
@pytest.mark.parametrize("language", ["en", "de"])
def test_real_questions(language):
    table = pq.read_table(builders.SHARED / "data" / "xquad" / f"xquad.{language}" / "validation.parquet")
    references = [row["text"] for row in table["answers"].to_pylist()]
    texts = [" ".join(listed[0].split()[i % 3 :]) for i, listed in enumerate(references)]
    scores, _ = measure(metrics(run(texts, references)))
    expected = np.array([first_version(text, listed) for text, listed in zip(texts, references, strict=True)])
    assert scores["exact_match"].count == expected[:, 0].sum()
    assert scores["f1"].value == pytest.approx(expected[:, 1].mean(), abs=1e-9)
    assert 0.3 < scores["exact_match"].value < scores["f1"].value < 1
