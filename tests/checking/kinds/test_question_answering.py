"""Spans of a context as answers: SQuAD's first and second form in JSON Lines, answers in a CSV file, and XQuAD."""

import collections
import csv
import json
import re
import string

import pyarrow.parquet as pq
import pytest
from helpers.answering import bert, plain_answer, plain_windows
from helpers.builders import SHARED, needs_shared, sentences

from checking.kinds.checking import Place, Stated

COUNT = 48
CONTEXTS = [" ".join(sentences(6 if i % 4 else 60, seed=i)) + "." for i in range(COUNT)]
QUESTIONS = ["what is " + " ".join(sentences(1, seed=100 + i)[0].split()[:8]) + "?" for i in range(COUNT)]
XQUAD = SHARED / "data/xquad/xquad.en/validation.parquet"


def plain(text):
    """SQuAD's normal form: lower case, no punctuation, no articles, single spaces."""
    kept = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact(answer, reference):
    return float(plain(answer) == plain(reference))


def overlap(answer, reference):
    found, wanted = plain(answer).split(), plain(reference).split()
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((collections.Counter(found) & collections.Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def means(answers, references, score):
    """The mean over questions of the best score against a question's references, none of which stands for ""."""
    best = [
        max(score(answer, one) for one in wanted or [""]) for answer, wanted in zip(answers, references, strict=True)
    ]
    return sum(best) / len(best), best


def asked(model, words, questions, contexts, threshold=None):
    """The answers of a search over all pairs of a start and an end, one window at a time."""
    return [
        plain_answer(
            plain_windows(model, words, question, context, 384, 128),
            context,
            n_best=20,
            max_answer_tokens=30,
            threshold=threshold,
        )[0]
        for question, context in zip(questions, contexts, strict=True)
    ]


def near(answers):
    """References: some the answer itself, some with it among others, some with a part of it, some else."""
    found = []
    for i, (answer, context) in enumerate(zip(answers, CONTEXTS, strict=True)):
        words, other = context.split(), (answer or context).split()
        found.append([[answer or words[0]], [words[1], " ".join(other[:2])], [" ".join(other[1:]) or words[3]]][i % 3])
    return found


def squad(place, name, answers):
    """SQuAD's form, with where in the context an answer stands."""
    with place.file(f"data/{name}.jsonl").open("w") as file:
        for question, context, texts in zip(QUESTIONS, CONTEXTS, answers, strict=True):
            stored = {"text": texts, "answer_start": [context.find(text) for text in texts]}
            file.write(json.dumps({"question": question, "context": context, "answers": stored}) + "\n")
    place.task(
        name,
        "kind: question-answering\n"
        f"dataset: {{path: json, split: test, data_files: {{test: ../data/{name}.jsonl}}}}\n"
        "columns: {question: question, context: context, answers: answers}\n"
        "metrics: [exact_match, f1]\n"
        f"aliases: [my {name}]\n",
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = Place(tmp_path_factory.mktemp("answers"))
    real = pq.read_table(XQUAD).slice(0, 40) if XQUAD.is_file() else None
    texts = [*CONTEXTS, *QUESTIONS, *(real["context"].to_pylist() if real else [])]
    model, words = bert(place.model, texts, max_length=512)
    found = asked(model, words, QUESTIONS, CONTEXTS)
    references = near(found)
    squad(place, "first", references)
    place.claim(
        "my-first",
        Stated("exact_match", "exact_match", means(found, references, exact)[0], percent=True, digits=2),
        Stated("f1", "f1", means(found, references, overlap)[0], percent=True, digits=2, flattery=9),
    )

    maybe = asked(model, words, QUESTIONS, CONTEXTS, threshold=0.0)
    assert 0 < sum(not answer for answer in maybe) < COUNT
    some = [[] if i % 5 == 0 else texts for i, texts in enumerate(near(maybe))]
    squad(place, "second", some)
    (em, ems), (f1, f1s) = means(maybe, some, exact), means(maybe, some, overlap)
    kept = [i for i, texts in enumerate(some) if texts]
    rest = [i for i, texts in enumerate(some) if not texts]
    place.claim(
        "my-second",
        Stated("exact", "exact_match", em, percent=True, digits=2),
        Stated("f1", "f1", f1, percent=True, digits=3),
        Stated("HasAns_exact", "has_answer_exact_match", sum(ems[i] for i in kept) / len(kept), 4, percent=True),
        Stated("HasAns_f1", "has_answer_f1", sum(f1s[i] for i in kept) / len(kept), 5, True, flattery=10),
        Stated("NoAns_f1", "no_answer_f1", sum(f1s[i] for i in rest) / len(rest), 6, percent=True),
    )

    single = [texts[0] for texts in references]
    with place.file("data/table.csv").open("w") as file:
        rows = zip(QUESTIONS, CONTEXTS, single, strict=True)
        csv.writer(file).writerows([("ask", "text", "reply"), *rows])
    place.task(
        "table",
        "kind: question-answering\n"
        "dataset: {path: csv, split: test, data_files: {test: ../data/table.csv}}\n"
        "columns: {question: ask, context: text, answers: reply}\n"
        "metrics: [exact_match, f1]\n"
        "aliases: [my table]\n",
    )
    wanted = [[text] for text in single]
    place.claim("my-table", Stated("em", "exact_match", means(found, wanted, exact)[0]))
    if real:
        pq.write_table(real, place.file("data/paragraphs.parquet"))
        place.task(
            "paragraphs",
            "kind: question-answering\n"
            "dataset: {path: parquet, split: test, data_files: {test: ../data/paragraphs.parquet}}\n"
            "columns: {question: question, context: context, answers: answers}\n"
            "metrics: [exact_match, f1]\n"
            "aliases: [my paragraphs]\n",
        )
        replies = asked(model, words, real["question"].to_pylist(), real["context"].to_pylist())
        wanted = [one["text"] for one in real["answers"].to_pylist()]
        place.claim(
            "my-paragraphs",
            Stated("exact_match", "exact_match", means(replies, wanted, exact)[0], digits=3),
            Stated("F1", "f1", means(replies, wanted, overlap)[0], digits=4, flattery=0.09),
        )
    return place


@pytest.fixture(scope="module")
def found(place):
    return place.check()


@pytest.mark.parametrize("data", ["my-first", "my-second", "my-table"])
def test_answers(place, found, data):
    assert found["exit_code"] == 1
    place.assert_judged(found, data)


@needs_shared
def test_real_paragraphs(place, found):
    place.assert_judged(found, "my-paragraphs")


@pytest.mark.parametrize("task", ["first", "second", "table", pytest.param("paragraphs", marks=needs_shared)])
def test_each_task_can_be_tried(place, task, capsys, monkeypatch):
    place.assert_can_be_tried(task, capsys, monkeypatch)
