"""What the package's `evaluate` modules take, family by family, and how it becomes the predictions of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from verify.errors import UsageError
from verify.metrics.families.embedding import SIMILARITIES
from verify.store.predictions import (
    AnswerPredictions,
    Family,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
    TagPredictions,
    TextPredictions,
)
from verify.tasks.kinds import KINDS

SCHEMES = KINDS["token-classification"].settings["scheme"].allowed
UNITS = ("document", "last word")

Columns = Mapping[str, Sequence[Any]]
Form = Mapping[str, Any]
"""Column names and types of an input: an Arrow type, [a type] for a list in each row, or a mapping for a record."""


@dataclass(frozen=True)
class Inputs:
    """The ``forms`` in which a module takes its input (the first that fits is meant), and the ``keywords`` of compute.

    ``predictions`` turns columns and keywords into the predictions of a run; keywords are settings of the task too.
    """

    forms: tuple[Form, ...]
    columns: str
    predictions: Callable[[Columns, Mapping[str, Any]], Predictions]
    keywords: tuple[str, ...] = ()

    @property
    def description(self) -> str:
        """What the columns hold and the keywords do."""
        return "; ".join([self.columns, *(f"{name} (keyword): {_KEYWORDS[name]}" for name in self.keywords)])


_KEYWORDS = {
    "average": "macro, micro, weighted (by how often a label occurs) or samples (mean over examples)",
    "lowercase": "whether case is ignored; False if not given",
    "normalizer": "none, lower, no_punctuation, whisper_basic or whisper_english; none if not given",
    "scheme": f"how tags mark entities, one of {', '.join(SCHEMES)}; auto (read off the tags) if not given",
    "sentences": "whether sentences are split by a rule (rule) or at line breaks alone (lines); rule if not given",
    "tokenize": "sacreBLEU's tokeniser: 13a, intl, zh, char or none; 13a if not given",
    "unit": "what one row is, document or last word; document if not given",
    "use_stemmer": "whether words are stemmed; True if not given",
}


def inputs(family: Family, name: str, config_name: str = "default") -> Inputs:
    """The inputs of a metric of any family but single-label classification and regression.

    ``config_name`` matters to answers alone: with "squad_v2" their records hold ``no_answer_probability``. Metrics that
    only SQuAD 2.0 has always take those.
    """
    if family in (Family.SUMMARIES, Family.TRANSLATIONS, Family.TRANSCRIPTS):
        return Inputs(
            ({"predictions": "string", "references": ["string"]}, {"predictions": "string", "references": "string"}),
            "predictions: texts [N]; references: a text, or a list of acceptable texts, for each [N]",
            partial(_texts, family),
            _TEXT_KEYWORDS.get(name, ("normalizer",) if family is Family.TRANSCRIPTS else ()),
        )
    if family is Family.LIKELIHOOD:
        amount, count = _LIKELIHOOD[name]
        return Inputs(
            ({amount: "float64" if amount == "nll" else "int64", count: "int64"},),
            f"for each text [N]: {amount}: {_SUMS[amount]}; {count}: {_SUMS[count]}",
            _likelihood,
            ("unit",) if name == "accuracy" else (),
        )
    return {
        Family.MULTI_LABEL: _LABEL_SCORES if name in _OF_LOGITS else _label_sets(name),
        Family.TAGGING: _TAGS,
        Family.ANSWERS: _answer_inputs(config_name == "squad_v2" or name not in ("exact_match", "f1")),
        Family.SIMILARITY: Inputs(
            ({"predictions": "float64", "references": "float64"},),
            "predictions: similarities of two texts, floats [N], a distance with its sign changed; references: human "
            "ratings, floats [N]",
            partial(_similarity, name),
        ),
    }[family]


_TEXT_KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "rouge1": ("use_stemmer",),
    "rouge2": ("use_stemmer",),
    "rougeL": ("use_stemmer",),
    "rougeLsum": ("use_stemmer", "sentences"),
    "bleu": ("tokenize", "lowercase"),
}


def _texts(family: Family, columns: Columns, keywords: Mapping[str, Any]) -> TextPredictions:
    references = [[one] if isinstance(one, str) else one for one in columns["references"]]
    n = len(references)
    return TextPredictions(np.arange(n), columns["predictions"], references, np.full(n, np.inf), of=family)


_SUMS = {
    "nll": "the sum of −ln p over the scored tokens",
    "tokens": "how many tokens were scored",
    "words": "how many words the text has",
    "bytes": "how many bytes the text has",
    "hits": "how many scored tokens were the most likely ones",
}
_LIKELIHOOD: Mapping[str, tuple[str, str]] = {
    "loss": ("nll", "tokens"),
    "perplexity": ("nll", "tokens"),
    "word_perplexity": ("nll", "words"),
    "byte_perplexity": ("nll", "bytes"),
    "bits_per_byte": ("nll", "bytes"),
    "accuracy": ("hits", "tokens"),
}


def _likelihood(columns: Columns, keywords: Mapping[str, Any]) -> LikelihoodPredictions:
    unit, n = str(keywords.get("unit", UNITS[0])), len(next(iter(columns.values())))
    if unit not in UNITS:
        raise UsageError(f"The keyword unit is {' or '.join(UNITS)}, not {unit!r}.")
    zeros = np.zeros(n, np.int64)
    counts = {name: np.asarray(columns.get(name, zeros), np.int64) for name in ("tokens", "words", "bytes", "hits")}
    nll = np.asarray(columns.get("nll", zeros), np.float64)
    return LikelihoodPredictions(np.arange(n), nll, **counts, unit=unit)


_OF_LOGITS = ("loss", "roc_auc_micro", "roc_auc_macro", "pr_auc")


def _label_sets(name: str) -> Inputs:
    keywords = ("average",) if name in ("f1", "precision", "recall") else ()
    text = "predictions and references: for each example a row of 0 and 1, one for each label, int [N, L]"
    return Inputs(({"predictions": ["int64"], "references": ["int64"]},), text, _sets, keywords)


def _sets(columns: Columns, keywords: Mapping[str, Any]) -> LabelSetPredictions:
    predicted, reference = (_table(columns[side]) for side in ("predictions", "references"))
    return _label_set(np.where(predicted > 0, np.float32(1), np.float32(-1)), reference)


def _label_scores(columns: Columns, keywords: Mapping[str, Any]) -> LabelSetPredictions:
    return _label_set(_table(columns["predictions"]).astype(np.float32), _table(columns["references"]))


def _label_set(logits: Any, reference: Any) -> LabelSetPredictions:
    if logits.shape != reference.shape:
        shapes = " and ".join(" × ".join(map(str, table.shape)) for table in (logits, reference))
        raise UsageError(f"Predictions and references must be tables of the same shape, not {shapes}.")
    return LabelSetPredictions(np.arange(len(logits)), logits, reference > 0, tuple(range(logits.shape[1])))


def _table(rows: Sequence[Sequence[Any]]) -> Any:
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise UsageError(f"Every row must have one entry for each label; rows of {min(lengths)} and {max(lengths)} do.")
    return np.asarray(rows)


_LABEL_SCORES = Inputs(
    ({"predictions": ["float32"], "references": ["int64"]},),
    "predictions: rows of logits, floats [N, L]; references: rows of 0 and 1, int [N, L]",
    _label_scores,
)


def _tags(columns: Columns, keywords: Mapping[str, Any]) -> TagPredictions:
    from verify.metrics.families.sequence import detect_scheme

    tags, reference = columns["predictions"], columns["references"]
    short = sum(len(one) != len(other) for one, other in zip(tags, reference, strict=True))
    if short:
        raise UsageError(f"{short} of {len(tags)} rows have another number of predicted than of reference tags.")
    scheme = keywords.get("scheme", "auto")
    if scheme not in SCHEMES:
        raise UsageError(f"The keyword scheme is one of {', '.join(SCHEMES)}, not {scheme!r}.")
    if scheme == "auto":
        scheme = detect_scheme({tag for rows in (tags, reference) for row in rows for tag in row}, reference)
    return TagPredictions(np.arange(len(tags)), tags, reference, [[np.inf] * len(row) for row in tags], scheme)


_TAGS = Inputs(
    ({"predictions": ["string"], "references": ["string"]},),
    "predictions and references: a list of tags, one for each word, for each text [N]",
    _tags,
    ("scheme",),
)


def _answers(columns: Columns, keywords: Mapping[str, Any]) -> AnswerPredictions:
    predictions, references = columns["predictions"], columns["references"]
    nulls = np.full(len(predictions), -np.inf)
    if isinstance(predictions[0], Mapping):
        by_id = {row["id"]: row for row in predictions}
        if len(by_id) < len(predictions) or {row["id"] for row in references} != set(by_id):
            raise UsageError("The ids of predictions and references must be the same, each of them once.")
        ordered = [by_id[row["id"]] for row in references]
        texts = [row["prediction_text"] for row in ordered]
        nulls = np.array([row.get("no_answer_probability", -np.inf) for row in ordered], np.float64)
        accepted = [list(row["answers"]["text"]) for row in references]
    else:
        texts, accepted = list(predictions), [list(several) for several in references]
    n = len(texts)
    lists: list[list[Any]] = [[]] * n
    return AnswerPredictions(np.arange(n), texts, lists, lists, nulls, accepted, np.full(n, np.inf))


_ANSWER_RECORD = {"id": "string", "prediction_text": "string"}
_ANSWERED = {"id": "string", "answers": {"text": ["string"], "answer_start": ["int64"]}}


def _answer_inputs(second: bool) -> Inputs:
    """``second``: records are those of squad_v2. `evaluate` cannot tell records apart that differ in their fields."""
    record = {**_ANSWER_RECORD, "no_answer_probability": "float64"} if second else _ANSWER_RECORD
    return Inputs(
        ({"predictions": record, "references": _ANSWERED}, {"predictions": "string", "references": ["string"]}),
        "predictions: answers [N], empty for none; references: a list of acceptable answers for each [N], empty for "
        f"none; or both as records, as in the module {'squad_v2' if second else 'squad'} on the Hub: "
        f"{', '.join(record)}; id and answers",
        _answers,
    )


def _similarity(name: str, columns: Columns, keywords: Mapping[str, Any]) -> SimilarityPredictions:
    prefix = max((prefix for prefix in SIMILARITIES if name.startswith(prefix)), key=len)
    reference = np.asarray(columns["references"], np.float64)
    similarity = np.zeros((len(reference), len(SIMILARITIES)))
    similarity[:, SIMILARITIES[prefix]] = columns["predictions"]
    return SimilarityPredictions(np.arange(len(reference)), similarity, reference)
