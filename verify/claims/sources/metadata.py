"""Claims in a card's YAML: the ``model-index`` of the Hub, in its current and older layouts.

Layout: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Every entry is read for itself, so one that
breaks the layout costs only itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import yaml

from verify.claims.form.frontmatter import FrontMatter, Lines, children, entries, scalar
from verify.claims.form.values import NUMBER, Number, from_match, read_number
from verify.claims.meaning.reading import Context, Reading, quote
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key
from verify.types import Evidence, Setting, Source

_MOST_METRICS = 50_000
_SETTING_NAMES = {"numfewshot": "num_fewshot", "numfewshots": "num_fewshot", "fewshot": "num_fewshot"}
_PARTS = ("task", "dataset", "metrics", "metric", "source", "name", "type")
TRAINER_SPLIT_NOTE = (
    "split train is the card's word; the Trainer writes it for numbers of the evaluation set, which this most likely is"
)


def read_model_index(
    front: FrontMatter, lines: Lines, vocabulary: Vocabulary, *, file: str, by_trainer: bool
) -> list[Reading]:
    """Every number under ``model-index``, one reading each, in the order of the file."""
    readings: list[Reading] = []
    seen: set[int] = set()  # of nodes: a YAML alias repeats one, and aliases of aliases could repeat it without end
    for result, models in _results(front.root):
        if id(result) in seen:
            continue
        seen.add(id(result))
        block = f"{file}:{result.start_mark.index}"
        for reading in _read_result(result, front.offset, lines, vocabulary, file, block, seen):
            if models > 1:
                reading = replace(reading, notes=(*reading.notes, "the metadata lists several models"))
            if by_trainer and reading.context.split == "train":
                reading = replace(reading, notes=(*reading.notes, TRAINER_SPLIT_NOTE))
            readings.append(reading)
            if len(readings) >= _MOST_METRICS:
                return readings
    return readings


def datasets_of(front: FrontMatter) -> list[str]:
    """The names under the card's ``datasets:`` key."""
    found = children(front.root).get("datasets") or children(front.root).get("dataset")
    return [text for text in map(scalar, entries(found)) if text]


def metrics_of(front: FrontMatter) -> list[str]:
    """The names under the card's ``metrics:`` key."""
    return [text for text in map(scalar, entries(children(front.root).get("metrics"))) if text]


def tags_of(front: FrontMatter) -> list[str]:
    """The card's tags, lower case."""
    return [text.casefold() for text in map(scalar, entries(children(front.root).get("tags"))) if text]


def _results(root: yaml.MappingNode | None) -> Iterator[tuple[yaml.Node, int]]:
    top = children(root)
    index = next((node for name, node in top.items() if name.replace("_", "-").casefold() == "model-index"), None)
    models = list(entries(index))
    for model in models:
        fields = children(model)
        results = fields.get("results") or fields.get("result")
        if results is None and fields and not any(part in fields for part in _PARTS):
            # A mapping from model names to models, where the layout asks for a list.
            nested = [child for child in fields.values() if "results" in children(child)]
            for child in nested:
                yield from ((result, len(nested)) for result in entries(children(child)["results"]))
        elif results is None and ("metrics" in fields or "metric" in fields):
            yield model, len(models)
        else:
            yield from ((result, len(models)) for result in entries(results))
    for metric in entries(top.get("metrics")):
        if isinstance(metric, yaml.MappingNode):
            yield yaml.MappingNode(metric.tag, [(_key("metrics"), metric)], metric.start_mark, metric.end_mark), 1


def _key(name: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", name)


def _read_result(
    result: yaml.Node, offset: int, lines: Lines, vocabulary: Vocabulary, file: str, block: str, seen: set[int]
) -> Iterator[Reading]:
    fields = children(result)
    context = _context(fields, vocabulary)
    for metric in (*entries(fields.get("metrics")), *entries(fields.get("metric"))):
        inner = children(metric)
        if not inner or id(metric) in seen:
            continue
        seen.add(id(metric))
        if "value" in inner:
            pairs = [(scalar(inner.get("name")) or "", scalar(inner.get("type")) or "", inner["value"])]
        else:
            pairs = [(name, "", node) for name, node in inner.items() if name not in _PARTS]
        for name, type_name, node in pairs:
            value = _value_node(node)
            number = _number(value) if value is not None else None
            if value is None or number is None:
                continue
            label = vocabulary.label(name, type_name)
            if vocabulary.is_not_metric(name or type_name) or (not name and not type_name):
                continue
            settings = {**context.settings, **_settings(inner.get("args"))}
            measured, notes = _averaged(label.metric, name, settings, vocabulary)
            split = context.split or label.split
            start, end = offset + value.start_mark.index, offset + max(value.end_mark.index - 1, value.start_mark.index)
            evidence = _evidence(lines, start, end, number, file)
            if evidence is None:
                continue
            if number.spread:
                notes = (*notes, f"printed with a spread of ± {number.spread}")
            yield Reading(
                metric=measured,
                number=number,
                evidence=evidence,
                context=replace(
                    context,
                    split=split,
                    config=context.config
                    or _config(scalar(inner.get("config")), context.dataset, context.dataset_name),
                    settings=settings,
                ),
                block=block,
                verified=(scalar(inner.get("verified")) or "").casefold() in ("true", "yes", "on"),
                verify_token=scalar(inner.get("verifyToken")) or scalar(inner.get("verify_token")),
                notes=notes,
            )


def _value_node(node: yaml.Node) -> yaml.ScalarNode | None:
    """The scalar that holds the value; a list of one number is that number."""
    if isinstance(node, yaml.SequenceNode) and len(node.value) == 1:
        node = node.value[0]
    return node if isinstance(node, yaml.ScalarNode) else None


def _number(node: yaml.ScalarNode) -> Number | None:
    if node.tag in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"):
        return None
    text = str(node.value)
    if (whole := read_number(text)) is not None:
        return whole
    # "0.91 (on the test set)", "93.4 F1": a number first, and words after it.
    found = NUMBER.match(text.lstrip())
    if found and len(text) < 200 and re.match(r"\s*%?\s*[^\W\d_(]*\s*[(\w]", text.lstrip()[found.end() :]):
        rest = text.lstrip()[found.end() :]
        return from_match(found, rest.lstrip().startswith("%")) if not NUMBER.search(rest) else None
    return None


def _evidence(lines: Lines, start: int, end: int, number: Number, file: str) -> Evidence | None:
    """The lines of the value, or None if the number does not stand there in the same characters."""
    first, last = lines.line(start), lines.line(end)
    written = lines.text[lines.start(first) : lines.start(last)] + lines.content(last)
    if number.literal not in written:
        return None
    return Evidence(Source.MODEL_INDEX, file, first, last, quote(written, number.literal), number.literal)


def _averaged(
    metric: Metric, name: str, settings: dict[str, Setting], vocabulary: Vocabulary
) -> tuple[Metric, tuple[str, ...]]:
    average = settings.pop("average", None)
    if not isinstance(average, str):
        return metric, ()
    averaged = vocabulary.canonical.get(f"{metric.name}_{average.casefold()}")
    if averaged is None:
        if average.casefold() not in ("binary", "none"):
            settings["average"] = average
        return metric, ()
    return averaged, (f"average: {average} stands in the metric's args",)


def _settings(args: yaml.Node | None) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, node in children(args).items():
        text = scalar(node)
        if text is None or len(text) > 200:
            continue
        number = read_number(text)
        value: Setting = text
        if number is not None and len(number.literal) < 15:
            value = int(number.decimal) if number.decimal == int(number.decimal) else number.value
        found[_SETTING_NAMES.get(key(name), name)] = value
    return found


def _context(fields: dict[str, yaml.Node], vocabulary: Vocabulary) -> Context:
    task, dataset = fields.get("task"), fields.get("dataset")
    data = children(dataset)
    type_name = scalar(data.get("type")) if data else scalar(dataset)
    name = scalar(data.get("name"))
    named = vocabulary.dataset(type_name) or vocabulary.dataset(name)
    split = vocabulary.split(scalar(data.get("split")))
    config = scalar(data.get("config"))
    settings = _settings(data.get("args"))
    for word in ("split", "config"):
        value = settings.pop(word, None)
        if isinstance(value, str):
            config, split = (value, split) if word == "config" and not config else (config, split)
            split = vocabulary.split(value) if word == "split" and not split else split
    free, free_split = _free_args(scalar(data.get("args")), vocabulary)
    if config is None:
        config = free or scalar(children(task).get("args"))
    split = split or free_split
    if split is None and name:
        split = next((found for word in re.split(r"[\W_]+", name) if (found := _split_word(word, vocabulary))), None)
    split, part = split_parts(split, vocabulary)
    config = config or part
    slice_of = re.fullmatch(r"([\w.+-]+)\[[^\]]*\]", split or "")
    if slice_of:
        settings["split_slice"] = split
        split = vocabulary.split(slice_of.group(1))
    return Context(
        task=scalar(children(task).get("type")) if children(task) else scalar(task),
        dataset=named,
        dataset_name=name if name and name != named else None,
        config=_config(config, type_name, name),
        split=split,
        settings=settings,
    )


def _free_args(args: str | None, vocabulary: Vocabulary) -> tuple[str | None, str | None]:
    """A config and a split out of free text: "mrpc", "config: it, split: test", "eng por devtest"."""
    if not args or len(args) > 200:
        return None, None
    named = dict(re.findall(r"(\w+)\s*[:=]\s*([^\s,;]+)", args))
    if named:
        return named.get("config") or named.get("name"), vocabulary.split(named.get("split"))
    words = args.split()
    splits = [found for word in words if (found := _split_word(word, vocabulary))]
    kept = [word for word in words if not _split_word(word, vocabulary)]
    return " ".join(kept) or None, splits[0] if splits else None


def split_parts(split: str | None, vocabulary: Vocabulary) -> tuple[str | None, str | None]:
    """A split and the part of the data in its name: test_r3 is test and r3, test.clean is test and clean.

    MNLI's matched and mismatched splits keep their full names, which are those of the data set.
    """
    if not split:
        return split, None
    found = [re.fullmatch(r"([A-Za-z]+)[_.-]([\w.-]+)", part.strip()) for part in split.split("+")]
    if not all(found) or "matched" in split:
        return split, None
    bases = {vocabulary.splits.get(key(match.group(1))) for match in found if match}
    if len(bases) != 1 or None in bases:
        return split, None
    return bases.pop(), found[0].group(2) if len(found) == 1 and found[0] else None


def _split_word(word: str, vocabulary: Vocabulary) -> str | None:
    return vocabulary.splits.get(key(word))


def _config(config: str | None, dataset: str | None, name: str | None) -> str | None:
    """``config``, unless it says nothing: "default", a mangled repository name, or the data set's own name."""
    if not config or "--" in config or len(config) > 200:
        return None
    own = {key(part) for part in (dataset, name, (dataset or "").rsplit("/", 1)[-1]) if part}
    return None if key(config) in own | {"default", "none", ""} else config.strip()


def names_of(front: FrontMatter) -> list[str]:
    """The names that the model-index gives to its models."""
    index = next((node for name, node in children(front.root).items() if name.replace("_", "-") == "model-index"), None)
    return [name for model in entries(index) if (name := scalar(children(model).get("name")))]


def base_models_of(front: FrontMatter) -> list[str]:
    """The models that this one was made from, as the metadata names them."""
    return [text for text in map(scalar, entries(children(front.root).get("base_model"))) if text]
