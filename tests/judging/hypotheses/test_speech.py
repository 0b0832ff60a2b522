import random

import jiwer
import numpy as np
import pytest
from transformers.models.whisper.english_normalizer import BasicTextNormalizer, EnglishTextNormalizer

from judging.hypotheses.finding import found, searched_with_memory, settings_tried, sought, trials
from verify.metrics.families.speech import no_punctuation
from verify.store.predictions import Family, TextPredictions

WORDS = ["it's", "colour", "twenty-one", "Mr.", "don't", "house", "going", "(laughs)", "naïve", "£5", "well,", "Yes!"]


def transcripts(n=300, seed=0):
    chance = random.Random(seed)
    references, texts = [], []
    for _ in range(n):
        words = [chance.choice(WORDS) for _ in range(chance.randint(1, 15))]
        heard = [word.lower() if chance.random() < 0.4 else word for word in words if chance.random() > 0.08]
        heard = [word.strip(",.!") if chance.random() < 0.5 else word for word in heard]
        heard = [chance.choice(WORDS) if chance.random() < 0.06 else word for word in heard]
        references.append([" ".join(words)])
        texts.append(" ".join(heard))
    return TextPredictions(np.arange(n), texts, references, np.ones(n), of=Family.TRANSCRIPTS)


def rates(predictions, normalise):
    references = [normalise(texts[0]) for texts in predictions.references]
    texts = [normalise(text) for text in predictions.texts]
    return {"wer": jiwer.wer(references, texts), "cer": jiwer.cer(references, texts)}


RUN = transcripts()


@pytest.mark.parametrize(
    ("normalise", "setting"),
    [
        (str.lower, "case is ignored"),
        (no_punctuation, "case and punctuation are ignored"),
        (BasicTextNormalizer(), "Whisper's basic normaliser"),
        (EnglishTextNormalizer({}), "Whisper's English normaliser"),
    ],
)
def test_another_normaliser_is_found(normalise, setting):
    assert found(sought(RUN, rates(RUN, normalise))) == ("normaliser", setting, True)


def test_texts_as_they_are_are_found_where_the_task_normalises():
    search = sought(RUN, rates(RUN, str), settings={"normalizer": "whisper_basic"})
    assert found(search) == ("normaliser", "texts are compared as they are", True)


def test_the_normaliser_for_english_is_not_tried_on_german():
    search = sought(RUN, rates(RUN, str.lower), settings={"language": "german"})
    assert "Whisper's English normaliser" not in settings_tried(search, "normaliser")


def test_character_errors_under_the_name_of_word_errors_are_found():
    search = sought(RUN, {"wer": rates(RUN, str)["cer"]})
    assert found(search) == ("rate_mislabelled", "wer is cer", True)


def test_the_mean_of_utterances_is_found():
    each = [jiwer.wer(references[0], text) for text, references in zip(RUN.texts, RUN.references, strict=True)]
    assert found(sought(RUN, {"wer": float(np.mean(each))}))[0] == "mean_of_rates"


def test_the_share_of_right_words_is_found():
    search = sought(RUN, {"wer": 1 - rates(RUN, str)["wer"]})
    assert found(search)[0] == "complement"


@pytest.mark.parametrize("shift", [-0.0313, 0.0471])
def test_an_unrelated_rate_stays_unexplained(shift):
    assert sought(RUN, {name: value + shift for name, value in rates(RUN, str).items()}).best is None


def test_every_normaliser_gives_jiwers_rates_of_texts_normalised_one_by_one():
    claimed = {name: value + 0.0313 for name, value in rates(RUN, str).items()}
    search = sought(RUN, claimed)
    values = {one.trial.setting: list(one.trial.values.values()) for one in search.tried}
    for normalise, setting in (
        (str.lower, "case is ignored"),
        (no_punctuation, "case and punctuation are ignored"),
        (BasicTextNormalizer(), "Whisper's basic normaliser"),
        (EnglishTextNormalizer({}), "Whisper's English normaliser"),
    ):
        assert values[setting] == list(rates(RUN, normalise).values()), setting


def test_a_search_finds_the_same_in_statistics_that_were_kept(tmp_path):
    claimed = {name: value + 0.0313 for name, value in rates(RUN, str).items()}
    plain = trials(sought(RUN, claimed))
    assert [trials(one) for one in searched_with_memory(RUN, tmp_path, claimed)] == [plain, plain]
