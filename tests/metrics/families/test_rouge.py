import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from verify.metrics.families.rouge import ROUGE, rouge_scores

WORDS = st.sampled_from(["a", "b", "c", "run", "running", "Runs", "dogs", "dog", "été", "x1", "–", "B."])
LINES = st.lists(st.lists(WORDS, max_size=9).map(" ".join), max_size=4).map("\n".join)
CORPORA = st.lists(st.tuples(LINES, st.lists(LINES, min_size=1, max_size=3)), min_size=1, max_size=5)


@given(CORPORA, st.booleans())
@settings(max_examples=100, deadline=None)
def test_precision_recall_and_f_are_rouge_scores(rows, stem):
    texts, references = ([row[side] for row in rows] for side in (0, 1))
    found = rouge_scores(texts, references, ROUGE, stem=stem)
    oracle = RougeScorer(list(ROUGE), use_stemmer=stem)
    for row, (text, several) in enumerate(rows):
        for name, score in oracle.score_multi(several, text).items():
            assert found[name][row] == pytest.approx([score.precision, score.recall, score.fmeasure], abs=1e-12), name


@given(st.lists(st.sampled_from("abcd"), max_size=70), st.lists(st.sampled_from("abcd"), max_size=70))
@settings(max_examples=60, deadline=None)
def test_long_texts_over_few_words_agree(one, other):
    """Few words make many subsequences of equal length, of which rouge-score takes a certain one."""
    text, reference = ("\n".join(" ".join(side[at : at + 20]) for at in range(0, 70, 20)) for side in (one, other))
    found = rouge_scores([text], [[reference]], ROUGE, stem=False)
    for name, score in RougeScorer(list(ROUGE)).score(reference, text).items():
        assert found[name][0] == pytest.approx([score.precision, score.recall, score.fmeasure], abs=1e-12), name


@given(st.lists(st.text() | st.text("abéİ1_-' .ẞK\n", max_size=12), min_size=1, max_size=3), st.booleans())
@settings(max_examples=150, deadline=None)
def test_words_are_those_of_rouge_scores_tokeniser(texts, stem):
    whole = " ".join(texts)
    found = rouge_scores(texts, [[whole]] * len(texts), ROUGE, stem=stem)
    for row, one in enumerate(texts):
        for name, score in RougeScorer(list(ROUGE), use_stemmer=stem).score(whole, one).items():
            assert found[name][row] == pytest.approx([score.precision, score.recall, score.fmeasure], abs=1e-12), name


def test_lines_are_prepared_for_rouge_lsum():
    def by_semicolon(text):
        return text.replace("; ", "\n")

    plain, split = (
        rouge_scores(["b c; a d"], [["a d; b c"]], ROUGE, stem=False, prepare=prepare)
        for prepare in (str, by_semicolon)
    )
    assert plain["rougeLsum"][0, 2] == plain["rougeL"][0, 2] == 0.5
    assert split["rougeLsum"][0, 2] == 1
    assert np.array_equal(plain["rouge2"], split["rouge2"])


def test_texts_without_a_word_score_zero():
    found = rouge_scores(["", "…", "a"], [["a"], [""], ["é"]], ROUGE, stem=True)
    assert all((values == 0).all() for values in found.values())
    assert all(values.shape == (3, 3) for values in found.values())
