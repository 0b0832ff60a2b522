"""Verdicts and claims as data frames, from the objects that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from verify.processes.import_path import protected

if TYPE_CHECKING:
    import pandas

_OF_CLAIMS = ("metric", "unit", "dataset", "config", "file", "line")
_OF_VERDICTS = ("measured", "delta", "n", "population", "evidence", "task", "split", "reason", "next", "result")
COLUMNS = ("model", "revision", "kind", "metric", "claimed", "unit", "dataset", "config", "file", "line", *_OF_VERDICTS)
"""Of :func:`frame_of_verdicts`. ``claimed`` is as the card prints it; ``measured`` and ``delta`` are in ``unit``."""

_COUNTS = dict.fromkeys(("line", "n", "population"), "Int64")
"""Whole numbers also where some are missing, which pandas otherwise makes decimal ones."""


CLAIM_COLUMNS = (
    "claim_id",
    "metric",
    "value",
    "literal",
    "unit",
    "interval",
    "task",
    "dataset",
    "dataset_name",
    "config",
    "split",
    "settings",
    "subject",
    "where",
    "file",
    "line",
    "end_line",
    "quote",
    "confidence",
    "date",
    "notes",
    "resolved_task",
    "resolved_split",
    "reason",
)
"""Of :func:`frame_of_claims`: the fields of an entry of ``verify claims --json``."""


def frame_of_verdicts(
    models: Iterable[tuple[str, str | None, Sequence[Mapping[str, Any]]]],
) -> pandas.DataFrame:
    """A row for each verdict of each model (name, revision, entries), with :data:`COLUMNS`, an empty one included.

    Raises KeyError, TypeError, AttributeError or OverflowError for an entry that is no verdict.
    """
    pandas = _pandas()
    rows = [
        {"model": model, "revision": revision, **_row(entry)}
        for model, revision, entries in models
        for entry in entries
    ]
    return pandas.DataFrame(rows, columns=list(COLUMNS)).astype(_COUNTS)


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    claim = entry.get("claim") or {}
    return {
        "kind": entry["kind"],
        "claimed": claim.get("literal"),
        **{name: claim.get(name) for name in _OF_CLAIMS},
        **{name: entry.get(name) for name in _OF_VERDICTS},
    }


def frame_of_claims(entries: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """A row for each entry of ``verify claims --json``; its columns are there without any, too."""
    return _pandas().DataFrame(list(entries), columns=list(CLAIM_COLUMNS))


def frame_of_models(entries: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """A row for each model of ``verify sweep --json``."""
    columns = ["model", "attempted", "flagged", "not_settled", "verdicts", "error"]
    return _pandas().DataFrame(list(entries), columns=columns)


def _pandas() -> Any:
    """The library, which costs half a second and is asked for outside of any call: none of the working folder's."""
    with protected():
        import pandas
    return pandas
