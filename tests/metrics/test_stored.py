"""Statistics of texts are computed once, and never met by what they were not computed for."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verify.metrics import stored
from verify.metrics.families import speech, text
from verify.metrics.registry import additive_metrics, measure
from verify.metrics.stored import Memory, Scoring, remembered, remembering
from verify.store.predictions import Family, LabelPredictions, TextPredictions, subset, with_rows
from verify.store.runs import RunFolder

WORDS = st.lists(st.sampled_from(["a", "ab", "B.", "cats", "cat", "It's", "–", "\ud800"]), max_size=6).map(" ".join)
CORPORA = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=1, max_size=6)
FAMILIES = (Family.SUMMARIES, Family.TRANSLATIONS, Family.TRANSCRIPTS)
SCORING = Scoring("length", {"unit": "characters"}, ("numpy",))


def texts(rows, family=Family.SUMMARIES):
    written, references = ([row[side] for row in rows] for side in (0, 1))
    return TextPredictions(np.arange(len(rows)), written, references, np.zeros(len(rows)), of=family)


ROWS = [("a b", ["a"]), ("c", ["c d", "e"]), ("f", ["g"])]


class Lengths:
    """Statistics that are easy to check: the lengths of a text and of its first reference; ``asked`` are the texts."""

    def __init__(self):
        self.asked = []

    def __call__(self, predictions, names):
        self.asked += [(name, one) for name in names for one in predictions.texts]
        rows = [
            [len(one), len(several[0])] for one, several in zip(predictions.texts, predictions.references, strict=True)
        ]
        return {name: np.array(rows, np.float64) for name in names}


def looked_up(predictions, scorings=None):
    """The statistics of predictions, and the texts for which they had to be computed."""
    lengths = Lengths()
    found = remembered(predictions, scorings or {"length": SCORING}, lengths)
    return {name: rows.tolist() for name, rows in found.items()}, [one for _, one in lengths.asked]


@pytest.fixture
def folder(tmp_path):
    """A run's folder in which the statistics of ROWS are kept."""
    kept = RunFolder(tmp_path)
    assert looked_up(remembering(texts(ROWS), Memory(kept))) == (EXPECTED, ["a b", "c", "f"])
    return kept


EXPECTED = {"length": [[3, 1], [1, 3], [1, 1]]}


def test_what_was_computed_is_read_by_whoever_comes_later(folder):
    assert looked_up(remembering(texts(ROWS), Memory(folder))) == (EXPECTED, [])
    again = remembering(texts(ROWS[::-1]), Memory(folder))
    assert looked_up(again) == ({"length": EXPECTED["length"][::-1]}, [])


def test_without_a_memory_everything_is_computed(folder):
    assert looked_up(texts(ROWS)) == (EXPECTED, ["a b", "c", "f"])


def test_only_new_examples_are_computed_and_each_once(folder):
    more = remembering(texts([*ROWS, ("new", ["x"]), ("c", ["c d", "e"]), ("new", ["x"])]), Memory(folder))
    expected = {"length": [*EXPECTED["length"], [3, 1], [1, 3], [3, 1]]}
    assert looked_up(more) == (expected, ["new"])
    assert looked_up(remembering(texts([("new", ["x"])]), Memory(folder))) == ({"length": [[3, 1]]}, [])


@pytest.mark.parametrize(
    "row", [("a c", ["a"]), ("a b", ["b"]), ("a b", ["a", "a"]), ("a", ["ba"]), ("a ba", [""]), ("c", ["e", "c d"])]
)
def test_another_text_or_reference_is_another_example(folder, row):
    assert looked_up(remembering(texts([row]), Memory(folder)))[1] == [row[0]]


@pytest.mark.parametrize(
    "scoring",
    [
        replace(SCORING, name="size"),
        replace(SCORING, settings={"unit": "words"}),
        replace(SCORING, settings={}),
        replace(SCORING, libraries=("numpy", "jiwer")),
    ],
)
def test_another_way_to_compute_never_meets_the_old_numbers(folder, scoring):
    assert looked_up(remembering(texts(ROWS), Memory(folder)), {"length": scoring})[1] == ["a b", "c", "f"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCORER_VERSION", 999),
        ("_version", lambda library: "0"),
        ("unicodedata", type("", (), {"unidata_version": "1"})),
    ],
)
def test_a_newer_scorer_library_or_unicode_never_meets_the_old_numbers(folder, monkeypatch, name, value):
    monkeypatch.setattr(stored, name, value)
    again = remembering(texts(ROWS), Memory(folder))
    assert looked_up(again) == (EXPECTED, ["a b", "c", "f"])
    assert looked_up(again) == (EXPECTED, [])


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(file.read_bytes()[:-9]), lambda file: file.unlink()])
def test_what_is_damaged_or_gone_is_computed_again(folder, damage):
    (file,) = folder.path.glob("statistics/*/*.parquet")
    damage(file)
    assert looked_up(remembering(texts(ROWS), Memory(folder))) == (EXPECTED, ["a b", "c", "f"])
    assert looked_up(remembering(texts(ROWS), Memory(folder))) == (EXPECTED, [])


def test_one_name_that_is_not_known_is_computed_alone(folder):
    scorings = {"length": SCORING, "size": replace(SCORING, name="size")}
    lengths = Lengths()
    found = remembered(remembering(texts(ROWS), Memory(folder)), scorings, lengths)
    assert {name for name, _ in lengths.asked} == {"size"}
    assert list(found) == ["length", "size"]


def test_copies_with_other_rows_share_the_memory(folder):
    run = remembering(texts(ROWS), Memory(folder))
    other = texts([("z", ["c d", "e"])])
    changed = with_rows(run, np.array([1]), other)
    assert looked_up(changed) == ({"length": [[3, 1], [1, 3], [1, 1]]}, ["z"])
    assert looked_up(subset(changed, np.array([False, True, True]))) == ({"length": [[1, 3], [1, 1]]}, [])
    first = replace(run, references=[several[:1] for several in run.references])
    assert looked_up(first) == (EXPECTED, ["c"])


def test_predictions_that_are_no_texts_stay_as_they_are(tmp_path):
    labels = LabelPredictions(np.arange(2), np.eye(2, dtype=np.float32), np.arange(2), (0, 1))
    assert remembering(labels, Memory(RunFolder(tmp_path))) is labels


@given(CORPORA, st.sampled_from(FAMILIES), st.data())
@settings(max_examples=60, deadline=None)
def test_every_metric_is_the_same_with_a_memory_and_after_it(tmp_path_factory, rows, family, data):
    folder = RunFolder(tmp_path_factory.mktemp("run"))
    whole, part = texts(rows, family), texts(rows[: (len(rows) + 1) // 2], family)
    chosen = {
        Family.SUMMARIES: {
            "use_stemmer": data.draw(st.booleans()),
            "sentences": data.draw(st.sampled_from(text.SENTENCES)),
        },
        Family.TRANSLATIONS: {
            "tokenize": data.draw(st.sampled_from(["13a", "none"])),
            "lowercase": data.draw(st.booleans()),
        },
        Family.TRANSCRIPTS: {"normalizer": data.draw(st.sampled_from(list(speech.NORMALIZERS)[:3]))},
    }[family]
    additive_metrics(remembering(part, Memory(folder)), {}, {"chrf", "rougeL", "wer"})
    for run in (part, whole, whole):
        plain, known = (additive_metrics(one, chosen) for one in (run, remembering(run, Memory(folder))))
        assert list(plain) == list(known)
        for name, metric in plain.items():
            assert np.array_equal(metric.statistics, known[name].statistics), name
            sums = metric.statistics.sum(axis=0)
            assert metric.value(sums).tobytes() == known[name].value(sums).tobytes(), name
        assert measure(run, chosen) == measure(remembering(run, Memory(folder)), chosen)


def test_a_checkpoints_spellings_are_part_of_what_is_remembered(tmp_path):
    run = texts([("the color", ["the colour"])], Family.TRANSCRIPTS)
    setting = {"normalizer": "whisper_english"}
    folder = RunFolder(tmp_path)
    for spelling, rate in ((None, 0.5), ({"colour": "color"}, 0.0), ({"colour": "colours"}, 0.5), (None, 0.5)):
        found = speech.metrics(remembering(run, Memory(folder)), setting, spelling)["wer"]
        assert found.score("wer").value == rate
