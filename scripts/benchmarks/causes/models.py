"""The reference models of the benchmark of causes: tiny transformers, trained from scratch in seconds each.

The state after every epoch is kept, as a repository of its own, so that cards can quote one and hold another.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.causes.data import TRAIN, Data
from benchmarks.causes.speech import recogniser
from benchmarks.word_pieces import word_pieces

VOCABULARY, SIZE, LONGEST = 6000, 64, 128
WRITER_SIZE, WRITER_VOCABULARY = 96, 3000
IMAGE_SIDE = 28

Example = dict[str, Any]
"""What a model is given of one example: lists of numbers by the name of its argument, and its ``labels``."""


@dataclass(frozen=True)
class Recipe:
    """How long, and how fast, a model learns."""

    epochs: int
    rate: float
    batch: int = 32


RECIPES: Mapping[str, Recipe] = {
    "sst2": Recipe(3, 3e-3, 64),
    "ag_news": Recipe(3, 3e-3, 64),
    "banking77": Recipe(5, 5e-3, 64),
    "mnist": Recipe(4, 2e-3),
    "sick_ratings": Recipe(4, 2e-3, 64),
    "broad_twitter": Recipe(4, 3e-3),
    "speech_parts": Recipe(5, 3e-3),
    "xquad_en": Recipe(12, 2e-3, 16),
    "xquad_de": Recipe(12, 2e-3, 16),
    "multi30k": Recipe(4, 3e-3, 64),
    "captions": Recipe(4, 3e-3, 64),
    "gsm8k": Recipe(4, 3e-3, 16),
    "spoken_digits": Recipe(8, 3e-3),
}
MADE = Recipe(4, 5e-3)
"""For sets that are made up on the spot."""


def trained(data: Data, seed: int, folder: Path, recipe: Recipe | None = None) -> list[Path]:
    """The repositories of a model after each of its epochs; trained unless they are there."""
    recipe = recipe or RECIPES.get(data.name, MADE)
    states = [folder / f"{data.name}-{seed}" / f"epoch-{epoch}" for epoch in range(1, recipe.epochs + 1)]
    if not (states[-1] / "config.json").is_file():
        model, tools, examples = _made(data, seed)
        for state, _ in zip(states, _epochs(model, examples, recipe, seed), strict=True):
            model.save_pretrained(state)
            tools.save_pretrained(state)
    return states


def embedder(state: Path) -> Path:
    """The encoder of a trained classifier alone, as a repository beside it."""
    from transformers import AutoTokenizer, BertModel

    folder = state.parent / f"{state.name}-encoder"
    if not (folder / "config.json").is_file():
        AutoTokenizer.from_pretrained(state).save_pretrained(folder)
        BertModel.from_pretrained(state, add_pooling_layer=False).save_pretrained(folder)
    return folder


def pixels(images: Sequence[Mapping[str, Any]], processor: Any) -> Any:
    """Images of a parquet column as the processor prepares them, float32 [N, 3, side, side]."""
    from PIL import Image

    opened = [Image.open(io.BytesIO(one["bytes"])).convert("RGB") for one in images]
    return processor(opened, return_tensors="pt")["pixel_values"]


def collated(examples: Sequence[Example]) -> dict[str, Any]:
    """A batch: lists of unequal length are padded, labels with -100 and all else with 0."""
    import torch

    batch = {}
    for name in examples[0]:
        values = [example[name] for example in examples]
        if isinstance(values[0], list) and isinstance(values[0][0], int):
            width, filling = max(map(len, values)), -100 if name == "labels" else 0
            values = [[*value, *[filling] * (width - len(value))] for value in values]
        is_made = torch.is_tensor(values[0])
        batch[name] = torch.nn.utils.rnn.pad_sequence(values, True) if is_made else torch.tensor(values)
    return batch


def _made(data: Data, seed: int) -> tuple[Any, Any, list[Example]]:
    """An untrained model, its tokeniser or processor, and what it is to learn from."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    if data.kind == "image-classification":
        model, tools, examples = _image_model(data)
    elif data.kind in ("translation", "summarization"):
        model, tools, examples = _writer(data)
    elif data.kind == "automatic-speech-recognition":
        model, tools, examples = recogniser(data.column(TRAIN, "audio"), data.column(TRAIN, "text"))
    else:
        model, tools, examples = _reader(data)
    return model, tools, examples


def _epochs(model: Any, examples: list[Example], recipe: Recipe, seed: int) -> Iterator[None]:
    """Train, and stop after every epoch."""
    import torch

    chance = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.rate)
    steps = recipe.epochs * -(-len(examples) // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.rate, total_steps=steps + recipe.epochs * 99)
    for _ in range(recipe.epochs):
        model.train()
        for batch in _batches(examples, recipe.batch, chance):
            model(**collated(batch)).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
        model.eval()
        yield


def _batches(examples: list[Example], size: int, chance: random.Random) -> list[list[Example]]:
    """In random order, each of examples of about the same length."""
    order = chance.sample(examples, len(examples))
    batches = []
    for start in range(0, len(order), 32 * size):
        block = sorted(order[start : start + 32 * size], key=lambda one: len(one.get("attention_mask", ())))
        batches += [block[place : place + size] for place in range(0, len(block), size)]
    return chance.sample(batches, len(batches))


def _reader(data: Data) -> tuple[Any, Any, list[Example]]:
    """A BERT of one layer, for classes, numbers, tags or answers."""
    import transformers

    is_answering = data.kind == "question-answering"
    texts = data.column(TRAIN, "context" if is_answering else "tokens" if "tokens" in data.columns else "text")
    words = _word_pieces(texts, 384 if is_answering else LONGEST)
    made = {"token-classification": tagged, "question-answering": _answered}.get(data.kind, _labelled)
    heads = {"token-classification": "TokenClassification", "question-answering": "QuestionAnswering"}
    config = transformers.BertConfig(
        vocab_size=len(words),
        hidden_size=SIZE,
        num_hidden_layers=2 if is_answering else 1,
        num_attention_heads=2,
        intermediate_size=2 * SIZE,
        max_position_embeddings=words.model_max_length,
        **({} if is_answering else _named(data)),
    )
    head = heads.get(data.kind, "SequenceClassification")
    return getattr(transformers, f"BertFor{head}")(config), words, made(data, TRAIN, words)


def _named(data: Data) -> dict[str, Any]:
    if data.labels is None:
        return {"num_labels": 1}
    names = {"id2label": dict(enumerate(data.labels)), "label2id": {name: i for i, name in enumerate(data.labels)}}
    return {**names, "problem_type": "multi_label_classification"} if data.is_multi_label else names


def _word_pieces(texts: Sequence[Any], longest: int) -> Any:
    """A tokeniser that keeps upper and lower case apart, trained on texts or lists of words."""
    plain = (text if isinstance(text, str) else " ".join(text) for text in texts)
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return word_pieces(plain, VOCABULARY, longest, lowercase=False, model_input_names=inputs)


def encoded(data: Data, part: str, words: Any, *, longest: int | None = None, lower: bool = False) -> list[Example]:
    """Texts, or pairs of texts, as token ids without padding; cut at ``longest`` tokens."""
    sides = [data.column(part, role) for role in ("text", "text_pair") if role in data.columns]
    if lower:
        sides = [[text.lower() for text in side] for side in sides]
    found = words(*sides, truncation=True, max_length=longest)
    return [
        {name: found[name][row] for name in ("input_ids", "token_type_ids", "attention_mask")}
        for row in range(len(sides[0]))
    ]


def _labelled(data: Data, part: str, words: Any) -> list[Example]:
    labels = data.column(part, "label")
    if data.is_multi_label:
        labels = [[float(label in row) for label in range(len(data.labels or ()))] for row in labels]
    return [{**example, "labels": label} for example, label in zip(encoded(data, part, words), labels, strict=True)]


def tagged(data: Data, part: str, words: Any, *, lower: bool = False) -> list[Example]:
    """Lists of words as token ids; the first token of each word carries its tag, all others -100."""
    tokens = data.column(part, "tokens")
    if lower:
        tokens = [[word.lower() for word in row] for row in tokens]
    found = words(tokens, is_split_into_words=True, truncation=True)
    examples = []
    for row, tags in enumerate(data.column(part, "tags")):
        owners = found.word_ids(row)
        first = [owner is not None and owner != before for before, owner in zip([None, *owners], owners, strict=False)]
        labels = [tags[owner] if begins else -100 for owner, begins in zip(owners, first, strict=True)]
        names = ("input_ids", "token_type_ids", "attention_mask")
        examples.append({**{name: found[name][row] for name in names}, "labels": labels})
    return examples


def _answered(data: Data, part: str, words: Any) -> list[Example]:
    """Questions with their contexts; those whose answer is cut off are left out."""
    questions, contexts = data.column(part, "question"), data.column(part, "context")
    found = words(questions, contexts, truncation="only_second", return_offsets_mapping=True)
    examples = []
    for row, answers in enumerate(data.column(part, "answers")):
        begin = answers["answer_start"][0]
        end = begin + len(answers["text"][0])
        spans = [
            (place, *span)
            for place, (span, side) in enumerate(
                zip(found["offset_mapping"][row], found.sequence_ids(row), strict=True)
            )
            if side == 1
        ]
        inside = [place for place, start, stop in spans if start < end and stop > begin]
        if inside and spans[-1][2] >= end:
            names = ("input_ids", "token_type_ids", "attention_mask")
            example = {name: found[name][row] for name in names}
            examples.append({**example, "start_positions": inside[0], "end_positions": inside[-1]})
    return examples


def _image_model(data: Data) -> tuple[Any, Any, list[Example]]:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    processor = ViTImageProcessor(size={"height": IMAGE_SIDE, "width": IMAGE_SIDE})
    config = ViTConfig(
        image_size=IMAGE_SIDE,
        patch_size=7,
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=96,
        **_named(data),
    )
    images = pixels(data.column(TRAIN, "image"), processor)
    examples = [
        {"pixel_values": image, "labels": label}
        for image, label in zip(images, data.column(TRAIN, "label"), strict=True)
    ]
    return ViTForImageClassification(config), processor, examples


def _writer(data: Data) -> tuple[Any, Any, list[Example]]:
    """A T5 of two layers on each side with byte-level pieces, which spell line breaks too."""
    from transformers import T5Config, T5ForConditionalGeneration

    source, target = ("source", "target") if data.kind == "translation" else ("text", "summary")
    given, wanted = data.column(TRAIN, source), data.column(TRAIN, target)
    words = _byte_pieces([*given, *wanted])
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(words),
            d_model=WRITER_SIZE,
            d_kv=WRITER_SIZE // 4,
            d_ff=2 * WRITER_SIZE,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    texts, targets = words(given, truncation=True), words(wanted, truncation=True)
    examples = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}
        for ids, labels in zip(texts["input_ids"], targets["input_ids"], strict=True)
    ]
    return model, words, examples


def _byte_pieces(texts: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WRITER_VOCABULARY,
        special_tokens=["<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    core.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        eos_token="</s>",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def losses_of(logits: np.ndarray, reference: np.ndarray) -> float:
    """The mean cross-entropy of classes."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    normal = np.log(np.exp(shifted).sum(axis=1))
    return float((normal - shifted[np.arange(len(reference)), reference]).mean())
