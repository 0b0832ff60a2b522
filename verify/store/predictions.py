"""What the engine writes and everything later reads: the predictions of one run, one class for each form they take.

Rows are in ascending order of example. Each class states its columns, which are those of the stored shards, so that a
run can be scored, judged and explained again without its model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any] | Sequence[Any]


class Family(StrEnum):
    """Predictions that are scored by the same metrics."""

    CLASSIFICATION = "classification"  # one class of several
    REGRESSION = "regression"  # a number
    MULTI_LABEL = "multi-label"  # any number of classes
    TAGGING = "tagging"  # a tag for every word
    ANSWERS = "answers"  # a span of a context, or no answer
    SUMMARIES = "summaries"
    TRANSLATIONS = "translations"
    TRANSCRIPTS = "transcripts"
    SIMILARITY = "similarity"  # of two embeddings
    LIKELIHOOD = "likelihood"  # of a text under a language model


@dataclass(frozen=True)
class Predictions(ABC):
    """Base of all: ``example`` int64 [N] are row numbers of the split."""

    COLUMNS: ClassVar[Mapping[str, str]] = {"example": "int64"}
    """Names and Arrow types (``list<…>`` for a list in each row) of the stored columns."""

    example: NDArray[np.int64]

    @property
    @abstractmethod
    def family(self) -> Family:
        """By which metrics they are scored."""

    def __len__(self) -> int:
        return len(self.example)

    def margins(self) -> NDArray[np.float64] | None:
        """How far each row's prediction is from becoming another one [N]; None where every bit of it counts."""
        return None


@dataclass(frozen=True)
class LabelPredictions(Predictions):
    """One class, or one number, for each example.

    ``logits`` float32 [N, C] in the model's own label order (C is 1 for regression). ``reference`` [N]: int64 label ids
    of the data set, or float64 targets. ``label_of_logit`` gives, for each logit, the data set's label id, or -1 for a
    class that the data set lacks; None for regression.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {"example": "int64", "logits": "list<float32>", "reference": "float64"}

    logits: NDArray[np.float32]
    reference: NDArray[np.int64] | NDArray[np.float64]
    label_of_logit: tuple[int, ...] | None

    @property
    def is_regression(self) -> bool:
        return self.label_of_logit is None

    @property
    def family(self) -> Family:
        return Family.REGRESSION if self.is_regression else Family.CLASSIFICATION

    def margins(self) -> NDArray[np.float64] | None:
        if self.logits.shape[1] < 2:
            return None
        top = np.partition(self.logits, -2, axis=1).astype(np.float64)
        margins: NDArray[np.float64] = top[:, -1] - top[:, -2]
        return margins


@dataclass(frozen=True)
class LabelSetPredictions(Predictions):
    """Any number of classes for each example.

    ``logits`` float32 [N, C] in the model's own order; ``reference`` bool [N, L] over the data set's labels;
    ``label_of_logit`` as in :class:`LabelPredictions`. A class is predicted where the sigmoid of its logit exceeds
    ``threshold`` (a fraction).
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {"example": "int64", "logits": "list<float32>", "reference": "list<bool>"}

    logits: NDArray[np.float32]
    reference: NDArray[np.bool_]
    label_of_logit: tuple[int, ...]
    threshold: float = 0.5

    @property
    def family(self) -> Family:
        return Family.MULTI_LABEL

    def predicted(self) -> NDArray[np.bool_]:
        """Which of the model's classes are predicted, [N, C]."""
        chosen: NDArray[np.bool_] = self.logits > np.log(self.threshold / (1 - self.threshold))
        return chosen

    def margins(self) -> NDArray[np.float64]:
        border = np.log(self.threshold / (1 - self.threshold))
        margins: NDArray[np.float64] = np.abs(self.logits.astype(np.float64) - border).min(axis=1)
        return margins


@dataclass(frozen=True)
class TagPredictions(Predictions):
    """A tag for every word that the model saw.

    ``tags`` and ``reference`` hold, for each example, one name per word, both in the data set's names (a class of the
    model that the data set lacks keeps the model's name). ``word_margins`` holds the gap between the two largest logits
    of each word. ``scheme`` is how the names mark entities: IOB1, IOB2, IOE1, IOE2, IOBES, BILOU, or none for plain
    tags such as parts of speech.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {
        "example": "int64",
        "tags": "list<string>",
        "reference": "list<string>",
        "word_margins": "list<float32>",
    }

    tags: Sequence[Sequence[str]]
    reference: Sequence[Sequence[str]]
    word_margins: Sequence[Sequence[float]]
    scheme: str = "IOB2"

    @property
    def family(self) -> Family:
        return Family.TAGGING

    def margins(self) -> NDArray[np.float64]:
        return np.array([min(row, default=np.inf) for row in self.word_margins], dtype=np.float64)


@dataclass(frozen=True)
class AnswerPredictions(Predictions):
    """A span of a context as the answer to a question; the empty string is "no answer".

    ``texts`` [N]; ``n_best`` and ``n_best_scores`` list the candidates of each row, best first, with the sum of their
    start and end logits; ``null_scores`` [N] is the score of "no answer" minus that of the best span (-inf where the
    model was not asked). ``references`` lists the acceptable answers of each row, none for an unanswerable question.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {
        "example": "int64",
        "texts": "string",
        "n_best": "list<string>",
        "n_best_scores": "list<float32>",
        "null_scores": "float64",
        "references": "list<string>",
        "row_margins": "float64",
    }

    texts: Sequence[str]
    n_best: Sequence[Sequence[str]]
    n_best_scores: Sequence[Sequence[float]]
    null_scores: NDArray[np.float64]
    references: Sequence[Sequence[str]]
    row_margins: NDArray[np.float64]

    @property
    def family(self) -> Family:
        return Family.ANSWERS

    def margins(self) -> NDArray[np.float64]:
        return self.row_margins


@dataclass(frozen=True)
class TextPredictions(Predictions):
    """A text for each example: a summary, a translation or a transcript.

    ``of`` is one of the three families. ``references`` lists the acceptable texts of each row. ``row_margins`` [N] is
    the smallest gap between the best and the second-best choice on the way to the text. ``spelling`` maps variant
    spellings to one, where the checkpoint has such a table.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {
        "example": "int64",
        "texts": "string",
        "references": "list<string>",
        "row_margins": "float64",
    }

    texts: Sequence[str]
    references: Sequence[Sequence[str]]
    row_margins: NDArray[np.float64]
    of: Family = Family.SUMMARIES
    spelling: Mapping[str, str] | None = None

    @property
    def family(self) -> Family:
        return self.of

    def margins(self) -> NDArray[np.float64]:
        return self.row_margins


@dataclass(frozen=True)
class SimilarityPredictions(Predictions):
    """How close the embeddings of two texts are.

    ``similarity`` float64 [N, 4] holds cosine, dot product, negative Manhattan and negative Euclidean distance;
    ``reference`` float64 [N] is the human rating.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {"example": "int64", "similarity": "list<float64>", "reference": "float64"}

    similarity: NDArray[np.float64]
    reference: NDArray[np.float64]

    @property
    def family(self) -> Family:
        return Family.SIMILARITY


@dataclass(frozen=True)
class LikelihoodPredictions(Predictions):
    """The likelihood of texts under a language model.

    For each row: ``nll`` float64, the sum of −ln p over the scored tokens; ``tokens``, ``words`` and ``bytes`` int64,
    how many of each were scored; ``hits`` int64, how many scored tokens were the most likely ones. ``unit`` is what
    one row is: a document, or the last word of one.
    """

    COLUMNS: ClassVar[Mapping[str, str]] = {
        "example": "int64",
        "nll": "float64",
        "tokens": "int64",
        "words": "int64",
        "bytes": "int64",
        "hits": "int64",
    }

    nll: NDArray[np.float64]
    tokens: NDArray[np.int64]
    words: NDArray[np.int64]
    bytes: NDArray[np.int64]
    hits: NDArray[np.int64]
    unit: str = "document"

    @property
    def family(self) -> Family:
        return Family.LIKELIHOOD


CLASSES: Mapping[Family, type[Predictions]] = {
    Family.CLASSIFICATION: LabelPredictions,
    Family.REGRESSION: LabelPredictions,
    Family.MULTI_LABEL: LabelSetPredictions,
    Family.TAGGING: TagPredictions,
    Family.ANSWERS: AnswerPredictions,
    Family.SUMMARIES: TextPredictions,
    Family.TRANSLATIONS: TextPredictions,
    Family.TRANSCRIPTS: TextPredictions,
    Family.SIMILARITY: SimilarityPredictions,
    Family.LIKELIHOOD: LikelihoodPredictions,
}


def subset(predictions: Predictions, chosen: NDArray[np.bool_]) -> Predictions:
    """The rows where ``chosen`` [N] is true."""
    columns = {name: getattr(predictions, name) for name in predictions.COLUMNS}
    kept: dict[str, Any] = {
        name: column[chosen]
        if isinstance(column, np.ndarray)
        else [value for value, keep in zip(column, chosen, strict=True) if keep]
        for name, column in columns.items()
    }
    return replace(predictions, **kept)


def with_rows(predictions: Predictions, rows: NDArray[np.int64], others: Predictions) -> Predictions:
    """``predictions`` with ``rows`` replaced by the rows of ``others``, one for each."""
    changed: dict[str, Any] = {}
    for name in predictions.COLUMNS:
        column = getattr(predictions, name)
        column = column.copy() if isinstance(column, np.ndarray) else list(column)
        for row, value in zip(rows.tolist(), getattr(others, name), strict=True):
            column[row] = value
        changed[name] = column
    return replace(predictions, **changed)


def from_table(family: Family, info: Mapping[str, Any], table: Any) -> Predictions:
    """Stored rows (an Arrow table) as predictions; ``info`` is what the engine recorded beside them."""
    form = CLASSES[family]
    columns = {name: _column(table[name], arrow) for name, arrow in form.COLUMNS.items()}
    if family in (Family.CLASSIFICATION, Family.REGRESSION):
        labels = info["label_of_logit"]
        if labels is not None:
            columns["reference"] = columns["reference"].astype(np.int64)
        return LabelPredictions(**columns, label_of_logit=None if labels is None else tuple(labels))
    if form is TextPredictions:
        return TextPredictions(**columns, of=family, spelling=info.get("spelling"))
    more = {name: info[name] for name in ("label_of_logit", "threshold", "scheme", "unit") if name in info}
    known = form.__dataclass_fields__
    return form(**columns, **{name: _tuple(value) for name, value in more.items() if name in known})


def _column(column: Any, arrow: str) -> Any:
    """A numpy array for numbers (a matrix for lists of numbers of one length), else a Python list."""
    if arrow == "string" or arrow == "list<string>":
        return column.to_pylist()
    if not arrow.startswith("list<"):
        return column.to_numpy()
    joined = column.combine_chunks()
    lengths = np.diff(joined.offsets.to_numpy())
    flat = joined.flatten().to_numpy(zero_copy_only=False)
    if len(lengths) and (lengths == lengths[0]).all():
        return flat.reshape(len(lengths), int(lengths[0]))
    return np.split(flat, np.cumsum(lengths)[:-1]) if len(lengths) else flat.reshape(0, 0)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
