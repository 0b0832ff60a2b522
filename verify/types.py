"""The words of the project: what a claim, a task, a measurement and a verdict are.

Read this file first. Everything from claim to verdict is a pure function over these frozen dataclasses. Scores inside
the program are fractions (0.91) or raw numbers (a loss); only a claim keeps the unit that its card prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from verify.foundation.content import content_key

Setting = str | int | float | bool | None

Emit = Callable[[Mapping[str, Any]], None]
"""Receives the events of whatever takes long: how far it is, as plain values."""

Tell = Callable[[str], None]
"""Receives a sentence for the user."""

FOREIGN = "evaluate:"
"""What stands before the name of a metric that is an `evaluate` module, and so is code."""


class Unit(StrEnum):
    """The scale on which a value is printed."""

    FRACTION = "fraction"  # 0.91
    PERCENT = "percent"  # 91.0, with or without a % sign
    RAW = "raw"  # a loss, an error count, a rating: never rescaled


class Source(StrEnum):
    """The place in a repository where a claim stands."""

    MODEL_INDEX = "model-index"  # the card's YAML metadata
    EVAL_RESULTS = "eval-results"  # .eval_results/*.yaml
    EVAL_LIST = "eval-list"  # "It achieves the following results": - Accuracy: 0.91
    TABLE = "table"
    PROSE = "prose"


class VerdictKind(StrEnum):
    """What is known about one claim after a run."""

    REPRODUCED = "reproduced"  # full rerun, inside the print interval widened by the flip budget
    CONSISTENT = "consistent"  # sampled rerun, shown to lie within the policy's margin
    OVERSTATED = "overstated"  # shown to be better than what was measured
    UNDERSTATED = "understated"  # shown to be worse than what was measured
    EXPLAINED = "explained"  # differs as stated; one named change of setting reproduces it
    IMPOSSIBLE = "impossible"  # arithmetic on the card alone rules the number out
    UNDERSPECIFIED = "underspecified"  # several readings of the card fit, and they disagree
    INCONCLUSIVE = "inconclusive"  # the budget ran out first
    UNVERIFIABLE = "unverifiable"  # no task, private data, other data than claimed …
    BLOCKED = "blocked"  # refused for safety, or the weights do not fill the head
    ERROR = "error"  # the run failed

    @property
    def holds(self) -> bool | None:
        """True if the claim stands, False if it does not, None if nothing was settled."""
        if self in (VerdictKind.REPRODUCED, VerdictKind.CONSISTENT):
            return True
        if self in (VerdictKind.OVERSTATED, VerdictKind.UNDERSTATED, VerdictKind.EXPLAINED, VerdictKind.IMPOSSIBLE):
            return False
        return None


class Rung(StrEnum):
    """The evidence behind a verdict, cheapest first."""

    ARITHMETIC = "arithmetic"  # the card alone
    RESCORED = "rescored"  # stored predictions
    SAMPLED = "sampled"  # a seeded random part of the split
    FULL = "full"  # every example of the split


@dataclass(frozen=True)
class Interval:
    """The half-open interval [low, high) that a printed number allows: 0.91 → [0.905, 0.915)."""

    low: float
    high: float

    def widened(self, by: float) -> Interval:
        """Return the interval with ``by`` (same unit) added on each side."""
        return Interval(self.low - by, self.high + by)


@dataclass(frozen=True)
class Evidence:
    """Where a claim was read: 1-based lines of a file of the repository, and the literal text there.

    ``literal`` is the number as it is printed in this place, which lines ``line`` to ``end_line`` contain.
    """

    source: Source
    file: str
    line: int
    end_line: int
    quote: str
    literal: str = ""


@dataclass(frozen=True)
class Claim:
    """One number that a model card states about its own model.

    ``value`` and ``interval`` are in the claim's own ``unit``, as printed. ``literal`` keeps the printed characters,
    because trailing zeros carry information ("91.0" is more precise than "91"). ``metric`` is canonical
    (``verify/claims/meaning/vocabulary.yaml``); ``dataset``, ``config`` and ``split`` are the card's own words, and
    None where it is silent. ``notes`` states every reading that is not literally on the card.
    """

    model: str
    metric: str
    value: float
    literal: str
    unit: Unit
    interval: Interval
    evidence: tuple[Evidence, ...]
    task: str | None = None
    dataset: str | None = None
    dataset_name: str | None = None
    config: str | None = None
    split: str | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    subject: str | None = None
    revision: str | None = None
    date: str | None = None
    verified: bool = False
    verify_token: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def claim_id(self) -> str:
        """Sixteen hex digits, equal for two readings of the same number about the same thing."""
        what = [self.model, self.metric, self.literal, self.dataset, self.config, self.split, self.subject]
        return content_key([*what, dict(self.settings)])

    @property
    def scale(self) -> float:
        """What a measured fraction is multiplied by to stand in the claim's unit."""
        return 100.0 if self.unit is Unit.PERCENT else 1.0


@dataclass(frozen=True)
class DatasetSource:
    """A data set: a Hub id, a local folder, or data files; ``split`` is the task's default split.

    ``path`` is a Hub id, a folder, or a builder name (csv, json, parquet, imagefolder …) when ``data_files`` is given.
    """

    path: str
    name: str | None = None
    split: str = "test"
    revision: str | None = None
    data_files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class TaskSpec:
    """What one file in ``tasks/`` says; ``file`` is where it was read.

    ``columns`` maps the kind's roles (text, image, label …) to column names; ``translation.de`` is a part of a column.
    ``labels`` are the class names in label-id order, for data that carry none. ``label_aliases`` maps a class name to
    other names for it. ``rows`` states the number of examples of each split, which is checked when the data are loaded;
    ``unlabelled`` names splits that carry no references; ``drop_unlabelled`` leaves out the rows without one, where
    everybody does so (``rows`` then counts the others). ``settings`` are those of the kind (``verify/tasks/kinds.py``)
    that the file changes.
    """

    name: str
    kind: str
    dataset: DatasetSource
    columns: Mapping[str, str]
    metrics: tuple[str, ...]
    file: str
    aliases: tuple[str, ...] = ()
    description: str = ""
    labels: tuple[str, ...] | None = None
    label_aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    drop_unlabelled: bool = False
    split_aliases: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """One metric of one run: a fraction or a raw number, with the exact count ``count`` of ``n`` where it is one.

    ``budget`` is the flip budget: how far the metric may move between two sound configurations of the same run.
    """

    value: float
    n: int
    count: int | None = None
    budget: float = 0.0


@dataclass(frozen=True)
class Measurement:
    """The scores of one model on one split, with everything needed to say what was measured.

    ``n`` of ``population`` examples were run; ``probed`` of them ran a second time in another configuration, and
    ``flips`` of those changed their prediction. ``provenance`` holds revisions, digests, versions, device, dtype,
    processes and wall time (seconds). ``notes`` are statements that a reader of a verdict must see.
    """

    task: str
    split: str
    n: int
    population: int
    scores: Mapping[str, Score]
    probed: int
    flips: int
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    result: str | None = None

    @property
    def is_full(self) -> bool:
        return self.n == self.population


@dataclass(frozen=True)
class Verdict:
    """What became of one claim. ``measured``, ``delta`` (measured − claimed) and ``interval`` are in the claim's unit.

    ``interval`` is what the claim was allowed: its print interval widened by the flip budget and the tolerance.
    ``e_value`` is the evidence against the claim that a sample gives (:mod:`verify.judging.many`), None for all else.
    """

    kind: VerdictKind
    claim: Claim
    rule: str
    reason: str
    next_step: str | None = None
    task: str | None = None
    split: str | None = None
    rung: Rung | None = None
    measured: float | None = None
    delta: float | None = None
    interval: Interval | None = None
    n: int | None = None
    population: int | None = None
    flips: int | None = None
    probed: int | None = None
    e_value: float | None = None
    explanation: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    result: str | None = None

    @property
    def is_attempted(self) -> bool:
        """Whether the number was compared with anything; how many were flagged says little without how many were."""
        return self.rung is not None
