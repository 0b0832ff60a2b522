import subprocess
import sys
from itertools import zip_longest

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers.builders import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER

from verify.errors import DataError, UsageError
from verify.metrics.families import text
from verify.store.predictions import TextPredictions

WORDS = st.sampled_from(
    [
        "the",
        "The",
        "cats",
        "cat",
        "running",
        "runs",
        "was",
        "U.S.",
        "Mr.",
        "late.",
        "(why",
        "not?)",
        "»Ja«",
        "猫",
        "3,5",
    ]
)
TEXTS = st.lists(WORDS, max_size=9).map(" ".join)
CORPORA = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=1, max_size=6)


def run(rows):
    texts, references = zip(*rows, strict=True)
    return TextPredictions(np.arange(len(rows)), list(texts), list(references), np.zeros(len(rows)))


def sacrebleu_scores(predictions, tokenize="13a", lowercase=False):
    """sacreBLEU's own corpus scores, as fractions; gaps where an example has fewer references."""
    streams = [list(stream) for stream in zip_longest(*predictions.references)]
    metrics = {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase),
        "chrf": CHRF(),
        "chrf++": CHRF(word_order=2),
        "ter": TER(),
    }
    return {name: metric.corpus_score(list(predictions.texts), streams).score / 100 for name, metric in metrics.items()}


@given(CORPORA, st.booleans())
@settings(max_examples=60, deadline=None)
def test_rouge_is_the_mean_of_rouge_scores_best_f_measures(rows, use_stemmer):
    oracle = RougeScorer(list(text.ROUGE), use_stemmer=use_stemmer)
    scores = [
        oracle.score_multi([text.split_sentences(one) for one in references], text.split_sentences(prediction))
        for prediction, references in rows
    ]
    metrics = text.summary_metrics(run(rows), {"use_stemmer": use_stemmer})
    assert tuple(metrics) == text.ROUGE
    for name, metric in metrics.items():
        each = [score[name].fmeasure for score in scores]
        assert metric.statistics[:, 0] == pytest.approx(each, abs=1e-12)
        assert metric.score(name).value == pytest.approx(np.mean(each), abs=1e-9)
        assert metric.score(name).n == len(rows)


def test_only_the_sentence_rule_moves_rouge_lsum_and_only_that():
    rows = [("It was late. Mr. Smith ran.", ["Mr. Smith ran. It was late."])]
    by_rule, by_lines = (
        {name: metric.score(name).value for name, metric in text.summary_metrics(run(rows), setting).items()}
        for setting in ({}, {"sentences": "lines"})
    )
    assert by_rule["rougeLsum"] == 1
    assert by_lines["rougeLsum"] == by_lines["rougeL"] == by_rule["rougeL"] == 0.5
    assert (by_rule["rouge1"], by_rule["rouge2"]) == (by_lines["rouge1"], by_lines["rouge2"])


@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He said "no." Then he left (late!). 3 men came', ['He said "no."', "Then he left (late!).", "3 men came"]),
        ("Mr. Smith met Dr. J. Doe of the U.S. Senate.", ["Mr. Smith met Dr. J. Doe of the U.S. Senate."]),
        ("Small things, e.g. nails, cost 3.50 pounds", ["Small things, e.g. nails, cost 3.50 pounds"]),
        ("A line\nand another", ["A line", "and another"]),
        ("  ", ["  "]),
    ],
)
def test_sentences_end_where_the_rule_says(written, lines):
    assert text.split_sentences(written).split("\n") == lines


def test_the_stemmer_is_on_unless_a_setting_says_otherwise():
    rows = [("cats running", ["cat runs"])]
    assert text.summary_metrics(run(rows), {})["rouge1"].score("rouge1").value == 1
    assert text.summary_metrics(run(rows), {"use_stemmer": False})["rouge1"].score("rouge1").value == 0
    assert text.summary_settings({})["use_stemmer"] is True
    assert text.summary_settings({"use_stemmer": False})["use_stemmer"] is False
    assert "0.1.2" in text.summary_settings({})["rouge"]


@given(CORPORA, st.sampled_from(["13a", "intl", "zh", "char", "none"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_score_of_a_corpus_is_sacrebleus(rows, tokenize, lowercase):
    predictions = run(rows)
    metrics = text.translation_metrics(predictions, {"tokenize": tokenize, "lowercase": lowercase})
    assert tuple(metrics) == text.TRANSLATION
    for name, value in sacrebleu_scores(predictions, tokenize, lowercase).items():
        assert metrics[name].score(name).value == pytest.approx(value, abs=1e-9), name


@given(CORPORA, st.sampled_from(["13a", "intl", "char", "none"]), st.booleans())
@settings(max_examples=100, deadline=None)
def test_the_counts_of_every_example_are_sacrebleus(rows, tokenize, lowercase):
    metrics = text.translation_metrics(run(rows), {"tokenize": tokenize, "lowercase": lowercase})
    oracles = {
        "bleu": BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrf": CHRF(),
        "chrf++": CHRF(word_order=2),
    }
    for name, oracle in oracles.items():
        for row, (one, several) in zip(metrics[name].statistics, rows, strict=True):
            (expected,) = oracle._extract_corpus_statistics([one], [[reference] for reference in several])
            assert row.tolist() == expected, name


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=1, max_size=5),
    st.lists(st.integers(0, 9), min_size=2, max_size=2),
)
def test_bleu_of_any_sums_is_sacrebleus_smoothed_formula(matches, lengths):
    sums = np.array([[*lengths, *row, *(4 - n + count for n, count in enumerate(row))] for row in matches], float)
    expected = [
        BLEU.compute_bleu([*map(int, row[2:6])], [*map(int, row[6:])], *map(int, row[:2]), smooth_method="exp").score
        for row in sums
    ]
    assert text.bleu(sums) == pytest.approx(np.array(expected) / 100, abs=1e-12)


@given(CORPORA, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_examples_changes_nothing_and_sums_give_every_subset(rows, chance):
    shuffled = chance.sample(rows, len(rows))
    for measure in (text.translation_metrics, text.summary_metrics):
        metrics, again = measure(run(rows), {}), measure(run(shuffled), {})
        half = measure(run(rows[: (len(rows) + 1) // 2]), {})
        for name, metric in metrics.items():
            assert again[name].score(name).value == pytest.approx(metric.score(name).value, abs=1e-12)
            # Sums of several subsets at once give the score of each.
            sums = np.stack([metric.statistics[: len(half[name].statistics)].sum(0), metric.statistics.sum(0)])
            expected = [half[name].score(name).value, metric.score(name).value]
            assert metric.value(sums) == pytest.approx(expected, abs=1e-12)


@given(st.lists(st.lists(WORDS, min_size=4, max_size=9).map(" ".join), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_texts_that_equal_their_references_score_best(texts):
    predictions = run([(one, [one, "another reference"]) for one in texts])
    best = {"bleu": 1, "chrf": 1, "chrf++": 1, "ter": 0, "exact_match": 1}
    for name, metric in text.translation_metrics(predictions, {}).items():
        value = metric.score(name).value
        assert value == pytest.approx(best[name], abs=1e-12), name


def test_exact_match_counts_texts_that_equal_some_reference():
    predictions = run([("Ja.", ["Nein.", "Ja. \n"]), ("ja.", ["Ja."]), ("", [""])])
    score = text.translation_metrics(predictions, {}, only=["exact_match"])["exact_match"].score("exact_match")
    assert (score.count, score.n) == (2, 3)


def test_only_what_is_wanted_is_computed():
    predictions = run([("a b", ["a b"])])
    assert list(text.translation_metrics(predictions, {}, only=["chrf"])) == ["chrf"]
    assert list(text.summary_metrics(predictions, {}, only=["rougeL", "bleu"])) == ["rougeL"]
    assert text.summary_metrics(predictions, {}, only=[]) == {}


def test_signatures_are_those_that_sacrebleu_prints():
    rows = [("a b", ["a b", "c"]), ("d", ["d", "e"])]
    recorded = text.translation_settings({"tokenize": "intl", "lowercase": True}, run(rows))
    oracle = BLEU(tokenize="intl", lowercase=True)
    oracle.corpus_score(["a b", "d"], [["a b", "d"], ["c", "e"]])
    assert recorded["bleu_signature"] == str(oracle.get_signature())
    assert (recorded["tokenize"], recorded["lowercase"]) == ("intl", True)
    assert "nw:2" in recorded["chrf++_signature"]
    assert text.translation_settings({})["bleu_signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")
    assert text.translation_settings({}, run([*rows, ("a", ["b"])]))["ter_signature"].startswith("nrefs:var|")


@pytest.mark.parametrize("measure", [text.summary_metrics, text.translation_metrics])
def test_examples_without_a_reference_are_refused(measure):
    with pytest.raises(DataError, match="1 of 2 examples have no reference"):
        measure(run([("a", ["b"]), ("a", [])]), {})
    with pytest.raises(DataError, match="no examples"):
        measure(TextPredictions(np.arange(0), [], [], np.zeros(0)), {})


@pytest.mark.parametrize(
    ("measure", "setting", "says"),
    [
        (text.summary_metrics, {"sentences": "punkt"}, "rule or lines, not 'punkt'"),
        (text.summary_settings, {"sentences": "punkt"}, "rule or lines"),
        (text.translation_metrics, {"tokenize": "mecab"}, "13a, intl, zh, char, none, not 'mecab'"),
        (text.translation_settings, {"tokenize": None}, "not None"),
    ],
)
def test_settings_that_do_not_exist_are_refused(measure, setting, says):
    arguments = (setting,) if measure.__name__.endswith("settings") else (run([("a", ["b"])]), setting)
    with pytest.raises(UsageError, match=says):
        measure(*arguments)


def test_importing_the_metrics_loads_no_library():
    heavy = {"torch", "transformers", "scipy", "sacrebleu", "rouge_score", "nltk", "jiwer", "evaluate"}
    modules = "text, speech, language, embedding"
    code = (
        f"import sys; from verify.metrics.families import {modules}; sys.exit(any(m in sys.modules for m in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_shared
def test_real_translations_score_as_sacrebleu_has_them():
    table = pq.read_table(SHARED / "data/multi30k/default/test.parquet").slice(0, 300).to_pydict()
    # Word by word swaps of neighbours, so that every order of n-grams has some matches and some misses.
    texts = []
    for row, line in enumerate(table["de"]):
        words = line.split()
        at = row % len(words)
        texts.append(" ".join([*words[:at], *words[at : at + 2][::-1], *words[at + 2 :]]))
    predictions = run([(one, [reference]) for one, reference in zip(texts, table["de"], strict=True)])
    metrics = text.translation_metrics(predictions, {})
    for name, value in sacrebleu_scores(predictions).items():
        assert 0.02 < value < 0.99
        assert metrics[name].score(name).value == pytest.approx(value, abs=1e-9), name
