import random

import numpy as np
import pytest
import seqeval.metrics
import seqeval.scheme
from sklearn.metrics import precision_recall_fscore_support

from judging.hypotheses.finding import found, settings_tried, sought
from verify.store.predictions import TagPredictions

NAMES = ("precision", "recall", "f1")


def tagged(n=500, seed=0, types=("PER", "LOC", "ORG", "MISC"), scheme="IOB2"):
    """A tagger that errs on single words, so that many of its entities are torn or start with I."""
    chance = random.Random(seed)
    reference, tags = [], []
    for _ in range(n):
        row = []
        while len(row) < 12:
            kind = chance.choices(types, weights=range(len(types), 0, -1))[0]
            row += ["O"] * chance.randint(1, 4) + [f"B-{kind}"] + [f"I-{kind}"] * chance.randint(0, 2)
        names = ["O", *(f"{start}-{kind}" for start in "BI" for kind in types)]
        reference.append(row)
        tags.append([chance.choice(names) if chance.random() < 0.12 else tag for tag in row])
    margins = [[chance.random() for _ in row] for row in tags]
    return TagPredictions(np.arange(n), tags, reference, margins, scheme)


RUN = tagged()


def by_seqeval(run, **options):
    functions = (seqeval.metrics.precision_score, seqeval.metrics.recall_score, seqeval.metrics.f1_score)
    return {name: float(one(run.reference, run.tags, **options)) for name, one in zip(NAMES, functions, strict=True)}


def by_words(run, average, labels=None):
    reference, tags = ([tag for row in rows for tag in row] for rows in (run.reference, run.tags))
    values = precision_recall_fscore_support(reference, tags, average=average, labels=labels, zero_division=0)
    return dict(zip(NAMES, map(float, values[:3]), strict=True))


@pytest.mark.parametrize("scheme", ["IOB2", "IOB1"])
def test_the_strict_mode_is_found(scheme):
    numbers = by_seqeval(RUN, mode="strict", scheme=getattr(seqeval.scheme, scheme))
    assert found(sought(RUN, numbers)) == ("scheme", f"seqeval's strict mode for {scheme}", True)


def test_the_default_mode_is_found_under_the_name_of_the_strict_one():
    numbers = {f"{name}_strict": value for name, value in by_seqeval(RUN).items()}
    hypothesis, setting, certain = found(sought(RUN, numbers))
    assert (hypothesis, certain) == ("scheme", True)
    assert "default" in setting


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize("outside", [True, False])
def test_scores_of_words_are_found(average, outside):
    names = sorted({tag for rows in (RUN.tags, RUN.reference) for row in rows for tag in row})
    labels = None if outside else [name for name in names if name != "O"]
    which = "all tags" if outside else "all tags but O"
    search = sought(RUN, by_words(RUN, average, labels))
    assert found(search) == ("words", f"{average} average over {which}", True)


def test_the_accuracy_of_words_under_the_name_of_f1_is_found():
    pairs = [pair for rows in zip(RUN.tags, RUN.reference, strict=True) for pair in zip(*rows, strict=True)]
    search = sought(RUN, {"f1": float(np.mean([one == other for one, other in pairs]))})
    assert found(search) == ("words", "micro average over all tags", True)


def test_one_type_of_entity_is_found():
    report = seqeval.metrics.classification_report(RUN.reference, RUN.tags, output_dict=True)["LOC"]
    numbers = {"precision": report["precision"], "recall": report["recall"], "f1": report["f1-score"]}
    search = sought(RUN, numbers)
    assert found(search) == ("entity_types", "only entities of type LOC are counted", True)


def test_entities_without_their_type_are_found():
    def untyped(rows):
        return [
            [tag if tag == "O" else f"{'B' if starts(row, place) else 'I'}-X" for place, tag in enumerate(row)]
            for row in rows
        ]

    def starts(row, place):
        before = row[place - 1] if place else "O"
        return row[place][0] == "B" or before == "O" or before[2:] != row[place][2:]

    blind = TagPredictions(RUN.example, untyped(RUN.tags), untyped(RUN.reference), RUN.word_margins)
    search = sought(RUN, by_seqeval(blind))
    assert found(search) == ("entity_types", "the type of an entity may be wrong", True)


def test_many_types_are_not_tried_one_by_one():
    many = tagged(types=tuple(f"T{number}" for number in range(12)))
    search = sought(many, {"f1": 0.5})
    assert settings_tried(search, "entity_types") == ["the type of an entity may be wrong"]


def test_nothing_about_entities_is_tried_on_plain_tags():
    plain = TagPredictions(
        np.arange(2), [["NOUN", "VERB"], ["ADJ"]], [["NOUN", "NOUN"], ["ADJ"]], [[1.0, 1.0], [1.0]], "none"
    )
    search = sought(plain, {"accuracy": 0.9, "f1_macro": 0.9})
    assert {one.hypothesis.name for one in search.tried} & {"words", "scheme", "entity_types"} == set()


@pytest.mark.parametrize("shift", [-0.0413, 0.0533])
def test_unrelated_numbers_stay_unexplained(shift):
    assert sought(RUN, {name: value + shift for name, value in by_seqeval(RUN).items()}).best is None
