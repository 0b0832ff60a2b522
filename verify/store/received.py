"""Results that somebody else made, or this program before there were seals: they are read if all of them fits together.

What was made here is known by its seal and needs no such look. Whatever does not fit is an
:class:`verify.foundation.plain.UnreadableError` that says what it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from verify.foundation.plain import UnreadableError, from_plain
from verify.store.predictions import (
    CLASSES,
    AnswerPredictions,
    Family,
    LabelPredictions,
    LabelSetPredictions,
    LikelihoodPredictions,
    Predictions,
    SimilarityPredictions,
    TagPredictions,
)
from verify.types import Measurement

MOST_EXAMPLES = 50_000_000
"""More than any split has; a number of examples is memory to be taken."""
MOST_BYTES = 1_000_000_000
"""Of a shard's rows in memory: a few bytes on disk can stand for any number of them."""
ROWS_AT_ONCE = 256

_CLASSIFIED = frozenset({Family.CLASSIFICATION, Family.REGRESSION, Family.MULTI_LABEL})


@dataclass(frozen=True)
class _Info:
    """What is read of run.json, and of which form it must be."""

    family: Family
    population: int
    notes: tuple[str, ...]
    label_of_logit: tuple[int, ...] | None = None
    model_labels: tuple[str, ...] | None = None
    data_labels: tuple[str, ...] | None = None
    threshold: float = 0.5
    scheme: str = ""
    unit: str = ""
    spelling: Mapping[str, str] | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    longest_reference: float | None = None


def checked_info(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """What run.json says, itself."""
    known = {name: value for name, value in found.items() if name in _Info.__dataclass_fields__}
    info: _Info = from_plain(_Info, known, "the run")
    if not 0 <= info.population <= MOST_EXAMPLES:
        raise UnreadableError(f"no split has {info.population:.3g} examples")
    if not 0 < info.threshold < 1:
        raise UnreadableError("the run.threshold must be between 0 and 1")
    if info.family in _CLASSIFIED and "label_of_logit" not in found:
        raise UnreadableError("the run lacks the key label_of_logit")
    labels = info.label_of_logit
    if (info.family is Family.REGRESSION) != (labels is None) and info.family in _CLASSIFIED:
        raise UnreadableError(f"the run.label_of_logit does not fit the family {info.family}")
    if labels is not None and (min(labels, default=0) < -1 or max(labels, default=0) >= _classes(info)):
        raise UnreadableError("the run.label_of_logit names a class that there is not")
    return found


def _classes(info: _Info) -> int:
    return len(info.data_labels) if info.data_labels is not None else MOST_EXAMPLES


def checked_table(content: bytes, info: Mapping[str, Any] | None) -> Any:
    """The rows of a shard as an Arrow table, with the columns, types and examples of the run of ``info``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if info is None:
        raise UnreadableError("no run is there that says what these rows are")
    family = Family(info["family"])
    form = CLASSES[family]
    try:
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        _check_schema(file.schema_arrow, form)
        if file.metadata.num_rows > MOST_EXAMPLES:
            raise UnreadableError(f"it says that it has {file.metadata.num_rows:.3g} rows")
        batches, size = [], 0
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=list(form.COLUMNS), use_threads=False):
            size += batch.nbytes
            if size > MOST_BYTES:
                raise UnreadableError(f"its rows take more than {MOST_BYTES / 1e9:.0f} GB")
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=file.schema_arrow).select(list(form.COLUMNS))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"it cannot be read as Parquet ({type(error).__name__})") from error
    for name in table.column_names:
        column = table[name].combine_chunks()
        inner = column.flatten() if pa.types.is_list(column.type) else column
        if column.null_count or inner.null_count:
            raise UnreadableError(f"the column {name} lacks values")
    example = table["example"].to_numpy()
    if len(example) and not (example.min() >= 0 and example.max() < info["population"]):
        raise UnreadableError(f"a row is of no example, of which there are {info['population']}")
    if family is Family.CLASSIFICATION and not np.isfinite(table["reference"].to_numpy()).all():
        raise UnreadableError("a label is no number")
    return table


def _check_schema(schema: Any, form: type[Predictions]) -> None:
    import pyarrow as pa

    for name, arrow in form.COLUMNS.items():
        if schema.names.count(name) != 1:
            raise UnreadableError(f"it has no column {name}")
        found = schema.field(name).type
        is_list = arrow.startswith("list<")
        wanted = pa.type_for_alias(arrow[5:-1] if is_list else arrow)
        if pa.types.is_list(found) != is_list or (found.value_type if is_list else found) != wanted:
            raise UnreadableError(f"the column {name} holds {found}, not {arrow}")


def checked_predictions(found: Predictions, info: Mapping[str, Any]) -> Predictions:
    """The predictions themselves, if they can be those of the run that ``info`` describes."""
    problem = _problem(found, info.get("data_labels"))
    if problem:
        raise UnreadableError(problem)
    return found


def _problem(found: Predictions, data_labels: Any) -> str | None:
    """What does not fit in the columns of predictions, None if all does."""
    if isinstance(found, LabelPredictions | LabelSetPredictions):
        width = 1 if found.label_of_logit is None else len(found.label_of_logit)
        if not _is_matrix(found.logits) or found.logits.shape[1] != width:
            return f"the logits are not {width} a row"
    if isinstance(found, LabelPredictions) and not found.is_regression and len(found):
        most = len(data_labels) if data_labels is not None else MOST_EXAMPLES
        if found.reference.min() < 0 or found.reference.max() >= most:
            return "a label is none of the data set's"
    if isinstance(found, LabelSetPredictions):
        highest = max(found.label_of_logit, default=-1)
        if not _is_matrix(found.reference) or (len(found) and found.reference.shape[1] <= highest):
            return "the labels are not those of the data set"
    if isinstance(found, TagPredictions) and not _fit(found.tags, found.reference):
        return "a row has not as many tags as words"
    if isinstance(found, AnswerPredictions) and not _fit(found.n_best, found.n_best_scores):
        return "a row has not as many answers as scores"
    if isinstance(found, SimilarityPredictions) and (
        not _is_matrix(found.similarity) or found.similarity.shape[1] != 4
    ):
        return "the similarities are not four a row"
    if isinstance(found, LikelihoodPredictions) and len(found):
        counts = (found.tokens, found.words, found.bytes, found.hits)
        if any(column.min() < 0 for column in counts) or (found.hits > found.tokens).any():
            return "a count is out of range"
    return None


def _fit(one: Sequence[Sequence[Any]], other: Sequence[Sequence[Any]]) -> bool:
    return all(len(a) == len(b) for a, b in zip(one, other, strict=True))


def _is_matrix(column: Any) -> bool:
    return isinstance(column, np.ndarray) and column.ndim == 2


def read_measurement(found: Mapping[str, Any]) -> Measurement:
    """A measurement out of the JSON that was stored of it."""
    if found.get("schema") != 1:
        raise UnreadableError(f"it has the schema {found.get('schema')!r}, and this version reads 1")
    values = {name: value for name, value in found.items() if name != "schema"}
    measurement: Measurement = from_plain(Measurement, values, "the measurement")
    return measurement


def checked_measurement(found: Measurement) -> Measurement:
    """The measurement itself, if its numbers can be those of a run."""
    if not 0 < found.n <= found.population <= MOST_EXAMPLES:
        raise UnreadableError("so many examples no run has")
    if not 0 <= found.flips <= found.probed <= found.population:
        raise UnreadableError("so many examples cannot have run a second time")
    for name, score in found.scores.items():
        if math.isnan(score.value) or not score.budget >= 0 or not 0 <= score.n < 2**53:
            raise UnreadableError(f"the score {name} is no number, or one of no run")
        if score.count is not None and not 0 <= score.count <= score.n:
            raise UnreadableError(f"the count of {name} is out of range")
    _check_provenance(found.provenance)
    return found


@dataclass(frozen=True)
class _Provenance:
    """What is read of a measurement's provenance, and of which form it must be."""

    seed: int = 0
    model_revision: str | None = None
    dataset_revision: str | None = None
    dataset_digest: str | None = None
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    data_labels: tuple[str, ...] | None = None
    model_labels: tuple[str, ...] | None = None


def _check_provenance(found: Mapping[str, Any]) -> None:
    known = {name: value for name, value in found.items() if name in _Provenance.__dataclass_fields__}
    provenance: _Provenance = from_plain(_Provenance, known, "the measurement.provenance")
    if provenance.seed < 0:
        raise UnreadableError("the measurement.provenance.seed must not be negative")
