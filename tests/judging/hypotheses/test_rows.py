from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset
from helpers.case_making import case, classified, label_sets, printed
from scipy.stats import spearmanr
from sklearn.metrics import accuracy_score, f1_score, log_loss

from judging.hypotheses.finding import found, settings_tried, sought
from judging.hypotheses.test_answers import answered
from judging.hypotheses.test_speech import transcripts
from judging.hypotheses.test_tags import tagged
from judging.hypotheses.test_texts import summaries, translations
from verify.judging.explain import search
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.metrics.families.classification import predicted_labels
from verify.metrics.registry import measure
from verify.store.predictions import LabelPredictions, LikelihoodPredictions, SimilarityPredictions, subset

RUN = classified(2400, shares=(0.5, 0.3, 0.2), skill=1.2)


def labels(run):
    return run.reference, predicted_labels(run.logits, run.label_of_logit)


def of_rows(run, rows):
    reference, predicted = (side[rows] for side in labels(run))
    return {
        "accuracy": accuracy_score(reference, predicted),
        "f1_macro": f1_score(reference, predicted, average="macro"),
    }


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [100, 500, 512, 1000, 2048])
def test_first_rows_quoted_as_the_whole_are_found(size):
    search = sought(RUN, of_rows(RUN, slice(size)), digits=6)
    assert found(search) == ("first_rows", f"the first {size:,} of 2,400 rows", True)


def test_shuffled_rows_are_those_that_datasets_draws():
    drawn = Dataset.from_dict({"row": list(range(2400))}).shuffle(seed=42).select(range(1000))["row"]
    search = sought(RUN, of_rows(RUN, np.array(drawn)), digits=6)
    assert found(search) == ("first_rows", "1,000 of 2,400 rows, as shuffle(seed=42) draws them", True)


def test_the_loss_of_first_rows_is_that_of_scikit_learn():
    numbers = {"accuracy": of_rows(RUN, slice(500))["accuracy"]}
    numbers["loss"] = log_loss(RUN.reference[:500], softmax(RUN.logits[:500]), labels=[0, 1, 2])
    assert found(sought(RUN, numbers, digits=6))[1] == "the first 500 of 2,400 rows"


def test_a_dropped_last_batch_is_found():
    run = classified(2429, shares=(0.5, 0.3, 0.2), skill=0.6)
    search = sought(run, of_rows(run, slice(2429 - 2429 % 128)), digits=6, budgets=0.0)
    assert found(search)[:2] == ("last_batch_dropped", "the first 2,304 of 2,429 rows fill batches of 128")


def test_a_mean_over_batches_is_found():
    batches = [of_rows(RUN, slice(start, start + 16)) for start in range(0, 2400, 16)]
    search = sought(RUN, {"f1_macro": float(np.mean([one["f1_macro"] for one in batches]))}, digits=6)
    assert found(search) == ("mean_over_batches", "batches of 16", True)


def test_an_open_average_is_read_in_every_way():
    weighted = f1_score(*(side[:1000] for side in labels(RUN)), average="weighted")
    search = sought(RUN, {"f1": weighted}, digits=6)
    assert found(search)[:2] == ("first_rows", "the first 1,000 of 2,400 rows, averaged weighted")


def test_dropped_repetitions_are_found():
    rows = np.concatenate([np.arange(900), np.arange(0, 900, 3)])
    many = LabelPredictions(np.arange(1200), RUN.logits[rows], RUN.reference[rows], RUN.label_of_logit)
    search = sought(many, of_rows(RUN, slice(900)), digits=6, budgets=0.0)
    assert found(search)[:2] == ("repetitions_dropped", "300 of 1,200 rows")
    assert settings_tried(sought(RUN, {"accuracy": 0.1}), "repetitions_dropped") == []


def test_rows_are_those_of_the_split_where_some_were_left_out():
    kept = replace(RUN, example=RUN.example * 2)
    assert found(sought(kept, of_rows(RUN, slice(500)), digits=6))[1] == "the first 1,000 of 2,400 rows"


def similarities(n=1300, seed=0):
    chance = np.random.default_rng(seed)
    rating = chance.uniform(0, 5, n).round(1)
    values = np.stack([rating + chance.normal(0, 1.5 + column, n) for column in range(4)], axis=1)
    return SimilarityPredictions(np.arange(n), values, rating)


def likelihoods(n=1300, seed=0):
    chance = np.random.default_rng(seed)
    tokens = chance.integers(5, 200, n)
    return LikelihoodPredictions(
        np.arange(n), tokens * chance.gamma(9, 0.4, n), tokens, tokens - 1, tokens * 4, tokens // 3
    )


RUNS = {
    "labels": (RUN, ("accuracy", "f1_macro", "matthews_correlation", "loss")),
    "label sets": (label_sets(1300), ("f1_micro", "f1_macro", "roc_auc_macro", "accuracy")),
    "similarities": (similarities(), ("spearman", "pearson", "euclidean_spearman")),
    "likelihoods": (likelihoods(), ("perplexity", "accuracy")),
    "tags": (tagged(600), ("f1", "accuracy", "f1_strict", "f1_macro")),
    "answers": (answered(600), ("exact_match", "f1", "has_answer_f1", "best_f1", "best_exact_match")),
    "summaries": (summaries(300), ("rouge1", "rouge2", "rougeL", "rougeLsum")),
    "translations": (translations(300), ("bleu", "chrf", "ter")),
    "transcripts": (transcripts(300), ("wer", "cer", "mer", "ser")),
}


@pytest.mark.parametrize("name", RUNS)
def test_first_rows_of_every_family_score_as_a_run_of_these_rows_alone(name):
    run, metrics = RUNS[name]
    about = case(run, [printed(0.123, metric=metric) for metric in metrics])
    part, _ = measure(subset(run, run.example < 200), about.settings)
    trials = [
        one.trial
        for one in search(about, HYPOTHESES).tried
        if one.hypothesis.name == "first_rows" and one.trial.setting.startswith("the first 200 ")
    ]
    assert len(trials) == 1
    for claim in about.claims:
        assert trials[0].values[claim.claim_id] == pytest.approx(part[claim.metric].value, abs=1e-9), claim.metric


def test_a_rank_correlation_averaged_over_batches_is_found():
    run = similarities()
    starts = range(0, 1300, 32)
    each = [spearmanr(run.similarity[at : at + 32, 0], run.reference[at : at + 32]).statistic for at in starts]
    search = sought(run, {"spearman": float(np.mean(each))}, digits=6)
    assert found(search) == ("mean_over_batches", "batches of 32", True)


@pytest.mark.parametrize("shift", [-0.0731, 0.0517])
def test_unrelated_numbers_stay_unexplained(shift):
    whole = of_rows(RUN, slice(None))
    assert sought(RUN, {name: value + shift for name, value in whole.items()}, digits=6).best is None


def test_small_runs_have_no_first_rows():
    small = classified(90)
    assert settings_tried(sought(small, {"accuracy": 0.123}), "first_rows") == []
