import json
import unicodedata
from importlib.metadata import version

import jiwer
import numpy as np
import pytest
from helpers.builders import SHARED, needs_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from verify.errors import DataError, UsageError
from verify.metrics.families import speech
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import TextPredictions

WORDS = st.lists(st.sampled_from(["a", "ab", "abc", "b", "Don't", "it's,", " "]), max_size=7).map(" ".join)
CORPORA = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=8)


def run(rows):
    """Rows of a text and its reference, or references."""
    references = [[several] if isinstance(several, str) else several for _, several in rows]
    return TextPredictions(np.arange(len(rows)), [one for one, _ in rows], references, np.zeros(len(rows)))


def scores(rows, **setting):
    return {name: metric.score(name).value for name, metric in speech.metrics(run(rows), setting).items()}


@given(CORPORA, st.sampled_from(["none", "lower", "no_punctuation", "whisper_basic"]))
@settings(max_examples=150, deadline=None)
def test_rates_are_jiwers_of_the_whole_corpus(rows, name):
    normalize = speech.NORMALIZERS[name]
    texts, references = ([normalize(row[side]) for row in rows] for side in (0, 1))
    words = jiwer.process_words(references, texts)
    expected = {
        "wer": jiwer.wer(references, texts),
        "cer": jiwer.cer(references, texts),
        "mer": words.mer,
        "wil": words.wil,
        "ser": np.mean([any(chunk.type != "equal" for chunk in chunks) for chunks in words.alignments]),
    }
    metrics = speech.metrics(run(rows), {"normalizer": name})
    assert set(metrics) == set(expected)
    spoken = any(words.references)
    for rate, value in expected.items():
        if spoken or rate == "ser":
            assert metrics[rate].score(rate).value == pytest.approx(value, abs=1e-9), rate
        else:
            with pytest.raises(UndefinedScoreError, match=f"{rate} is undefined"):
                metrics[rate].score(rate)


@given(CORPORA)
@settings(max_examples=150, deadline=None)
def test_the_counts_of_every_example_are_those_of_jiwers_alignment(rows):
    metrics = speech.metrics(run(rows), {})
    for (text, reference), words, characters in zip(
        rows, metrics["mer"].statistics, metrics["cer"].statistics, strict=True
    ):
        by_jiwer = jiwer.process_words(reference, text)
        counts = [by_jiwer.hits, by_jiwer.substitutions, by_jiwer.deletions, by_jiwer.insertions]
        assert words.tolist() == counts
        by_jiwer = jiwer.process_characters(reference, text)
        errors = by_jiwer.substitutions + by_jiwer.deletions + by_jiwer.insertions
        assert characters.tolist() == [errors, by_jiwer.hits + by_jiwer.substitutions + by_jiwer.deletions]


@given(st.text())
def test_without_punctuation_is_every_other_character(text):
    kept = [char for char in text.lower().replace("’", "'") if char == "'" or unicodedata.category(char)[0] != "P"]
    assert speech.no_punctuation(text) == " ".join("".join(kept).split())


@given(CORPORA, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_examples_changes_nothing_and_sums_give_every_subset(rows, chance):
    rows = [("a b", "a c"), *rows]
    metrics, again = (speech.metrics(run(some), {}) for some in (rows, chance.sample(rows, len(rows))))
    first = scores(rows[:1])
    for name, metric in metrics.items():
        assert again[name].score(name).value == pytest.approx(metric.score(name).value, abs=1e-12)
        sums = np.stack([metric.statistics[0], metric.statistics.sum(axis=0)])
        assert metric.value(sums) == pytest.approx([first[name], metric.score(name).value], abs=1e-12)


@given(st.lists(WORDS, min_size=1, max_size=6))
@settings(deadline=None)
def test_a_perfect_transcript_has_no_error(texts):
    assert scores([(one, one) for one in ["a", *texts]]) == dict.fromkeys(("wer", "cer", "mer", "wil", "ser"), 0)


def test_a_rate_of_added_words_exceeds_one():
    assert scores([("a b c", "a"), ("x y", "z")]) == {"wer": 2, "cer": 3.5, "mer": 0.8, "wil": 0.9, "ser": 1}


def test_words_heard_in_silence_are_insertions():
    assert scores([("a b", "a b"), ("c", "")])["wer"] == 0.5
    assert scores([("", ""), ("", "a")]) == {"wer": 1, "cer": 1, "mer": 1, "wil": 1, "ser": 0.5}


def test_the_nearest_of_several_references_counts():
    rows = [("a b c", ["a x y", "a b", "a b d"]), ("d", ["e", "d"])]
    # "a b" is one insertion away, "a b d" one substitution: the first of equals counts, with its own length.
    assert scores(rows) == {"wer": 1 / 3, "cer": 1 / 6, "mer": 0.25, "wil": 0.25, "ser": 0.5}


def test_a_sentence_error_is_a_share_with_its_count():
    score = speech.metrics(run([("a", "a"), ("b", "a"), ("a b", "a")]), {})["ser"].score("ser")
    assert (score.count, score.n) == (2, 3)


@pytest.mark.parametrize(
    ("name", "written", "becomes"),
    [
        ("none", "It’s – «Well-known».", "It’s – «Well-known»."),
        ("lower", "It’s ÉTÉ.", "it’s été."),
        ("no_punctuation", "It’s – «Well-known», 'tis $5_000 … Été!", "it's wellknown 'tis $5000 été"),
        ("whisper_basic", "[noise] It's «Well-known», Été!", "it s well known été"),
        (
            "whisper_english",
            "Mr. Smith won't pay twenty-one dollars, um, for colour",
            "mister smith will not pay $21 for colour",
        ),
    ],
)
def test_what_each_normaliser_does(name, written, becomes):
    normalize = speech.normalizer({"normalizer": name})
    assert " ".join(normalize(written).split()) == becomes
    assert normalize is speech.NORMALIZERS[name]


def test_whispers_normalisers_are_those_of_transformers():
    spelling = {"colour": "color", "centre": "center"}
    for written in ("The colour, at the centre (sic) of £3 million!", "Ça va? 3½ o'clock ", "one oh one"):
        assert speech.whisper_basic(written) == BasicTextNormalizer()(written)
        assert speech.whisper_english(written) == EnglishTextNormalizer({})(written)
        unified = speech.normalizer({"normalizer": "whisper_english"}, spelling)
        assert unified(written) == EnglishTextNormalizer(spelling)(written)


def test_the_spelling_mapping_of_a_checkpoint_is_used_and_recorded():
    rows, setting = run([("the color", "the colour")]), {"normalizer": "whisper_english"}
    assert speech.metrics(rows, setting)["wer"].score("wer").value == 0.5
    assert speech.metrics(rows, setting, {"colour": "color"})["wer"].score("wer").value == 0
    assert speech.speech_settings(setting)["spelling"] == "not unified: no mapping at hand"
    assert speech.speech_settings(setting, {"colour": "color"})["spelling"] == "as the checkpoint maps it"
    assert speech.speech_settings({}) == {"normalizer": "none", "alignment": f"jiwer {version('jiwer')}"}


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="no_punctuation, whisper_basic, whisper_english, not 'whisper'"):
        speech.metrics(run([("a", "a")]), {"normalizer": "whisper"})
    with pytest.raises(UsageError, match="not 'whisper'"):
        speech.speech_settings({"normalizer": "whisper"})
    with pytest.raises(DataError, match="1 of 2 examples have no reference"):
        speech.metrics(run([("a", "a"), ("a", [])]), {})


@needs_shared
def test_a_real_transcript_needs_a_normaliser():
    folder = SHARED / "data" / "speech_sample"
    line = json.loads((folder / "transcripts.jsonl").read_text().splitlines()[0])
    spoken = next(value for key, value in line.items() if "text" in key or "transcript" in key)
    heard = spoken.upper().replace(",", "").replace(".", "")
    assert scores([(heard, spoken)])["wer"] > 0.9
    assert scores([(heard, spoken)], normalizer="no_punctuation")["wer"] == 0
