import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import seqeval.metrics
import seqeval.scheme
from helpers import builders
from hypothesis import assume, example, given
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from sklearn.metrics import precision_recall_fscore_support

from metrics.families.tag_names import ODD, PREFIXES, tags_of
from verify.errors import EngineError
from verify.metrics.additive import measure
from verify.metrics.families.sequence import detect_scheme, metrics, others
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import TagPredictions

ROOT = Path(__file__).parents[3]
NAMES = ("precision", "recall", "f1")


def run(tags, reference, scheme="IOB2"):
    margins = [[1.0] * len(row) for row in tags]
    return TagPredictions(np.arange(len(tags)), tags, reference, margins, scheme)


def rows_of(names):
    row = st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=8)
    rows = st.lists(row, min_size=1, max_size=6)
    return rows.map(lambda rows: tuple([[pair[side] for pair in row] for row in rows] for side in (0, 1)))


WELL_NAMED = st.sampled_from(sorted(PREFIXES)).flatmap(
    lambda scheme: st.tuples(st.just(scheme), rows_of(tags_of(scheme)))
)


def value(metric, name):
    try:
        return float(metric.score(name).value)
    except UndefinedScoreError:
        return float("nan")


def oracle(function, *arguments, **keywords):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(function(*arguments, **keywords))


def assert_lenient_scores_are_seqevals(tags, reference, measured):
    for name in NAMES:
        function = getattr(seqeval.metrics, f"{name}_score")
        for suffix, average in (("", "micro"), ("_macro", "macro"), ("_weighted", "weighted")):
            expected = oracle(function, reference, tags, average=average)
            assert value(measured[name + suffix], name) == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(WELL_NAMED)
@example(("IOB2", ([["O"]], [["O"]])))
@example(("IOB2", ([["I-PER", "I-LOC", "B-LOC"], []], [["B-PER", "I-LOC", "I-LOC"], []])))
def test_entity_scores_equal_seqevals(case):
    scheme, (tags, reference) = case
    predictions = run(tags, reference, scheme)
    measured = metrics(predictions)
    assert others(predictions) == {}
    assert_lenient_scores_are_seqevals(tags, reference, measured)
    for name in NAMES:
        function, strict = getattr(seqeval.metrics, f"{name}_score"), getattr(seqeval.scheme, scheme)
        expected = oracle(function, reference, tags, mode="strict", scheme=strict)
        assert value(measured[f"{name}_strict"], name) == pytest.approx(expected, abs=1e-9)


@given(rows_of([*tags_of("IOB2"), *ODD]))
@example(([["B-PER", "O"], ["U", "B-PER"]], [["O", "B-PER"], ["U", "B-PER"]]))
@example(([[".", "I", "O"], [".", "I", "O"]], [["B-PER", "I", "O"], [".", "I", "O"]]))
def test_odd_tags_score_as_in_seqeval(rows):
    tags, reference = rows
    predictions = run(tags, reference)
    measured = metrics(predictions)
    assert_lenient_scores_are_seqevals(tags, reference, measured)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = strict_scores(reference, tags, average="micro", scheme=seqeval.scheme.IOB2)
    except (KeyError, ValueError):
        assert set(others(predictions)) == {"f1_strict", "precision_strict", "recall_strict"}
        assert not set(others(predictions)) & set(measured)
        with pytest.raises(UndefinedScoreError, match="f1_strict is undefined: IOB2 has no place for"):
            others(predictions)["f1_strict"]()
    else:
        assert others(predictions) == {}
        assert [value(measured[f"{name}_strict"], name) for name in NAMES] == pytest.approx(expected[:3], abs=1e-9)


@given(st.sampled_from([["O", "B-PER", "I-PER"], ["NOUN", "VERB", "X"], ["O", "-LRB-"]]).flatmap(rows_of))
def test_word_scores_equal_scikit_learn_and_seqeval(rows):
    tags, reference = rows
    predicted, actual = ([tag for row in side for tag in row] for side in rows)
    assume(predicted)
    plain, entities = metrics(run(tags, reference, "none")), metrics(run(tags, reference))
    assert not others(run(tags, reference, "none"))
    assert set(plain) == {"accuracy"} | {f"{n}_{a}" for n in NAMES for a in ("macro", "micro", "weighted")}
    for measured in (plain, entities):
        score = measured["accuracy"].score("accuracy")
        assert score.value == pytest.approx(seqeval.metrics.accuracy_score(reference, tags), abs=1e-12)
        assert score.n == len(actual)
        assert score.count == sum(a == b for a, b in zip(predicted, actual, strict=True))
    for average in ("macro", "micro", "weighted"):
        expected = precision_recall_fscore_support(actual, predicted, average=average, zero_division=0)[:3]
        assert [value(plain[f"{name}_{average}"], name) for name in NAMES] == pytest.approx(expected, abs=1e-9)
    assert value(entities["f1_token_macro"], "f1") == value(plain["f1_macro"], "f1")
    inside = sorted({*predicted, *actual} - {"O"})
    if inside:
        expected = precision_recall_fscore_support(actual, predicted, labels=inside, average="micro", zero_division=0)
        assert value(entities["f1_token_micro"], "f1") == pytest.approx(expected[2], abs=1e-9)


def test_a_hand_checked_example():
    tags = [["B-PER", "I-PER", "O", "I-LOC"], ["B-PER", "O"]]
    reference = [["B-PER", "I-PER", "O", "B-LOC"], ["O", "B-PER"]]
    scores, notes = measure(metrics(run(tags, reference)))
    assert notes == ()
    assert scores["f1"].value == pytest.approx(2 * 2 / (3 + 3))  # the default makes an entity of a lone I-LOC
    assert scores["f1_strict"].value == pytest.approx(2 * 1 / (2 + 3))
    assert scores["f1_macro"].value == pytest.approx((0.5 + 1) / 2)
    assert scores["f1_weighted"].value == pytest.approx((2 * 0.5 + 1) / 3)
    assert (scores["accuracy"].count, scores["accuracy"].n) == (3, 6)
    statistics = metrics(run(tags, reference))["f1"].statistics
    assert statistics.tolist() == [[4, 4], [0, 2]]  # twice the right ones; those predicted and those there


def test_a_tag_of_another_vocabulary_leaves_the_strict_scores_out_and_names_it():
    predictions = run([["B-PER", "LABEL_7"]], [["B-PER", "S-LOC"]])
    assert "f1" in metrics(predictions)
    with pytest.raises(UndefinedScoreError, match="recall_strict is undefined: IOB2 has no place for LABEL_7, S-LOC"):
        others(predictions)["recall_strict"]()


def test_no_entity_anywhere_has_no_average_over_types():
    scores, notes = measure(metrics(run([["O"], []], [["O"], []])))
    assert scores["f1"].value == scores["f1_weighted"].value == scores["f1_strict"].value == 0
    assert {note.split(" ")[0] for note in notes} == {"f1_macro", "precision_macro", "recall_macro"}


@pytest.mark.parametrize(
    ("tags", "reference", "says"),
    [
        ([["O"], ["O", "O"]], [["O"], ["O"]], "example 1 has 2 tags and 1 reference tags"),
        ([["O", ""]], [["O", "O"]], "example 0 is the empty string"),
        ([["O"]], [[""]], "example 0 is the empty string"),
    ],
)
def test_tags_that_cannot_be_scored_are_refused(tags, reference, says):
    with pytest.raises(EngineError, match=says):
        metrics(run(tags, reference))


SPANS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(["PER", "LOC"])), min_size=1, max_size=5
)


def written(spans, scheme):
    """Tags of entities: (words outside before it, its length, its type) each."""
    row = []
    for before, length, kind in spans:
        follows = before == 0 and bool(row) and row[-1] != "O" and row[-1][2:] == kind
        if follows and scheme == "IOE1":
            row[-1] = f"E-{kind}"
        marks = ["I"] * length
        if scheme == "IOB2" or (scheme == "IOB1" and follows):
            marks[0] = "B"
        elif scheme == "IOE2":
            marks[-1] = "E"
        elif scheme in ("IOBES", "BILOU"):
            single, last = ("S", "E") if scheme == "IOBES" else ("U", "L")
            marks = [single] if length == 1 else ["B", *marks[2:], last]
        row += ["O"] * before + [f"{mark}-{kind}" for mark in marks]
    return row


@given(st.sampled_from(sorted(PREFIXES)), st.lists(SPANS, min_size=1, max_size=4))
def test_a_scheme_is_read_off_names_and_sequences(scheme, examples):
    rows = [written(spans, scheme) for spans in examples]
    assert detect_scheme(tags_of(scheme), rows) == scheme


def test_slips_do_not_change_the_scheme():
    sound, slip = [["B-PER", "I-PER", "O", "B-LOC"]] * 3, ["O", "I-PER", "O"]
    assert detect_scheme(tags_of("IOB2"), [*sound, slip]) == "IOB2"
    assert detect_scheme(tags_of("IOB1"), [*sound[:1], *[slip] * 3]) == "IOB1"


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (["O", "B-PER", "I-PER"], "IOB2"),
        (["O", "I-PER", "I-LOC"], "IOB1"),
        (["O", "B", "I"], "IOB2"),
        (["B-PER", "I-PER"], "IOB2"),
        (["O", "B-PER"], "IOB2"),
        (["O", "I-PER", "E-PER"], "IOE2"),
        (["O", "B-X", "I-X", "E-X", "S-X"], "IOBES"),
        (["O", "B-X", "M-X", "E-X"], "IOBES"),
        (["O", "B-X", "I-X", "L-X", "U-X"], "BILOU"),
        (["NOUN", "VERB", "X"], "none"),
        (["O"], "none"),
        ([], "none"),
        (["O", "B-PER", "I-PER", "OTHER"], "none"),
        (["PER", "LOC", "O"], "none"),
        (["-LRB-", "NN", "B-"], "none"),
    ],
)
def test_names_alone(names, scheme):
    assert detect_scheme(names) == scheme


@builders.needs_shared
def test_real_tweets_with_damaged_tags_score_as_in_seqeval():
    table = pq.read_table(builders.SHARED / "data" / "broad_twitter_corpus" / "default" / "test.parquet")
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["ner_tags"]["feature"]["names"]
    reference = [[names[tag] for tag in row] for row in table["ner_tags"].to_pylist()]
    assert detect_scheme(names, reference) == "IOB2"
    chance = np.random.default_rng(0)
    tags = [[tag if chance.random() < 0.9 else str(chance.choice(names)) for tag in row] for row in reference]
    measured = metrics(run(tags, reference))
    assert_lenient_scores_are_seqevals(tags, reference, measured)
    strict = oracle(seqeval.metrics.f1_score, reference, tags, mode="strict", scheme=seqeval.scheme.IOB2)
    assert value(measured["f1_strict"], "f1") == pytest.approx(strict, abs=1e-9)
    assert 0.5 < value(measured["f1"], "f1") < strict < 1  # the default sees many more entities in damaged tags


def test_ten_thousand_sentences_take_seconds():
    chance = np.random.default_rng(0)
    names = np.array(["O"] * 6 + ["B-PER", "I-PER", "B-LOC", "I-LOC"])
    tags, reference = (names[chance.integers(0, 10, (10_000, 20))].tolist() for _ in range(2))
    start = time.process_time()
    measured = metrics(run(tags, reference))
    assert time.process_time() - start < 20  # about 2 s; a quadratic loop would take minutes
    assert 0 < value(measured["f1_strict"], "f1") < 1


def test_importing_the_module_loads_no_other_library():
    code = (
        "import sys\n"
        "from verify.metrics.families import answers, multi_label, sequence\n"
        "heavy = ('torch', 'transformers', 'sklearn', 'scipy', 'seqeval', 'evaluate', 'datasets')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
