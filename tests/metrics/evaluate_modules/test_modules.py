import math
import os
import re
import subprocess
import sys
from pathlib import Path

import evaluate
import numpy as np
import pytest

from verify.errors import UsageError
from verify.metrics.evaluate_modules.modules import module
from verify.metrics.names import METRICS
from verify.metrics.registry import measure
from verify.metrics.undefined import UndefinedScoreError
from verify.store.predictions import (
    AnswerPredictions,
    Family,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
)

ROOT = Path(__file__).parents[3]
GENERATOR = np.random.default_rng(7)


def classifier(columns):
    logits = GENERATOR.normal(size=(120, columns)).astype(np.float32)
    return LabelPredictions(np.arange(120), logits, GENERATOR.integers(0, columns, 120), tuple(range(columns)))


def regressor():
    logits = GENERATOR.normal(size=(50, 1)).astype(np.float32)
    return LabelPredictions(np.arange(50), logits, GENERATOR.normal(size=50), None)


@pytest.mark.parametrize("run", [classifier(2), classifier(8), regressor()], ids=["binary", "eight classes", "values"])
def test_every_module_gives_the_score_of_its_kernel(run, tmp_path):
    scores, notes = measure(run)
    assert notes == ()
    for name, score in scores.items():
        if run.is_regression:
            inputs = run.logits[:, 0].tolist()
        else:
            inputs = run.logits.tolist() if name in ("loss", "top5_accuracy") else run.logits.argmax(axis=1).tolist()
        metric = module(name, cache_dir=str(tmp_path))
        assert isinstance(metric, evaluate.Metric)
        assert metric.name == name
        result = metric.compute(predictions=inputs, references=run.reference.tolist())
        assert result == {name: score.value}
        assert type(result[name]) is float


def texts(family, *, several):
    predicted = ["It was late. The cats ran.", "Der Hund — ja!", "nothing", "all of this is right here"]
    references = [
        ["It was late, the cat ran.", "x"],
        ["Der Hund, ja!"],
        ["something else"],
        ["all of this is right here"],
    ]
    inputs = {"predictions": predicted, "references": references if several else [one[0] for one in references]}
    accepted = references if several else [one[:1] for one in references]
    return TextPredictions(np.arange(4), predicted, accepted, np.zeros(4), of=family), inputs


def label_sets():
    reference = GENERATOR.integers(0, 2, (30, 4))
    logits = GENERATOR.normal(size=(30, 4)).astype(np.float32)
    run = LabelSetPredictions(np.arange(30), logits, reference == 1, (0, 1, 2, 3))
    return run, {"predictions": (logits > 0).astype(int).tolist(), "references": reference.tolist()}


def tags():
    predicted = [["B-PER", "I-PER", "O"], ["B-LOC", "O"], ["O", "B-ORG", "I-ORG", "I-LOC"]]
    reference = [["B-PER", "I-PER", "O"], ["B-ORG", "O"], ["O", "B-ORG", "I-ORG", "O"]]
    margins = [[1.0] * len(row) for row in predicted]
    run = TagPredictions(np.arange(3), predicted, reference, margins, "IOB2")
    return run, {"predictions": predicted, "references": reference}


def answers(null_scores=(-np.inf,) * 3):
    predicted, accepted = ["the Eiffel Tower", "1990", ""], [["Eiffel Tower", "a tower"], ["in 1991"], []]
    lists = [[]] * 3
    run = AnswerPredictions(np.arange(3), predicted, lists, lists, np.array(null_scores), accepted, np.zeros(3))
    return run, {"predictions": predicted, "references": accepted}


def similarities():
    similarity, ratings = GENERATOR.normal(size=(20, 4)), GENERATOR.normal(size=20)
    return SimilarityPredictions(np.arange(20), similarity, ratings)


def likelihoods(unit="document"):
    counts = {"tokens": [5, 7, 2], "words": [4, 5, 1], "bytes": [20, 31, 9], "hits": [2, 7, 0]}
    columns = {"nll": np.array([9.5, 12.25, 4.0]), **{name: np.array(count) for name, count in counts.items()}}
    return LikelihoodPredictions(np.arange(3), **columns, unit=unit), columns


def computed(name, tmp_path, family=None, **inputs):
    return module(name, family, cache_dir=str(tmp_path)).compute(**inputs)


@pytest.mark.parametrize("several", [True, False], ids=["several references", "one reference"])
@pytest.mark.parametrize("family", [Family.SUMMARIES, Family.TRANSLATIONS, Family.TRANSCRIPTS])
def test_text_modules_give_the_scores_of_a_run(family, several, tmp_path):
    run, inputs = texts(family, several=several)
    scores, notes = measure(run)
    assert notes == ()
    assert set(scores) == {name for name, metric in METRICS.items() if family in metric.families}
    for name, score in scores.items():
        assert computed(name, tmp_path, family, **inputs) == {name: score.value}


@pytest.mark.parametrize(("run", "inputs"), [label_sets(), tags(), answers()], ids=["label sets", "tags", "answers"])
def test_modules_of_other_families_give_the_scores_of_a_run(run, inputs, tmp_path):
    scores, _ = measure(run)
    of_logits = {"loss", "roc_auc_micro", "roc_auc_macro", "pr_auc"} if run.family is Family.MULTI_LABEL else set()
    named = {name for name in scores if name in METRICS and run.family in METRICS[name].families}
    assert len(named) > 5
    for name in named:
        given = {**inputs, "predictions": run.logits.tolist()} if name in of_logits else inputs
        assert computed(name, tmp_path, run.family, **given) == {name: scores[name].value}


def test_similarity_modules_take_the_similarity_that_their_name_says(tmp_path):
    run = similarities()
    for name, score in measure(run)[0].items():
        column = {"dot": 1, "manhattan": 2, "euclidean": 3}.get(name.split("_")[0], 0)
        inputs = {"predictions": run.similarity[:, column], "references": run.reference}
        assert computed(name, tmp_path, "similarity", **inputs) == {name: score.value}
        if column == 0:
            assert computed(name, tmp_path, **inputs) == {name: score.value}


@pytest.mark.parametrize("unit", ["document", "last word"])
def test_likelihood_modules_take_sums_under_their_own_names(unit, tmp_path):
    run, columns = likelihoods(unit)
    scores, _ = measure(run)
    assert set(scores) == {name for name, metric in METRICS.items() if Family.LIKELIHOOD in metric.families}
    for name, score in scores.items():
        loaded = module(name, "likelihood", cache_dir=str(tmp_path))
        inputs = {column: columns[column] for column in loaded.features}
        if unit == "last word" and name == "perplexity":
            score = scores["loss"]  # of a run it is per word; the module knows only the tokens that it is given
            assert scores[name].value == scores["word_perplexity"].value
            assert loaded.compute(**inputs)[name] == pytest.approx(math.exp(score.value))
            continue
        assert loaded.compute(**inputs, **({"unit": unit} if name == "accuracy" else {})) == {name: score.value}


def test_answers_are_also_taken_as_the_records_of_squad(tmp_path):
    run, inputs = answers((-2.0, 3.0, 1.0))
    predictions = [
        {"id": str(row), "prediction_text": text, "no_answer_probability": run.null_scores[row]}
        for row, text in enumerate(inputs["predictions"])
    ]
    references = [
        {"id": str(row), "answers": {"text": accepted, "answer_start": [0] * len(accepted)}}
        for row, accepted in enumerate(inputs["references"])
    ]
    scores, _ = measure(run)
    assert {"best_f1", "no_answer_f1", "f1"} < set(scores)
    for name, score in scores.items():
        given = {"predictions": predictions[::-1], "references": references}
        loaded = module(name, "answers", config_name="squad_v2", cache_dir=str(tmp_path))
        assert loaded.compute(**given) == {name: score.value}
    plain = [{key: row[key] for key in ("id", "prediction_text")} for row in predictions]
    assert computed("f1", tmp_path, "answers", predictions=plain, references=references) == {"f1": scores["f1"].value}
    with pytest.raises(UsageError, match="ids of predictions and references must be the same"):
        computed("f1", tmp_path, "answers", predictions=[plain[0]] * 3, references=references)


def test_keywords_are_the_settings_of_a_task(tmp_path):
    speech = {"predictions": ["LATE, Yes"], "references": ["late yes"]}
    assert computed("wer", tmp_path, **speech) == {"wer": 1}
    assert computed("wer", tmp_path, **speech, normalizer="no_punctuation") == {"wer": 0}
    words = {"predictions": ["Cats Ran Away Now"], "references": ["cats ran away now"]}
    assert computed("bleu", tmp_path, **words) == {"bleu": 0}
    assert computed("bleu", tmp_path, **words, lowercase=True, tokenize="char") == {"bleu": 1}
    summary = {"predictions": ["cats running"], "references": ["cat runs"]}
    assert computed("rouge1", tmp_path, **summary) == {"rouge1": 1}
    assert computed("rouge1", tmp_path, **summary, use_stemmer=False) == {"rouge1": 0}
    entities = {"predictions": [["I-PER", "O"]], "references": [["I-PER", "O"]]}
    assert computed("f1_strict", tmp_path, **entities, scheme="IOB1") == {"f1_strict": 1}
    assert computed("f1_strict", tmp_path, **entities, scheme="IOB2") == {"f1_strict": 0}
    run, sets = label_sets()
    for average in ("macro", "micro", "weighted", "samples"):
        value = measure(run)[0][f"recall_{average}"].value
        assert computed("recall", tmp_path, "multi-label", **sets, average=average) == {"recall": value}


@pytest.mark.parametrize(
    ("name", "family", "inputs", "says"),
    [
        ("bleu", None, {"tokenize": "mecab"}, "13a, intl, zh, char, none, not 'mecab'"),
        ("chrf", None, {"tokenize": "13a"}, '"chrf" takes no tokenize='),
        ("bleu", None, {"smooth_method": "exp"}, '"bleu" takes tokenize, lowercase and no smooth_method='),
        ("wer", None, {"normalizer": "whisper"}, "whisper_english, not 'whisper'"),
        ("rougeLsum", None, {"sentences": "punkt"}, "rule or lines, not 'punkt'"),
        ("f1", "tagging", {"predictions": [["O"]], "references": [["O"]], "scheme": "BIO"}, "BILOU, none, not 'BIO'"),
        ("f1", "tagging", {"predictions": [["O"]], "references": [["O", "O"]]}, "1 of 1 rows have another number"),
        ("f1", "multi-label", {"predictions": [[1]], "references": [[1]]}, "macro | micro | weighted | samples"),
        ("f1_macro", "multi-label", {"predictions": [[1, 0]], "references": [[1]]}, "1 × 2 and 1 × 1"),
        ("f1_macro", "multi-label", {"predictions": [[1], [1, 0]], "references": [[1], [1]]}, "rows of 1 and 2"),
    ],
)
def test_inputs_that_a_module_cannot_use_are_refused(name, family, inputs, says, tmp_path):
    given = {"predictions": ["a"], "references": ["b"], **inputs}
    with pytest.raises(UsageError, match=re.escape(says)):
        computed(name, tmp_path, family, **given)


def test_a_unit_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(UsageError, match="document or last word, not 'word'"):
        computed("accuracy", tmp_path, "likelihood", hits=[1], tokens=[2], unit="word")


def test_a_family_that_lacks_the_metric_is_refused():
    with pytest.raises(UsageError, match='"wer" has the family transcripts, not "tagging"'):
        module("wer", "tagging")
    with pytest.raises(UsageError, match='not "words"'):
        module("f1", "words")


def test_a_metric_that_the_data_have_nothing_for_is_undefined(tmp_path):
    with pytest.raises(UndefinedScoreError, match="no_answer_f1 is undefined: these data have nothing"):
        computed("no_answer_f1", tmp_path, predictions=["a"], references=[["a"]])
    with pytest.raises(UndefinedScoreError, match="wer is undefined"):
        computed("wer", tmp_path, predictions=["a"], references=[""])


def test_every_canonical_name_has_a_module_that_describes_itself_in_every_family(tmp_path):
    for name, metric in METRICS.items():
        for family in (None, *metric.families):
            loaded = module(name, family, cache_dir=str(tmp_path))
            assert loaded.name == name
            assert loaded.description == metric.summary
            features = loaded.features[0] if isinstance(loaded.features, list) else loaded.features
            assert all(column in loaded.inputs_description for column in features)


def test_bare_names_take_an_average_as_evaluate_users_expect(tmp_path):
    run = classifier(3)
    arrays = {"predictions": run.logits.argmax(axis=1), "references": run.reference}
    scores, _ = measure(run)
    for name in ("f1", "precision", "recall"):
        metric = module(name, cache_dir=str(tmp_path))
        for average in ("macro", "micro", "weighted"):
            assert metric.compute(**arrays, average=average)[name] == scores[f"{name}_{average}"].value
    assert module("f1", cache_dir=str(tmp_path)).compute(predictions=[1, 1, 0], references=[1, 0, 0]) == {
        "f1": pytest.approx(2 / 3)
    }


def test_batches_and_arrays_add_up(tmp_path):
    run = classifier(8)
    metric = module("loss", cache_dir=str(tmp_path))
    for start in range(0, 120, 50):
        metric.add_batch(predictions=run.logits[start : start + 50], references=run.reference[start : start + 50])
    assert metric.compute() == {"loss": measure(run)[0]["loss"].value}


@pytest.mark.parametrize(
    ("name", "keywords", "says"),
    [
        ("f1", {}, "needs two classes, and there are 3"),
        ("f1", {"average": "samples"}, "average='samples'"),
        ("f1", {"labels": [1]}, "labels="),
        ("accuracy", {"normalize": False}, "takes no normalize"),
    ],
)
def test_arguments_that_a_module_cannot_honour_are_refused(name, keywords, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        module(name, cache_dir=str(tmp_path)).compute(predictions=[0, 1, 2], references=[0, 1, 1], **keywords)


def test_undefined_scores_and_unknown_names(tmp_path):
    with pytest.raises(UndefinedScoreError, match="all 2 predictions are 1"):
        module("pearson", cache_dir=str(tmp_path)).compute(predictions=[1.0, 1.0], references=[1.0, 2.0])
    with pytest.raises(UndefinedScoreError, match="no examples"):
        module("accuracy", cache_dir=str(tmp_path)).compute(predictions=[], references=[])
    with pytest.raises(UsageError, match='Did you mean "accuracy"'):
        module("acuracy")


def test_modules_combine_without_a_network(tmp_path):
    code = (
        "import socket\n"
        "def refuse(*_): raise OSError('a test without network reached for one')\n"
        "socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse\n"
        "import evaluate\n"
        "from verify.metrics.evaluate_modules.modules import module\n"
        "both = evaluate.combine([module('accuracy'), module('f1_macro'), module('matthews_correlation')])\n"
        "both.add_batch(references=[0, 1], predictions=[0, 1])\n"
        "both.add_batch(references=[2, 2], predictions=[2, 1])\n"
        "print(sorted(both.compute().items()))"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    names = ["accuracy", "f1_macro", "matthews_correlation"]
    reference, predicted = np.array([0, 1, 2, 2]), np.array([0, 1, 2, 1])
    run = LabelPredictions(np.arange(4), np.eye(3, dtype=np.float32)[predicted], reference, (0, 1, 2))
    scores, _ = measure(run, only=names)
    assert done.stdout.strip() == str([(name, scores[name].value) for name in names])
