"""The results lists that training tools write: the Trainer, its Keras callback, AutoTrain and AutoNLP.

It achieves the following results on the evaluation set:
- Loss: 0.2873
- Accuracy: 0.9290
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from verify.claims.form.frontmatter import Lines
from verify.claims.form.values import read_number
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.vocabulary import Vocabulary, key
from verify.types import Evidence, Source

_ACHIEVES = re.compile(r"^.{0,400}?\b[Ii]t achieves? the following results?\b(?P<where>[^\n]{0,200})", re.MULTILINE)
_AUTOTRAIN = re.compile(r"^#{1,6}[ \t]*Validation Metrics[ \t]*#*[ \t]*$", re.MULTILINE)
_TRAINED_WITH = re.compile(r"^#{1,6}[ \t]*Model Trained Using Auto(?:Train|NLP)", re.MULTILINE | re.IGNORECASE)
_ITEM = re.compile(r"[ \t]{0,6}[-*+][ \t]+(?P<label>[^\n]{1,120}?)[ \t]*[:=][ \t]*(?P<value>[^\n]{0,120})")
_SENTENCE = re.compile(
    r"fine-?tuned version of [^\n]{0,300}?\bon (?:the |an? )?(?P<data>[^\n]{1,200}?)"
    r"(?P<called>[ \t]+[*_]*(?:\[?data ?set)\b|\.?[ \t]*$|\.[ \t]+It )",
    re.MULTILINE,
)
_LONGEST_BODY = 300_000
_LINK = re.compile(r"\[([^\]\n]{0,200})\]\([^)\n]{0,500}\)")
KERAS_TAG, TRAINER_TAG = "generated_from_keras_callback", "generated_from_trainer"


@dataclass(frozen=True)
class GeneratedCard:
    """Which tool wrote the card, and the data set that its first sentence names (None for "an unknown dataset")."""

    trainer: bool = False
    keras: bool = False
    autotrain: bool = False
    dataset: str | None = None


def generated_by(text: str, body: int, tags: list[str], vocabulary: Vocabulary) -> GeneratedCard:
    """Recognise the tool by its tags and by the sentences that it writes."""
    head = text[body : body + 20_000]
    keras = KERAS_TAG in tags or "information Keras had access to" in head
    autotrain = bool(_TRAINED_WITH.search(head))
    trainer = not keras and (TRAINER_TAG in tags or "information the Trainer had access to" in head)
    sentence = _SENTENCE.search(head) if trainer or keras or "It achieves" in head else None
    dataset = None
    if sentence:
        words = _LINK.sub(r"\1", sentence["data"]).strip("*_` ")
        # "German poems" describes data without naming a set: a name is one word, or is called a dataset.
        if "data" in sentence["called"] or " " not in words:
            dataset = vocabulary.dataset(words)
    return GeneratedCard(trainer, keras, autotrain, dataset)


def read_lists(
    text: str,
    body: int,
    lines: Lines,
    vocabulary: Vocabulary,
    *,
    file: str,
    card: GeneratedCard,
    context: Context,
    own_dataset: str | None,
) -> list[Reading]:
    """Every number of the results lists of ``text`` after offset ``body``.

    ``context`` is what the metadata says of the run, used where the sentence names no data set; ``own_dataset`` is the
    data set under the card's ``datasets:`` key, which AutoTrain fills with the data that it trained and validated on.
    """
    readings: list[Reading] = []
    for found in _ACHIEVES.finditer(text, body, body + _LONGEST_BODY):
        split = _split_of(found["where"], vocabulary)
        notes: tuple[str, ...] = ()
        here = replace(context, split=split)
        if card.dataset and not _same_data(card.dataset, context):
            here = Context(task=context.task, dataset=card.dataset, split=split)
        elif context.dataset and not card.dataset:
            notes = ("the data set stands in the metadata: the list and the metadata are written by one run",)
        elif not card.dataset and own_dataset:
            here = replace(here, dataset=own_dataset)
            notes = ("the data set is the only one that the card's metadata lists",)
        readings += _items(found.end(), lines, vocabulary, file, here, notes, keras=card.keras)
    if card.autotrain:
        for found in _AUTOTRAIN.finditer(text, body, body + _LONGEST_BODY):
            here = Context(context.task, own_dataset or context.dataset, split="validation")
            readings += _items(found.end(), lines, vocabulary, file, here, ())
    return readings


def _items(
    start: int,
    lines: Lines,
    vocabulary: Vocabulary,
    file: str,
    context: Context,
    notes: tuple[str, ...],
    *,
    keras: bool = False,
) -> list[Reading]:
    """The ``- Metric: value`` items after offset ``start``; blank lines before the first item do not end the list."""
    readings: list[Reading] = []
    number_of_lines = len(lines.starts)
    line = lines.line(start) + 1
    block = f"{file}:list:{line}"
    begun = False
    while line <= number_of_lines:
        content = lines.content(line)
        item = _ITEM.fullmatch(content.rstrip())
        if item is None:
            if content.strip() or begun:
                break
            line += 1
            continue
        begun = True
        reading = _item(item, content, line, vocabulary, file, block, context, notes, keras)
        if reading:
            readings.append(reading)
        line += 1
    return readings


def _item(
    item: re.Match[str],
    content: str,
    line: int,
    vocabulary: Vocabulary,
    file: str,
    block: str,
    context: Context,
    notes: tuple[str, ...],
    keras: bool,
) -> Reading | None:
    name = item["label"].strip("*_` ")
    number = read_number(item["value"].strip("*_` "))
    if number is None or vocabulary.is_not_metric(name):
        return None
    label = vocabulary.label(name)
    if label.split == "train":
        return None
    # Keras prints the numbers of its validation data as "Validation Loss".
    split = context.split or label.split
    if keras and not key(name).startswith("validation"):
        split = label.split
    evidence = Evidence(Source.EVAL_LIST, file, line, line, quote(content, number.literal), number.literal)
    return Reading(
        metric=label.metric,
        number=number,
        evidence=evidence,
        context=replace(context, split=split),
        block=block,
        notes=notes,
    )


def _split_of(where: str, vocabulary: Vocabulary) -> str | None:
    """The split that the sentence names; "the evaluation set" names none."""
    for word in re.findall(r"\w+", where.casefold()):
        if word not in ("evaluation", "set", "eval") and (split := vocabulary.splits.get(key(word))):
            return split
    return None


def _same_data(dataset: str, context: Context) -> bool:
    names = {
        key(part) for name in (context.dataset, context.dataset_name) if name for part in (name, name.rsplit("/")[-1])
    }
    return key(dataset) in names or key(dataset.rsplit("/")[-1]) in names
