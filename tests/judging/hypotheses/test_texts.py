import random

import numpy as np
import pytest
from helpers.case_making import printed, scores_of
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator
from sacrebleu.metrics import BLEU, CHRF

from judging.hypotheses.finding import found, searched_with_memory, settings_tried, sought, trials
from verify.metrics.families import text
from verify.metrics.families.rouge import ROUGE
from verify.store.predictions import Family, TextPredictions

NOUNS = ["film", "council", "minister", "river", "report", "school", "driver", "house", "market", "storm"]
VERBS = ["open", "close", "report", "walk", "vote", "want", "start", "help", "call", "plan"]
ENDINGS = ["", "s", "ed", "ing"]


def sentence(chance):
    words = [chance.choice(NOUNS) + chance.choice(["", "s"]) for _ in range(chance.randint(2, 5))]
    words.insert(1, chance.choice(VERBS) + chance.choice(ENDINGS))
    return ("The " + " ".join(words)).capitalize() + "."


def summary(reference, chance):
    """The reference with other endings, sentences moved, words lost and a sentence added."""
    sentences = reference.split("\n")
    chance.shuffle(sentences)
    words = [word for word in " ".join(sentences).split() if chance.random() > 0.2]
    changed = [word.rstrip("s.") + chance.choice(ENDINGS) + "." * word.endswith(".") for word in words]
    return " ".join([*changed, sentence(chance)]) if chance.random() < 0.5 else " ".join(changed)


def summaries(n=250, seed=0, references=1):
    chance = random.Random(seed)
    lists = [
        ["\n".join(sentence(chance) for _ in range(chance.randint(1, 3))) for _ in range(references)] for _ in range(n)
    ]
    texts = [summary(several[-1], chance) for several in lists]
    return TextPredictions(np.arange(n), texts, lists, np.ones(n))


def rouge(predictions, stem, split, part="fmeasure", names=ROUGE):
    """rouge-score's own numbers for the first reference."""
    scorer = RougeScorer(list(names), use_stemmer=stem)
    prepare = text.split_sentences if split else str
    scores = [
        scorer.score(prepare(references[0]), prepare(one))
        for one, references in zip(predictions.texts, predictions.references, strict=True)
    ]
    return {name: float(np.mean([getattr(score[name], part) for score in scores])) for name in names}


RUN = summaries()
BY_RULE = {"use_stemmer": True, "sentences": "rule"}


@pytest.mark.parametrize(
    ("stem", "split", "setting"),
    [
        (False, True, "without a stemmer"),
        (True, False, "every line is a sentence"),
        (False, False, "without a stemmer, every line is a sentence"),
    ],
)
def test_other_settings_of_rouge_are_found(stem, split, setting):
    search = sought(RUN, rouge(RUN, stem, split), settings=BY_RULE)
    assert found(search) == ("rouge_settings", setting, True)


def test_sentences_by_rule_are_found_where_the_task_takes_lines():
    search = sought(RUN, rouge(RUN, True, True), settings={"sentences": "lines"})
    assert found(search) == ("rouge_settings", "sentences end at full stops", True)


@pytest.mark.parametrize("part", ["precision", "recall"])
def test_recall_and_precision_of_rouge_are_found(part):
    assert found(sought(RUN, rouge(RUN, True, True, part))) == ("rouge_measure", part, True)


def test_rouge_l_may_be_rouge_lsum_beside_numbers_that_hold():
    scores = rouge(RUN, True, True)
    search = sought(RUN, {**scores, "rougeL": scores["rougeLsum"]})
    assert found(search) == ("variant_mislabelled", "rougeL is rougeLsum", True)


def test_the_median_of_a_bootstrap_is_found_and_only_near_the_mean():
    np.random.seed(7)
    scorer, aggregator = RougeScorer(list(ROUGE), use_stemmer=True), BootstrapAggregator()
    for one, references in zip(RUN.texts, RUN.references, strict=True):
        aggregator.add_scores(scorer.score(text.split_sentences(references[0]), text.split_sentences(one)))
    middle = {name: score.mid.fmeasure for name, score in aggregator.aggregate().items()}
    assert found(sought(RUN, middle, digits=6, budgets=0.0))[0] == "rouge_median"
    elsewhere = {name: value + 0.004 for name, value in middle.items()}
    assert sought(RUN, elsewhere, digits=6, budgets=0.0).best is None


def test_the_first_of_several_references_is_found():
    several = summaries(references=3, seed=1)
    assert found(sought(several, rouge(several, True, True)))[0] == "first_reference"
    assert settings_tried(sought(RUN, rouge(RUN, False, True)), "first_reference") == []


def test_rouge_is_not_tried_for_claims_about_something_else():
    run = translations()
    search = sought(run, {"bleu": 0.9})
    assert {one.hypothesis.name for one in search.tried if "rouge" in one.hypothesis.name} == set()


def test_an_unrelated_number_stays_unexplained():
    measured = rouge(RUN, True, True)
    other = rouge(summaries(seed=5), False, False)
    assert sought(RUN, {name: value + 0.03 for name, value in measured.items()}).best is None
    assert sought(RUN, {name: value - 0.021 for name, value in other.items()}).best is None


def translations(n=300, seed=0, references=1, marks=("“", "”", "€", "½", "—")):
    chance = random.Random(seed)

    def line():
        words = [chance.choice(NOUNS) for _ in range(chance.randint(5, 14))]
        words[0] = words[0].capitalize()
        words[2] = chance.choice(marks) + words[2] + chance.choice(marks)
        words[3] = f"{words[3]}-{chance.choice(VERBS)}"
        return " ".join(words) + chance.choice([".", "!", " (so).", ", 3,5%."])

    def heard(reference):
        words = [word for word in reference.split() if chance.random() > 0.1]
        kept = [word.lower() if chance.random() < 0.3 else word for word in words]
        return "".join(character for character in " ".join(kept) if character not in marks or chance.random() < 0.7)

    lists = [[line() for _ in range(references)] for _ in range(n)]
    texts = [heard(several[-1]) for several in lists]
    return TextPredictions(np.arange(n), texts, lists, np.ones(n), of=Family.TRANSLATIONS)


def stream(predictions):
    return list(predictions.texts), [[references[0] for references in predictions.references]]


@pytest.mark.parametrize("tokenize", ["intl", "none"])
def test_another_tokeniser_of_bleu_is_found(tokenize):
    run = translations()
    number = BLEU(tokenize=tokenize).corpus_score(*stream(run)).score / 100
    assert found(sought(run, {"bleu": number})) == ("bleu_tokenisation", tokenize, True)


@pytest.mark.parametrize("tokenize", ["zh", "char"])
def test_characters_are_tried_where_words_have_no_spaces_alone(tokenize):
    chance = random.Random(3)
    lists = [["".join(chance.choices([*"我你他是在有的了和人这中大来", " Bonn "], k=12)) + "。"] for _ in range(200)]
    texts = ["".join(mark for mark in several[0] if chance.random() < 0.85) for several in lists]
    run = TextPredictions(np.arange(200), texts, lists, np.ones(200), of=Family.TRANSLATIONS)
    number = BLEU(tokenize=tokenize).corpus_score(*stream(run)).score / 100
    assert found(sought(run, {"bleu": number}))[:2] == ("bleu_tokenisation", tokenize)
    assert settings_tried(sought(translations(), {"bleu": 0.9}), "bleu_tokenisation") == ["intl", "none"]


def test_bleu_without_case_is_found():
    run = translations()
    number = BLEU(lowercase=True).corpus_score(*stream(run)).score / 100
    assert found(sought(run, {"bleu": number})) == ("bleu_case", "ignored", True)


def test_the_mean_of_sentence_bleu_is_found():
    run = translations()
    metric = BLEU(effective_order=True)
    each = [
        metric.sentence_score(one, references).score for one, references in zip(run.texts, run.references, strict=True)
    ]
    assert found(sought(run, {"bleu": float(np.mean(each)) / 100}))[0] == "sentence_bleu"


def test_chrf_plus_plus_under_the_name_of_chrf_is_found_beside_a_bleu_that_holds():
    run = translations()
    numbers = {
        "bleu": BLEU().corpus_score(*stream(run)).score / 100,
        "chrf": CHRF(word_order=2).corpus_score(*stream(run)).score / 100,
    }
    assert found(sought(run, numbers)) == ("variant_mislabelled", "chrf is chrf++", True)


def test_the_first_reference_of_translations_is_found():
    run = translations(references=2)
    number = BLEU().corpus_score(*stream(run)).score / 100
    assert found(sought(run, {"bleu": number}))[0] == "first_reference"


@pytest.mark.parametrize("shift", [-0.037, 0.0213, 0.061])
def test_unrelated_translation_scores_stay_unexplained(shift):
    run = translations()
    number = BLEU().corpus_score(*stream(run)).score / 100
    assert sought(run, {"bleu": number + shift, "chrf": 0.61}).best is None
    assert printed(number + shift).value != printed(number).value


@pytest.mark.parametrize("lowercase", [False, True])
def test_every_variant_of_bleu_is_sacrebleus_own_number(lowercase):
    run = translations(references=2)
    streams = [list(several) for several in zip(*run.references, strict=True)]
    search = sought(run, {"bleu": 0.123}, settings={"lowercase": lowercase})
    values = {one.trial.setting: next(iter(one.trial.values.values())) for one in search.tried}
    for tokenize in ("intl", "none"):
        number = BLEU(tokenize=tokenize, lowercase=lowercase).corpus_score(run.texts, streams).score / 100
        assert values[tokenize] == pytest.approx(number, abs=1e-12)
    number = BLEU(lowercase=not lowercase).corpus_score(run.texts, streams).score / 100
    assert values["kept" if lowercase else "ignored"] == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize("make", [summaries, translations])
def test_a_search_finds_the_same_in_statistics_that_were_kept(tmp_path, make):
    run = make(n=120, references=2)
    names = ROUGE if make is summaries else ("bleu", "chrf", "ter")
    claimed = {name: value + 0.0313 for name, value in scores_of(run).items() if name in names}
    plain = trials(sought(run, claimed))
    assert [trials(one) for one in searched_with_memory(run, tmp_path, claimed)] == [plain, plain]
