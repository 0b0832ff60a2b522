"""What the card says around a table or a sentence: the headings above it, its caption, the data of the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from verify.claims.meaning.identity import Identity
from verify.claims.meaning.labels import Said, read_label
from verify.claims.meaning.reading import Context
from verify.claims.meaning.vocabulary import Metric, Vocabulary, key, spans
from verify.claims.meaning.words import words
from verify.types import Setting

RESULTS = re.compile(
    r"\b(?:results?|evaluat\w+|eval|benchmarks?|performance|scores?|accuracy|metrics|leaderboard"
    r"|comparison|compare[ds]?|perplexity"
    r"|wer|f1|bleu|ergebnisse|resultados?|résultats?|test(?:ing)?)\b|评测|性能|结果|評価|精度",
    re.IGNORECASE,
)
NOT_RESULTS = re.compile(
    r"\b(?:hyper-?\s?param\w*|training (?:data|procedure|setup|details|hyper\w*|args|arguments)"
    r"|datasets? (?:statistics|size|details|description)|statistics"
    r"|architecture|hardware|requirements|speeds?|latency|throughput|environmental|usage|how to use"
    r"|label scheme|citation|"
    r"references?|licen[cs]e|model (?:details|sizes?|variants|list|zoo|downloads?)|downloads?|installation"
    r"|quick ?start|limitations?|training examples?|"
    r"configuration|settings?|memory|cost|inference (?:speed|time)|vocab\w*|bibtex|acknowledg\w*"
    r"|provided files|quantization methods?)\b",
    re.IGNORECASE,
)
_HYPERPARAMETERS = re.compile(r"\b(?:hyper-?\s?param\w*|training (?:config\w*|args|arguments|settings))", re.IGNORECASE)
_PERCENT = re.compile(r"\(%\)|\(in %\)|\bin (?:%|percent)|[A-Za-z]%|\bpercentages?\b")
_PHRASES = re.compile(r"[^\W_][\w@.+-]*")
_AMBIGUOUS = words("ambiguous_metrics")
_ON_DATA = re.compile(
    r"\b(?:on|against|over|using|with|of|from) (?:the |our |a )?(?:(?:test|validation|dev(?:elopment)?"
    r"|held[- ]out|evaluation|eval|hidden)[- ]?(?:set|split|data|portion|subset|partition)?s? (?:of"
    r"|from|for) (?:the )?)?"
    r"[\"'“‘]?(?P<name>[A-Z0-9][\w./+-]*(?: [A-Z0-9][\w./+-]*){0,4}|[a-z][\w]*[-_/][\w./-]+|[a-z][\w-]{2,})[\"'”’]?"
    r" (?:(?:test|validation|dev(?:elopment)?|evaluation|eval|train(?:ing)?)[- ]?)?(?:data ?sets?"
    r"|corpus|benchmark|bench|test ?set|dev ?set|validation ?set|sets?|splits?)\b"
)
_EVALUATED_ON = re.compile(
    r"\b[Ee]valuat(?:ed|ion|ing)\b[^.\n]{0,60}?\bon (?:the )?[\"'“]?(?P<name>[A-Za-z0-9][\w./+-]*[\w](?: \d[\w.]*)?)"
)
_SHARED_TASK = re.compile(
    r"\b(?:on|using|for|of) (?:the )?(?P<name>[A-Z][\w./+-]*\d[\w./+-]*(?: [A-Z\d][\w.-]*){0,2}?) (?:[Tt]as"
    r"k|[Ss]hared [Tt]ask|[Cc]hallenge)\b"
)
_INTRODUCED = re.compile(
    r"^[*_ ]*(?P<name>[A-Z][\w.+-]*(?: [A-Z\d][\w.+-]*){0,3})(?: \([^()]{0,60}\))?\s*[:：].{0,120}?\b(?:benc"
    r"hmark|data ?set|test|corpus)\b"
)
_PLAIN_WORDS = words("plain_datasets")
_NO_NAME = words("no_dataset")


@dataclass(frozen=True)
class Surroundings:
    """What holds for every number of a place unless the number's own labels say otherwise."""

    vocabulary: Vocabulary
    identity: Identity
    context: Context
    metrics: tuple[Metric, ...] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    has_results: bool = False
    headings: tuple[str, ...] = ()
    heading_metrics: tuple[Metric, ...] = ()
    caption_dataset: bool = False
    percent: bool = False
    usual_metric: Metric | None = None
    place: int = 0

    @property
    def hyperparameters(self) -> bool:
        """True below a heading that announces settings of the training."""
        return any(_HYPERPARAMETERS.search(heading) for heading in self.headings[-1:])


def around_place(
    headings: list[str],
    caption: str,
    default: Context,
    identity: Identity,
    vocabulary: Vocabulary,
    place: int = 0,
    usual_metric: Metric | None = None,
) -> Surroundings:
    """Read the headings (outermost first) and the caption; the nearest word on each matter counts."""
    texts = [text for text in (caption, *reversed(headings)) if text]
    metrics: tuple[Metric, ...] = ()
    split = dataset = None
    settings: dict[str, Setting] = {}
    for text in texts:
        if not metrics:
            metrics = metrics_in(text, vocabulary)
        dataset = dataset or dataset_in(text, vocabulary)
        split = split or split_in(text, vocabulary)
        for part in (text,) if len(text) <= 160 else ():
            said = read_label(part, vocabulary).settings
            settings = {**{name: value for name, value in said.items() if name != "variant"}, **settings}
    context = default
    if dataset and not same_name(dataset, default):
        context = Context(dataset=dataset)
    context = Context(context.task, context.dataset, context.dataset_name, context.config, split or context.split)
    nearest = next((text for text in reversed(headings) if text), "")
    has_results = any(RESULTS.search(text) for text in texts) and not NOT_RESULTS.search(nearest)
    heading_metrics = metrics_in(nearest, vocabulary) if nearest else ()
    return Surroundings(
        vocabulary,
        identity,
        context,
        metrics,
        settings,
        has_results,
        tuple(headings),
        heading_metrics,
        bool(caption) and dataset_in(caption, vocabulary) is not None,
        any(_PERCENT.search(text) for text in texts),
        usual_metric,
        place,
    )


def same_name(dataset: str, context: Context) -> bool:
    squashed = key(dataset.rsplit("/", 1)[-1])
    return any(squashed == key(name.rsplit("/", 1)[-1]) for name in (context.dataset, context.dataset_name) if name)


def metrics_in(text: str, vocabulary: Vocabulary) -> tuple[Metric, ...]:
    """The metrics that a caption or heading names, in order; a pair "EM/F1" gives two."""
    whole = read_label(text, vocabulary) if len(text) <= 160 else Said()
    if whole.metrics:
        return whole.metrics
    tokens = _PHRASES.findall(text[-600:])
    found: dict[str, Metric] = {}
    for first, end in spans(tokens, vocabulary.metrics, 4):
        phrase = " ".join(tokens[first:end])
        if phrase.casefold() in _AMBIGUOUS and not (phrase.isupper() and len(phrase) > 1):
            continue
        metric = vocabulary.metric(phrase)
        if metric and metric.name != "score" and not vocabulary.benchmark(phrase):
            found.setdefault(metric.name, metric)
    return tuple(found.values())


def dataset_in(text: str, vocabulary: Vocabulary) -> str | None:
    """The data set that a text names: a known name, "on the X dataset", "X: a benchmark of ..."."""
    if len(text) <= 60 and not re.search(r"\d\.\d", text):
        said: Said = read_label(text, vocabulary)
        if said.benchmark:
            return said.dataset
    for pattern in (_ON_DATA, _EVALUATED_ON, _INTRODUCED, _SHARED_TASK):
        for found in pattern.finditer(text[-2000:]):
            name = found["name"].strip(" .-")
            first = name.split()[0].casefold() if name else ""
            if not first or first in _NO_NAME or key(name) in vocabulary.corpora or vocabulary.splits.get(key(name)):
                continue
            if vocabulary.dataset(name) and (re.search(r"[A-Z\d_/]|\w-\w", name) or vocabulary.benchmark(name)):
                return name
    return known_dataset(text, vocabulary)


def known_dataset(text: str, vocabulary: Vocabulary) -> str | None:
    """The first known data set in running text; names that are also plain words count only in capitals."""
    tokens = [token.strip(".-+") for token in _PHRASES.findall(text[-600:])]
    for first, end in spans(tokens, vocabulary.datasets, 3):
        phrase = " ".join(tokens[first:end])
        if len(key(phrase)) >= 3 and (
            re.search(r"[A-Z].*[A-Z]|\d|_", phrase) or (phrase[0].isupper() and key(phrase) not in _PLAIN_WORDS)
        ):
            return phrase
    return None


def split_in(text: str, vocabulary: Vocabulary) -> str | None:
    """The split that a text names: "on the test set", "validation split accuracy", "dev"."""
    found = re.search(
        r"\b(test|dev|development|validation|val|testing)(?:[- ](?:clean|other|matched))?[- ]?(?:sets?"
        r"|splits?|data\w*|partition|portion|subset|results?|accuracy|wer|f1|scores?)\b",
        text,
        re.IGNORECASE,
    )
    if found:
        return vocabulary.splits.get(key(found.group(1)))
    return None
