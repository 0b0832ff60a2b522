"""What a short text says: a header cell, a row label, a caption or a heading.

"MMLU (5-shot)" is a data set and a setting, "Test WER" a split and a metric, "anli_r1/acc" a data set and a metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from verify.claims.meaning.identity import sizes
from verify.claims.meaning.vocabulary import Benchmark, Metric, Vocabulary, key
from verify.claims.meaning.words import words
from verify.types import Setting

_LONGEST = 160
_NUMBERS = {"zero": 0, "one": 1, "two": 2, "three": 3, "five": 5}
_SHOTS = re.compile(r"[(\[,]?\s*\b(\d{1,3}|zero|one|two|three|five)[- ]?shots?\b\s*[)\],]?", re.IGNORECASE)
_FEW_SHOT = re.compile(r"[(\[]?\s*\bfew[- ]?shots?\b\s*[)\]]?", re.IGNORECASE)
_COT = re.compile(r"[(\[,+]?\s*\b(?:w/\s*|with\s+)?(?:CoT|chain[- ]of[- ]thoughts?)\b\s*[)\],]?", re.IGNORECASE)
_LENGTH = re.compile(
    r"[(\[]?\s*\b(?:(?:max[_ ]?)?len(?:gth)?\s*=?\s*(\d{2,5})|(\d{2,5})\s+(?:len(?:gth)?|tokens))\b\s*[)\]]?", re.I
)
_BEAM = re.compile(r"\bbeams?(?:[-_ ]?(?:size|width))?[-_ =]*(\d{1,4})\b", re.IGNORECASE)
_AT_K = re.compile(r"\b(pass|maj|cons|acc|hits?|recall|mrr|ndcg|map|precision|r|p)\s?@\s?(\d{1,4})\b", re.IGNORECASE)
_ARROWS = re.compile(r"[↑↓⬆⬇▲▼→†‡§¶*]|\((?:%|↑|↓|in %|percent)\)|\(?\b(?:higher|lower) is better\)?", re.IGNORECASE)
_SCORE_WORD = re.compile(r"(?:^|[\s_-]+)(?:scores?|results?|performance)$", re.IGNORECASE)
_COMPONENT_LOSS = re.compile(r"(?!EVAL|TEST|VAL|DEV)[A-Z0-9]+(?:_[A-Z0-9]+)*_LOSS")  # spaCy's training losses
_PARENTHESES = re.compile(r"[(\[]([^()\[\]]{1,60})[)\]]")
_TOKEN = re.compile(r"[^\s/,:;|_]+")
_AVERAGE = re.compile(
    r"^(?:[\w-]+ ){0,2}(?:avg|average|averaged|mean|overall average|macro average|all average)\b\.?(?: (?:s"
    r"core|accuracy|acc\.?|performance))?$"
    r"|平均",
    re.IGNORECASE,
)
_NOT_SCORE = re.compile(
    r"^#|#\s?\w|\b(?:tokens?|steps?|epochs?|dates?|years?|param(?:s|eters?)?|sizes?|lengths?|context"
    r"|layers?|hidden|heads?"
    r"|dim(?:ensions?)?|hours?|minutes?|seconds?|time|speed|latency|throughput|memory|vram|gpus?"
    r"|tpus?|cpus?|flops|macs|gmacs|gflops|fps"
    r"|samples|examples|sentences|words|utterances|documents|images|count|cost|price|learning rate|lr|batch|seeds?|rank"
    r"|version|downloads?|co2|emissions?|power|resolution|support|vocab(?:ulary)?|activat\w*|no\.|number|num|total"
    r"|train(?:ing)? loss|train loss|loss scale|weight decay|warmup|optimizer|scheduler|dropout"
    r"|threshold|k?wh|kg|usd|bits|bpw"
    r"|instances|std\.?err|stderr|snt|wrd|corr|sub|del|ins|improvements?|gains?|diff(?:erence)?"
    r"|delta|change|relative|Δ|speedup|speed-up|compression|sparsity|duration|rows|records|entities"
    r"|labels|classes|max|min|std|stdev|variance"
    r"|rtf|rtfx|real[- ]time|wpm|length ratio|gen(?:erated)?[_ ]len\w*|brevity[_ ]penalty)\b",
    re.IGNORECASE,
)
_NEUTRAL = words("neutral")


@dataclass(frozen=True)
class Said:
    """The parts of one label. ``rest`` is what no rule recognised; ``average`` marks a mean over several data sets."""

    text: str = ""
    metrics: tuple[Metric, ...] = ()
    not_score: bool = False
    average: bool = False
    dataset: str | None = None
    benchmark: Benchmark | None = None
    split: str | None = None
    config: str | None = None
    percent: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    rest: str = ""

    @property
    def metric(self) -> Metric | None:
        return self.metrics[0] if self.metrics else None


def read_label(text: str, vocabulary: Vocabulary) -> Said:
    """Read one label; never fails, and leaves in ``rest`` what it does not understand."""
    return _read(text.strip(), vocabulary) if len(text) <= _LONGEST else Said(text=text, rest=text)


@lru_cache(maxsize=50_000)
def _read(text: str, vocabulary: Vocabulary) -> Said:
    if not text:
        return Said()
    if _COMPONENT_LOSS.fullmatch(text):
        return Said(text, not_score=True)
    settings: dict[str, Setting] = {}
    percent = "%" in text
    left = text.strip("\"'“”‘’ ")
    if left.startswith(("decode", "inference_")) and "/" in left:
        left = left.rsplit("/", 1)[1]  # ESPnet names a row by its decoding folder and its data
    left = _take_settings(left, settings)
    left = _ARROWS.sub(" ", left).replace("%", " ")
    if left.count("(") != left.count(")"):
        left = left.replace("(", " ").replace(")", " ")
    left = " ".join(left.split()).strip(" :,-–")
    exact = vocabulary.metric(left)
    if exact and exact.name == "score":
        return Said(text, percent=percent, settings=settings)
    if exact:
        return Said(text, (exact,), percent=percent, settings=settings, split=vocabulary.label(left).split)
    if vocabulary.is_not_metric(left):
        return Said(text, not_score=True, settings=settings)
    if _AVERAGE.search(left):
        return Said(text, average=True, percent=percent, settings=settings, rest=left)
    known = vocabulary.benchmark(left)
    if known:
        return Said(
            text, dataset=left, benchmark=known, percent=percent, settings=settings, split=_split(left, vocabulary)
        )
    return _read_parts(text, left, vocabulary, settings, percent)


def _take_settings(left: str, settings: dict[str, Setting]) -> str:
    def shots(found: re.Match[str]) -> str:
        word = found.group(1).casefold()
        settings["num_fewshot"] = int(word) if word.isdigit() else _NUMBERS[word]
        return " "

    def length(found: re.Match[str]) -> str:
        settings["max_length"] = int(found.group(1) or found.group(2))
        return " "

    left = _SHOTS.sub(shots, left)
    left = _FEW_SHOT.sub(" ", left)
    if _COT.search(left):
        settings["chain_of_thought"] = True
        left = _COT.sub(" ", left)
    left = _LENGTH.sub(length, left)
    if beam := _BEAM.search(left):
        settings["num_beams"] = int(beam.group(1))
        left = left[: beam.start()] + " " + left[beam.end() :]
    return left


def _read_parts(text: str, left: str, vocabulary: Vocabulary, settings: dict[str, Setting], percent: bool) -> Said:
    """A label of several words: metrics and splits are taken out, a known data set may be what is left."""
    whole = vocabulary.label(left)
    if whole.known and whole.metric.name != "score":
        return Said(text, (whole.metric,), split=whole.split, percent=percent, settings=settings)
    metrics: list[Metric] = []
    split = config = None
    for found in _AT_K.finditer(left):
        name = f"{found.group(1).casefold()}@{found.group(2)}"
        metrics.append(vocabulary.metric(name) or Metric(name, "fraction", True))
    left = _AT_K.sub(" ", left)
    for found in _PARENTHESES.finditer(left):
        inner = found.group(1).strip()
        pair = [vocabulary.metric(part.strip()) for part in re.split(r"[/,&]", inner)]
        if all(pair):
            metrics += [metric for metric in pair if metric and metric.name != "score"]
            left = left.replace(found.group(), " ")
        elif (outer := vocabulary.label(left.replace(found.group(), " "))).known and outer.metric.name != "score":
            metrics.append(outer.metric)
            split = outer.split
            left = ""
            break
        elif inner_split := vocabulary.splits.get(key(inner)):
            split = inner_split
            left = left.replace(found.group(), " ")
    left = " ".join(left.split()).strip(" :,-–/")
    left = _SCORE_WORD.sub("", left)
    if not left:
        return Said(text, tuple(metrics), split=split, percent=percent, settings=settings)
    if (label := vocabulary.label(left)).known:
        return Said(text, (label.metric, *metrics), split=split or label.split, percent=percent, settings=settings)
    pair = [vocabulary.metric(part.strip()) for part in re.split(r"[/&,+]| and ", left)]
    if len(pair) > 1 and all(pair):
        return Said(text, tuple(metric for metric in pair if metric), split=split, percent=percent, settings=settings)
    benchmark = vocabulary.benchmark(left)
    if benchmark is None:
        tokens = _TOKEN.findall(left)
        taken, rest_tokens = _metric_of(tokens, vocabulary)
        if taken and "_" in left and " " not in left and not _is_data(rest_tokens, vocabulary):
            # A code such as CATS_MACRO_AUC_PER_TYPE is a name of its own.
            return Said(text, split=split, percent=percent, settings=settings, rest=left)
        metrics = [*taken, *metrics]
        kept: list[str] = []
        for token in rest_tokens:
            bare = token.strip("()[].")
            if joined := re.fullmatch(r"(test|dev|val|valid|validation)-([a-z]+)", bare, re.IGNORECASE):
                split = split or vocabulary.splits.get(key(joined.group(1)))
                kept.append(joined.group(2))
                continue
            found_split = vocabulary.splits.get(key(bare))
            if found_split and not (found_split == "train" and len(rest_tokens) > 3):
                split = split or found_split
            else:
                kept.append(token)
        rest = " ".join(kept).strip(" -–_")
        if rest != left and (benchmark := vocabulary.benchmark(rest)):
            left = rest
        else:
            left = rest
            variant = _PARENTHESES.search(left)
            if variant and (bare := " ".join(_PARENTHESES.sub(" ", left).split())):
                left = bare
                if re.fullmatch(r"[a-z]{2,3}(?:[-_][a-zA-Z]{2,3})?", variant.group(1).strip()):
                    config = variant.group(1).strip()
                elif not re.search(r"://|^\d+$", variant.group(1)):
                    settings["variant"] = variant.group(1).strip()
            benchmark = vocabulary.benchmark(left)
            if benchmark is None and (prefix := _benchmark_in(left.split(), vocabulary)):
                benchmark = vocabulary.benchmark(prefix)
                settings.setdefault("variant", left[len(prefix) :].strip(" -"))
                left = prefix
    if benchmark is None and not metrics and _NOT_SCORE.search(left) and not sizes(left):
        return Said(text, not_score=True, settings=settings, rest=left)
    meaningful = [word for word in re.findall(r"[^\W_]+", left.casefold()) if word not in _NEUTRAL]
    rest = left if meaningful else ""
    return Said(
        text,
        tuple(metrics),
        dataset=left if benchmark else None,
        benchmark=benchmark,
        split=split or _split(left, vocabulary),
        config=config,
        percent=percent,
        settings=settings,
        rest="" if benchmark else rest,
    )


def _metric_of(tokens: list[str], vocabulary: Vocabulary) -> tuple[list[Metric], list[str]]:
    """The longest run of words at either end that is a metric's name, and the other words."""
    for size in range(min(4, len(tokens) - 1), 0, -1):
        for run, others in ((tokens[-size:], tokens[:-size]), (tokens[:size], tokens[size:])):
            phrase = " ".join(run).strip("()[]")
            if len(key(phrase)) == 1 or vocabulary.benchmark(phrase):
                continue
            label = vocabulary.label(phrase)
            if label.known and label.metric.name != "score":
                return [label.metric], others
    return [], tokens


def _is_data(tokens: list[str], vocabulary: Vocabulary) -> bool:
    kept = [token for token in tokens if key(token) not in vocabulary.splits]
    return not kept or vocabulary.benchmark(" ".join(kept)) is not None or _benchmark_in(kept, vocabulary) is not None


def _benchmark_in(tokens: list[str], vocabulary: Vocabulary) -> str | None:
    """A known data set's name at the start of the words ("MMLU English", "BFCL v2 Live")."""
    for size in range(min(4, len(tokens)), 0, -1):
        phrase = " ".join(tokens[:size])
        if len(key(phrase)) >= 3 and vocabulary.benchmark(phrase):
            return phrase
    return None


def _split(name: str, vocabulary: Vocabulary) -> str | None:
    """A split in a data set's name: test-clean, flores101-devtest, MMMU val."""
    for word in re.split(r"[\W_]+", name):
        if word.casefold() not in ("train", "training") and (found := vocabulary.splits.get(key(word))):
            return found
    return None
