"""Models and data for the benchmarks of the engine, made on the spot: random weights, made-up words, fixed seeds.

Encoders are random but for the output layer, which is fitted to a rule of the data by logistic regression. So the
classes are predicted as well, and with as many close decisions, as by a real model, which is what adaptive precision
depends on. Lengths are log-normal, as those of real texts are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.engine.summariser import documents, save_summariser
from benchmarks.word_pieces import word_pieces
from numpy.typing import NDArray

TOPICS = 4
VOCABULARY = 8000
SPLIT = "test"
INITIAL_RANGE, TOPIC_STRENGTH = 0.04, 2.0
FITTED = 300
"""Examples to which an output layer is fitted; they are none of those that the benchmark runs."""


@dataclass(frozen=True)
class Subject:
    """A model's folder, and a parquet file with ``count`` rows to run it on.

    ``columns``, ``labels`` and ``settings`` are those of a task of this ``kind``.
    """

    kind: str
    model: str
    data: str
    count: int
    columns: Mapping[str, str]
    labels: tuple[str, ...] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Language:
    """Made-up words, the frequent ones first, and for each of them its topic, or -1 for none."""

    words: NDArray[Any]
    topics: NDArray[np.int64]
    chance: np.random.Generator

    @staticmethod
    def made(seed: int) -> Language:
        chance = np.random.default_rng(seed)
        onsets = (*"bdfghklmnprstvwz", "br", "kl", "sh", "st", "tr")
        syllables = np.array([onset + vowel for onset in onsets for vowel in (*"aeiou", "ai", "ou")])
        made = ["".join(chance.choice(syllables, size)) for size in chance.choice((1, 2, 2, 3, 3, 4), 14_000)]
        words = np.array(sorted(set(made)))
        chance.shuffle(words)
        topics = np.where(chance.random(len(words)) < 0.4, chance.integers(TOPICS, size=len(words)), -1)
        return Language(words, topics, chance)

    def drawn(self, count: int, topic: int | None = None) -> NDArray[np.int64]:
        """Numbers of ``count`` words by Zipf's law, of all words or of those of one topic."""
        among = np.arange(len(self.words)) if topic is None else np.flatnonzero(self.topics == topic)
        weights = 1 / (np.arange(len(among)) + 10)
        return among[np.searchsorted(weights.cumsum() / weights.sum(), self.chance.random(count))]

    def sentence(self, count: int, topic: int, share: float) -> NDArray[np.int64]:
        """Numbers of ``count`` words of which a ``share`` is about the topic."""
        return np.where(self.chance.random(count) < share, self.drawn(count, topic), self.drawn(count))

    def text(self, numbers: Sequence[int] | NDArray[np.int64]) -> str:
        return " ".join(self.words[numbers])

    def lengths(self, count: int, mean: float, sigma: float, most: int) -> NDArray[np.int64]:
        """Log-normal numbers of words with this mean and spread of their logarithm, from 1 to ``most``."""
        drawn = self.chance.lognormal(math.log(mean) - sigma**2 / 2, sigma, count)
        return drawn.round().clip(1, most).astype(np.int64)


def text_classifier(folder: Path, count: int, layers: int = 4, size: int = 256) -> Subject:
    """Sentences of 25 tokens on average, up to about 200, to one of four topics."""
    language, total = Language.made(0), count + FITTED
    topics = language.chance.integers(TOPICS, size=total)
    lengths = language.lengths(total, 20, 0.9, 160)
    texts = [language.text(language.sentence(n, t, 0.4)) for n, t in zip(lengths, topics, strict=True)]
    tokenizer = _tokenizer(language)
    labels = tuple(f"topic {topic}" for topic in range(TOPICS))
    model = _bert("BertForSequenceClassification", language, tokenizer, labels, layers, size)
    held_out = [tokenizer(texts[i : i + 1], return_tensors="pt") for i in range(count, total)]
    fit_head(model, held_out, topics[count:])
    _save(folder, model, tokenizer)
    data = _written(folder, {"text": texts[:count], "label": topics[:count].tolist()}, {"label": labels})
    return Subject(
        "sequence-classification", str(folder), data, count, {"text": "text", "label": "label"}, labels=labels
    )


def base_text_classifier(folder: Path, count: int) -> Subject:
    """The same with a model of the size of bert-base."""
    return text_classifier(folder, count, layers=12, size=768)


def tagger(folder: Path, count: int) -> Subject:
    """Sentences of the same lengths; words of a topic are its entities, neighbouring ones of one topic one entity."""
    language, total = Language.made(1), count + FITTED // 3
    labels = ("O", *(f"{prefix}-{topic}" for topic in range(TOPICS) for prefix in "BI"))
    topics = language.chance.integers(TOPICS, size=total)
    lengths = language.lengths(total, 20, 0.9, 160)
    sentences = [language.sentence(n, t, 0.2) for n, t in zip(lengths, topics, strict=True)]
    tags = [_entities(language.topics[numbers]) for numbers in sentences]
    tokenizer = _tokenizer(language)
    model = _bert("BertForTokenClassification", language, tokenizer, labels)
    held_out, targets = [], []
    for numbers, tag in zip(sentences[count:], tags[count:], strict=True):
        encoding = tokenizer(list(language.words[numbers]), is_split_into_words=True, return_tensors="pt")
        held_out.append(encoding)
        targets += [-1 if word is None else int(tag[word]) for word in encoding.word_ids()]
    fit_head(model, held_out, np.array(targets))
    _save(folder, model, tokenizer)
    columns = {
        "tokens": [language.words[numbers].tolist() for numbers in sentences[:count]],
        "tags": [tag.tolist() for tag in tags[:count]],
    }
    data = _written(folder, columns, {"tags": labels})
    return Subject(
        "token-classification", str(folder), data, count, {"tokens": "tokens", "tags": "tags"}, labels=labels
    )


def _entities(topics: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tag ids: 0 for a word without topic, else 1 + 2 × topic for the first word of an entity and one more inside."""
    goes_on = np.concatenate([[False], topics[1:] == topics[:-1]])
    return np.where(topics < 0, 0, 1 + 2 * topics + goes_on)


def answerer(folder: Path, count: int) -> Subject:
    """Contexts of 150 words on average, up to 600, with questions of about ten words; the output layer is random."""
    language = Language.made(2)
    tokenizer = _tokenizer(language)
    model = _bert("BertForQuestionAnswering", language, tokenizer, ("start", "end"))
    columns: dict[str, list[Any]] = {"id": [], "question": [], "context": [], "answers": []}
    asked, read = language.lengths(count, 10, 0.3, 25), language.lengths(count, 150, 0.6, 600)
    for i in range(count):
        topic = int(language.chance.integers(TOPICS))
        words = language.words[language.sentence(int(read[i]), topic, 0.3)]
        begin = int(language.chance.integers(len(words)))
        answer = " ".join(words[begin : begin + 3])
        columns["id"].append(str(i))
        columns["question"].append(language.text(language.sentence(int(asked[i]), topic, 0.3)))
        columns["context"].append(" ".join(words))
        columns["answers"].append({"text": [answer], "answer_start": [len(" ".join([*words[:begin], ""]))]})
    _save(folder, model, tokenizer)
    roles = {"question": "question", "context": "context", "answers": "answers"}
    return Subject("question-answering", str(folder), _written(folder, columns, {}), count, roles)


PATTERNS = ("stripes", "bars", "checks", "rings")


def image_classifier(folder: Path, count: int) -> Subject:
    """JPEG pictures of 120 to 640 pixels a side, to one of four patterns, by a vision transformer of 6 layers."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    chance, fitted = np.random.default_rng(3), FITTED // 5
    kinds = chance.integers(len(PATTERNS), size=count + fitted)
    pictures = [_picture(int(kind), chance) for kind in kinds]
    torch.manual_seed(3)
    model = ViTForImageClassification(
        ViTConfig(
            hidden_size=192,
            num_hidden_layers=6,
            num_attention_heads=3,
            intermediate_size=768,
            initializer_range=INITIAL_RANGE,
            **_named(PATTERNS),
        )
    ).eval()
    processor = ViTImageProcessor(size={"height": 224, "width": 224})
    fit_head(model, [processor(one, return_tensors="pt") for one in pictures[count:]], kinds[count:])
    _save(folder, model, processor)
    data = _written(folder, {"image": pictures[:count], "label": kinds[:count].tolist()}, {"label": PATTERNS})
    return Subject(
        "image-classification", str(folder), data, count, {"image": "image", "label": "label"}, labels=PATTERNS
    )


def _picture(kind: int, chance: np.random.Generator) -> Any:
    """A noisy pattern in two colours, as a JPEG file would give it back."""
    import io

    from PIL import Image

    height, width = chance.integers(120, 640, size=2)
    down, across = np.mgrid[:height, :width] / chance.uniform(8, 60)
    waves = (np.sin(down), np.sin(across), np.sin(down) * np.sin(across), np.sin(np.hypot(down - 4, across - 4)))
    one, other = chance.integers(0, 256, size=(2, 3))
    mixed = one + (other - one) * (waves[kind][:, :, None] + 1) / 2 + chance.normal(0, 15, (height, width, 1))
    stored = io.BytesIO()
    Image.fromarray(mixed.clip(0, 255).astype(np.uint8)).save(stored, "JPEG", quality=90)
    return Image.open(stored)


def greedy_summariser(folder: Path, count: int) -> Subject:
    return _summariser(folder, count, num_beams=1)


def beam_summariser(folder: Path, count: int) -> Subject:
    return _summariser(folder, count, num_beams=4)


def _summariser(folder: Path, count: int, num_beams: int) -> Subject:
    save_summariser(folder)
    texts, summaries = documents(count, seed=4)
    data = _written(folder, {"text": texts, "summary": summaries}, {})
    settings = {"num_beams": num_beams, "max_new_tokens": 70}
    return Subject("summarization", str(folder), data, count, {"text": "text", "summary": "summary"}, settings=settings)


def fit_head(model: Any, inputs: Sequence[Mapping[str, Any]], targets: NDArray[np.int64]) -> None:
    """Set ``model.classifier`` by logistic regression on what reaches it from the ``inputs``, one target for each row.

    A negative target leaves its row out.
    """
    import torch
    from sklearn.linear_model import LogisticRegression

    reached: list[Any] = []
    hook = model.classifier.register_forward_pre_hook(lambda module, given: reached.append(given[0].flatten(0, -2)))
    with torch.inference_mode():
        for batch in inputs:
            model(**batch)
    hook.remove()
    features, wanted = torch.cat(reached).numpy(), targets >= 0
    fitted = LogisticRegression(C=0.1, tol=0.01).fit(features[wanted], targets[wanted])
    classes = model.config.num_labels
    weight, bias = np.zeros((classes, features.shape[1])), np.full(classes, -10.0)
    weight[fitted.classes_], bias[fitted.classes_] = fitted.coef_, fitted.intercept_
    model.classifier.weight.data = torch.tensor(weight, dtype=torch.float32)
    model.classifier.bias.data = torch.tensor(bias, dtype=torch.float32)


def _tokenizer(language: Language) -> Any:
    """A tokeniser trained on a sample of the language, for inputs of up to 512 tokens."""
    return word_pieces((language.text(language.drawn(20)) for _ in range(4000)), VOCABULARY, 512)


def _bert(
    architecture: str, language: Language, tokenizer: Any, labels: Sequence[str], layers: int = 4, size: int = 256
) -> Any:
    """Layers of ``size`` with random weights, in which the embeddings of words show their topic."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=size,
        num_hidden_layers=layers,
        num_attention_heads=size // 64,
        intermediate_size=4 * size,
        max_position_embeddings=512,
        initializer_range=INITIAL_RANGE,
        **_named(labels),
    )
    model = getattr(transformers, architecture)(config).eval()
    directions = torch.nn.functional.normalize(torch.randn(TOPICS, size), dim=1)
    vocabulary, table = tokenizer.get_vocab(), model.bert.embeddings.word_embeddings.weight.data
    for word, topic in zip(language.words.tolist(), language.topics.tolist(), strict=True):
        if topic >= 0 and word in vocabulary:
            table[vocabulary[word]] += TOPIC_STRENGTH * directions[topic]
    return model


def _named(labels: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}


def _save(folder: Path, *parts: Any) -> None:
    for part in parts:
        part.save_pretrained(folder)


def _written(folder: Path, columns: Mapping[str, list[Any]], labels: Mapping[str, Sequence[str]]) -> str:
    """Write the columns beside the model, those with ``labels`` as class ids; the file's name."""
    import datasets

    table = datasets.Dataset.from_dict(dict(columns))
    features = table.features.copy()
    for name, names in labels.items():
        classes = datasets.ClassLabel(names=list(names))
        features[name] = datasets.List(classes) if isinstance(columns[name][0], list) else classes
    file = folder.parent / f"{folder.name}.parquet"
    table.cast(features).to_parquet(file)
    return str(file)
