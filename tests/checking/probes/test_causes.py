"""Claims that only another run can explain, made by plain loops with another setting than the rerun has."""

import random
from io import BytesIO

import numpy as np
import pytest
import torch
from helpers.builders import save, sentences, tokenizer
from PIL import Image
from rouge_score.rouge_scorer import RougeScorer
from scipy import stats
from sklearn import metrics
from transformers import (
    BertConfig,
    BertForTokenClassification,
    BertModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

from checking.kinds.test_summarization import model_and_words
from checking.probes.reruns import (
    COLUMNS,
    LABELLED,
    TEXTS,
    classifier,
    decisions,
    mostly,
    outcome,
    scores,
)
from verify.judging.explain import explained
from verify.types import Rung, Verdict, VerdictKind


def assert_explained(place, case, hypothesis, setting):
    attempts, found = outcome(place, case)
    best = found.best
    assert best is not None, [(one.trial, one.problem) for one in attempts]
    assert (best.hypothesis.name, best.trial.setting) == (hypothesis, setting)
    assert best.trial is attempts[-1].trial, "nothing is tried after what fits"
    assert len(found.tried) == len(attempts)
    assert found.chance <= 0.05
    differing = next(one for one in case.claims if one.claim_id in case.differing)
    verdict = explained(Verdict(VerdictKind.OVERSTATED, differing, "", "It differs.", rung=Rung.FULL), found)
    assert verdict.kind is VerdictKind.EXPLAINED
    assert setting in verdict.reason
    return attempts


def test_inputs_cut_at_16_tokens(place):
    model, words = classifier(place)
    short = decisions(model, words, TEXTS, max_length=16)
    labels = mostly(short)
    assert np.mean(np.array(short) != decisions(model, words, TEXTS)) > 0.05
    task = place.task(
        "sequence-classification", {"validation": {"text": TEXTS, "label": labels}}, COLUMNS, more=LABELLED
    )
    attempts = assert_explained(
        place, place.case(task, scores(labels, short)), "length of the input", "inputs cut at 16 tokens"
    )
    assert [one.variant.cut_at for one in attempts] == [64, 32, 50, 16]


def test_the_end_of_long_inputs_kept(place):
    model, words = classifier(place, max_length=24)
    words.truncation_side = "left"
    ends = decisions(model, words, TEXTS)
    labels = mostly(ends)
    task = place.task(
        "sequence-classification", {"validation": {"text": TEXTS, "label": labels}}, COLUMNS, more=LABELLED
    )
    attempts = assert_explained(
        place, place.case(task, scores(labels, ends)), "side of truncation", "the end kept of long inputs"
    )
    failed = [one for one in attempts if one.problem is not None]
    assert all("the model takes 24" in one.problem and not one.trial.values and one.n == 0 for one in failed)
    assert len(failed) >= 1, "a setting that fails is kept, and the search goes on"


def test_the_input_in_lower_case(place):
    chance = random.Random(0)
    texts = [" ".join(word.upper() if chance.random() < 0.3 else word for word in text.split()) for text in TEXTS]
    model, words = classifier(place)
    words.backend_tokenizer.normalizer = None
    save(place.model, words)
    lowered = decisions(model, words, TEXTS)
    labels = mostly(lowered)
    task = place.task(
        "sequence-classification", {"validation": {"text": texts, "label": labels}}, COLUMNS, more=LABELLED
    )
    assert_explained(place, place.case(task, scores(labels, lowered)), "case of the input", "the input in lower case")


def test_the_validation_split_quoted_as_test(place):
    model, words = classifier(place)
    decided = decisions(model, words, TEXTS)
    labels = mostly(decided)
    data = {
        name: {"text": TEXTS[part], "label": labels[part]}
        for name, part in (("test", slice(0, 100)), ("train", slice(0, 3)), ("validation", slice(100, 300)))
    }
    task = place.task("sequence-classification", data, COLUMNS, more=f"{LABELLED}unlabelled: [train]\n")
    case = place.case(task, scores(labels[100:], decided[100:]))
    attempts = assert_explained(place, case, "another split", "the split validation")
    assert all(one.variant.split in ("test", "validation") for one in attempts), "a split without labels is not tried"


def encoder(place, first, second):
    torch.manual_seed(0)
    words = tokenizer([*first, *second])
    model = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
            initializer_range=0.3,
        ),
        add_pooling_layer=False,
    ).eval()
    save(place.model, model, words)
    return model, words


@pytest.mark.parametrize(
    ("pool", "prompt", "hypothesis", "setting"),
    [
        (lambda hidden: hidden[0], "", "pooling", "those of the first token"),
        (lambda hidden: hidden.max(0).values, "", "pooling", "the maximum over all tokens"),
        (lambda hidden: hidden.mean(0), "query: ", "text before the input", "the text 'query: ' before every input"),
    ],
)
def test_embeddings_made_in_another_way(place, pool, prompt, hypothesis, setting):
    first, second = sentences(150), sentences(150, seed=1)
    model, words = encoder(place, first, second)
    with torch.inference_mode():
        one, other = (
            np.array(
                [
                    pool(model(**words(prompt + text, return_tensors="pt")).last_hidden_state[0]).numpy()
                    for text in texts
                ]
            )
            for texts in (first, second)
        )
    near = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    ratings = (near + np.random.default_rng(0).normal(0, near.std(), len(near))).tolist()
    task = place.task(
        "sentence-similarity",
        {"test": {"a": first, "b": second, "score": ratings}},
        {"text": "a", "text_pair": "b", "score": "score"},
    )
    claimed = {"spearman": stats.spearmanr(near, ratings).statistic, "pearson": stats.pearsonr(near, ratings).statistic}
    assert_explained(place, place.case(task, claimed), hypothesis, setting)


def test_tags_read_from_the_last_token_of_a_word(place):
    tags = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    sentences_of_words = [text.split() for text in TEXTS[:120]]
    torch.manual_seed(0)
    words = tokenizer([text[:3] for text in TEXTS])
    named = {"id2label": dict(enumerate(tags)), "label2id": {tag: i for i, tag in enumerate(tags)}}
    model = BertForTokenClassification(
        BertConfig(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
            initializer_range=0.3,
            **named,
        )
    ).eval()
    save(place.model, model, words)
    decided, seen = [], []
    for sentence in sentences_of_words:
        encoding = words(sentence, is_split_into_words=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**encoding).logits[0]
        last = {word: place for place, word in enumerate(encoding.word_ids(0)) if word is not None}
        decided.append([int(logits[place].argmax()) for place in last.values()])
        seen.append(len(last))
    chance = random.Random(0)
    given = [
        [tag if chance.random() < 0.8 else chance.randrange(5) for tag in row] + [0] * (len(sentence) - len(row))
        for row, sentence in zip(decided, sentences_of_words, strict=True)
    ]
    task = place.task(
        "token-classification",
        {"test": {"words": sentences_of_words, "tags": given}},
        {"tokens": "words", "tags": "tags"},
        more=f"labels: [{', '.join(tags)}]\nsettings: {{scheme: none}}\n",
    )
    flat = [tag for row, count in zip(given, seen, strict=True) for tag in row[:count]]
    found = [tag for row in decided for tag in row]
    claimed = {"accuracy": metrics.accuracy_score(flat, found)}
    case = place.case(task, claimed, digits=5)
    assert_explained(place, case, "subword of a tagged word", "its last token")


@pytest.mark.parametrize(
    ("changed", "hypothesis", "setting"),
    [
        ({"resample": 3}, "interpolation", "images resized by bicubic interpolation"),
        (
            {"size": {"shortest_edge": 32}, "do_center_crop": True, "crop_size": {"height": 28, "width": 28}},
            "resizing and cropping",
            "the shorter edge resized and the middle 0.875 of it kept",
        ),
    ],
)
def test_images_brought_to_their_size_in_another_way(place, changed, hypothesis, setting):
    chance = np.random.default_rng(0)
    pictures = [Image.fromarray(chance.integers(0, 256, (40, 56, 3), dtype=np.uint8)) for _ in range(200)]
    torch.manual_seed(0)
    own = {"size": {"height": 28, "width": 28}, "image_mean": [0.5] * 3, "image_std": [0.1] * 3, "resample": 2}
    config = ViTConfig(
        image_size=28,
        patch_size=7,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.5,
        id2label={i: str(i) for i in range(10)},
        label2id={str(i): i for i in range(10)},
    )
    model = ViTForImageClassification(config).eval()
    save(place.model, ViTImageProcessor(**own), model)
    processor = ViTImageProcessor(**{**own, **changed})
    with torch.inference_mode():
        decided = [int(model(**processor(one, return_tensors="pt")).logits[0].argmax()) for one in pictures]
    labels = [one if i % 4 else (one + 1) % 10 for i, one in enumerate(decided)]
    stored = []
    for picture in pictures:
        file = BytesIO()
        picture.save(file, "PNG")
        stored.append({"bytes": file.getvalue(), "path": None})
    task = place.task(
        "image-classification", {"test": {"image": stored, "label": labels}}, {"image": "image", "label": "label"}
    )
    assert_explained(place, place.case(task, scores(labels, decided)), hypothesis, setting)


@pytest.mark.slow
def test_a_summary_searched_with_four_beams(place):
    articles = [" ".join(sentences(4, seed=i)) for i in range(60)]
    model, words = model_and_words(articles, "bart")
    save(place.model, model, words)
    written = []
    for text in articles:
        inputs = words(text, truncation=True, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            written.append(words.decode(model.generate(**inputs, num_beams=4)[0], skip_special_tokens=True))
    summaries = [text if i % 3 else " ".join([*text.split()[1:], "plot"]) for i, text in enumerate(written)]
    scorer = RougeScorer(["rouge1", "rouge2"], use_stemmer=True)
    scored = [scorer.score(summary, text) for summary, text in zip(summaries, written, strict=True)]
    claimed = {name: sum(one[name].fmeasure for one in scored) / 60 for name in ("rouge1", "rouge2")}
    task = place.task(
        "summarization",
        {"test": {"article": articles, "summary": summaries}},
        {"text": "article", "summary": "summary"},
    )
    assert_explained(place, place.case(task, claimed), "number of beams", "4 beams")
