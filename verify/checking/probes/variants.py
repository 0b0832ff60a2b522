"""The settings that probes try, each with what people use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from verify.checking.probes.probe import Facts, Variant, Variants, inputs_cut
from verify.configuration.schema import VerifyConfig
from verify.types import Setting, TaskSpec

LENGTHS = (128, 256, 512, 64, 384, 100, 200, 32, 50, 300, 1024, 16)
"""Tokens at which scripts and cards cut inputs, the most usual first."""

WINDOWS = (1024, 512, 2048, 256)
NEW_TOKENS = (128, 64, 20, 142, 256, 32, 512, 200)
BEAMS = (1, 4, 5, 2, 8, 6, 10)
USUAL_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "summarization": ("summarize: ",),
    "sentence-similarity": ("query: ", "passage: ", "Represent this sentence for searching relevant passages: "),
}
DTYPES = ("float16", "bfloat16", "float32")


def with_settings(task: TaskSpec, **settings: Setting) -> TaskSpec:
    """The task with some settings of its kind changed; None takes one back to the kind's default."""
    merged = {**task.settings, **settings}
    return replace(task, settings={name: value for name, value in merged.items() if value is not None})


def other_values(name: str, words: Mapping[Any, str], *, costs: Mapping[Any, float] | None = None) -> Variants:
    """Every value of one setting of the kind but that of the rerun, each with its ``words`` and its cost in reruns."""

    def variants(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
        used = facts.used(task, name)
        for value, said in words.items():
            if str(value).casefold() != str(used).casefold():
                cost = (costs or {}).get(value, 1.0)
                yield Variant(said, with_settings(task, **{name: value}), split, config, cost=cost)

    return variants


def splits(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    for name, size in sorted(facts.splits.items(), key=lambda one: one[1] or 1.0):
        yield Variant(f"the split {name}", task, name, config, cost=size or 1.0)


def lengths(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Other limits of the input; larger ones only where the rerun cut something."""
    limit, nothing_cut = facts.input_limit, inputs_cut(facts.preprocessing) == 0
    for tokens in LENGTHS:
        is_idle = nothing_cut and limit is not None and tokens > limit
        if tokens != limit and not is_idle:
            changed = replace(config, override=replace(config.override, max_length=tokens))
            yield Variant(f"inputs cut at {tokens} tokens", task, split, changed, cut_at=tokens)


def truncation_side(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    if inputs_cut(facts.preprocessing):
        used = facts.used(task, "truncation_side")
        for side, kept in (("left", "end"), ("right", "beginning")):
            if side != used:
                yield Variant(
                    f"the {kept} kept of long inputs", with_settings(task, truncation_side=side), split, config
                )


def lower_case(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    if not facts.lowercases and not facts.used(task, "lowercase_input"):
        yield Variant("the input in lower case", with_settings(task, lowercase_input=True), split, config)


def normalisation(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Embeddings of length 1 or not, whichever the rerun's were not. A cosine does not change."""
    steps = facts.preprocessing.get("steps")
    is_normal = isinstance(steps, list) and "normalize" in steps
    said = "embeddings of any length" if is_normal else "embeddings of length 1"
    yield Variant(said, with_settings(task, normalize="no" if is_normal else "yes"), split, config)


def dtypes(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Other number formats, the one that the checkpoint states first; they are slow on most CPUs."""
    for dtype in dict.fromkeys((facts.stated_dtype, *DTYPES)):
        if dtype in DTYPES and dtype != facts.dtype:
            engine = replace(config.engine, dtype=dtype, precision="exact")
            yield Variant(f"the model in {dtype}", task, split, replace(config, engine=engine), cost=2.0)


def one_by_one(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Batches of one, which can matter only where the second configuration has changed something."""
    if facts.flips and config.engine.batch_size != 1:
        yield Variant("every example alone in its batch", task, split, config, cost=4.0, is_alone=True)


def prefixes(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Texts before every input: those that the repository names, the usual ones, and none."""
    used = facts.used(task, "prefix") or facts.preprocessing.get("prompt") or ""
    for text in dict.fromkeys((*facts.prefixes, *USUAL_PREFIXES.get(task.kind, ()), "")):
        if text != used:
            said = f"the text {text!r} before every input" if text else "no text before the inputs"
            yield Variant(said, with_settings(task, prefix=text), split, config)


def beams(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Other numbers of beams, where the model writes at all; the cost grows with them."""
    if "generation" in facts.preprocessing:
        used = int(facts.used(task, "num_beams") or 1)
        for count in BEAMS:
            if count != used:
                said = f"{count} beams" if count > 1 else "greedy search"
                yield Variant(said, with_settings(task, num_beams=count), split, config, cost=count / used)


def new_tokens(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    if "generation" in facts.preprocessing:
        used = facts.used(task, "max_new_tokens")
        for count in NEW_TOKENS:
            if count != used:
                said = f"at most {count} tokens written"
                yield Variant(said, with_settings(task, max_new_tokens=count), split, config)


def crops(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """The usual ways of bringing an image to the model's size."""
    is_exact = "height" in str(facts.preprocessing.get("size")) and "crop_size" not in facts.preprocessing
    for kept in (0.875, 1.0, 0.95, 0.9):
        middle = f"the middle {kept:g} of it kept" if kept < 1 else "the ends of the longer one cut off"
        changed = with_settings(task, resize="shortest_edge", crop_pct=kept)
        yield Variant(f"the shorter edge resized and {middle}", changed, split, config)
        if kept == 0.875 and not is_exact:
            changed = with_settings(task, resize="exact", crop_pct=None)
            yield Variant("images resized to the exact size", changed, split, config)


def windows(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Other contexts of a language model, which moves by whole windows."""
    used = facts.used(task, "context")
    for tokens in WINDOWS:
        if tokens != used:
            changed = with_settings(task, context=tokens, stride=None)
            unlimited = replace(config, override=replace(config.override, max_length=None))
            yield Variant(f"windows of {tokens} tokens", changed, split, unlimited)


def overlaps(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """Windows of the rerun's length that overlap more, or less."""
    used = facts.used(task, "stride")
    if task.kind == "question-answering":
        for shared in (128, 64, 0):
            if shared != used:
                yield Variant(f"windows that share {shared} tokens", with_settings(task, stride=shared), split, config)
        return
    context = facts.used(task, "context")
    if isinstance(context, int) and facts.used(task, "target") != "last_word":
        for stride in dict.fromkeys((context // 2, 512, 256, 128, context - 1, context)):
            if 1 <= stride <= context and stride != used:
                said = f"windows that move by {stride} tokens"
                yield Variant(said, with_settings(task, stride=stride), split, config, cost=context / stride)


def joins(task: TaskSpec, split: str, config: VerifyConfig, facts: Facts) -> Iterable[Variant]:
    """All rows as one text, or each as a text of its own."""
    used = task.settings.get("join")
    if facts.used(task, "target") == "last_word":
        return
    for join, said in (("\\n\\n", "two line breaks"), ("\\n", "a line break"), (" ", "a space")):
        if used is None or str(used).replace("\n", "\\n") != join:
            joined = f"all rows read as one text, joined by {said}"
            yield Variant(joined, with_settings(task, join=join), split, config)
    if used is not None:
        yield Variant("every row a text of its own", with_settings(task, join=None), split, config)
