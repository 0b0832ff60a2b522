"""What a check leaves behind beside its measurements, so that it can be judged and explained again without its model.

``results/<model>/claims.json`` holds the claims in full, what each was matched with, what arithmetic on the card shows,
the tasks as they were read, and where the run of every task and split is stored. Paths inside are relative to its
folder, which may be moved or copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

from verify import errors
from verify.claims.meaning.group import Finding
from verify.errors import UsageError, VerifyError
from verify.foundation.plain import UnreadableError, from_plain
from verify.store.files import DamagedError, checked, damaged, read_stored, write_sealed
from verify.tasks.kinds import KINDS
from verify.tasks.match import Match
from verify.tasks.resolve import Resolved
from verify.types import Claim, Measurement, TaskSpec

SCHEMA = "verify.record/1"
FILE = "claims.json"

Results = Mapping[tuple[str, str], Measurement | VerifyError]
"""What measuring gave, by task and split."""


@dataclass(frozen=True)
class Conditions:
    """How the rows were chosen and run, in the words of the configuration: all that a stored run depends on.

    ``probe_share`` is a fraction, ``max_length`` counts tokens.
    """

    limit: int | None
    seed: int
    probe_share: float
    dtype: str
    precision: str
    max_length: int | None


@dataclass(frozen=True)
class RecordedMatch:
    """A :class:`verify.tasks.match.Match` with its task by name."""

    task: str | None
    split: str
    split_known: bool
    notes: tuple[str, ...]
    reason: str
    next_step: str


@dataclass(frozen=True)
class Failure:
    """An error that took the place of a measurement: the name of its class, and what it said."""

    kind: str
    message: str


@dataclass(frozen=True)
class Cell:
    """One split of one task: where its run and its scores are stored, or why there are none.

    ``run`` is the folder of the run, ``scores`` the file of its scores. ``dataset_revision`` and ``dataset_digest``
    identify the data.
    """

    task: str
    split: str
    run: str | None = None
    scores: str | None = None
    dataset_revision: str | None = None
    dataset_digest: str | None = None
    failure: Failure | None = None


@dataclass(frozen=True)
class Record:
    """One check of one model. ``reference`` finds the model again, ``digests`` identify its files.

    ``base`` finds the model again that an adapter was laid over.
    ``impossible`` maps the id of a claim to the place of its finding among ``findings``; ``epochs`` is the card's own
    table of training epochs (:class:`verify.tasks.resolve.Resolved`). ``retry`` is the command that was given, and
    ``policy`` the name of the policy that the verdicts beside it follow.
    """

    model: str
    reference: str
    revision: str | None
    digests: Mapping[str, str]
    retry: str
    policy: str
    conditions: Conditions
    claims: tuple[Claim, ...]
    matches: tuple[RecordedMatch, ...]
    candidates: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    impossible: Mapping[str, int]
    tasks: tuple[TaskSpec, ...]
    cells: tuple[Cell, ...]
    epochs: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    base: str | None = None

    def task(self, name: str) -> TaskSpec:
        return next(task for task in self.tasks if task.name == name)

    def resolved(self) -> Resolved:
        """The claims and their matches as they were when the check ran."""
        return Resolved(
            self.claims,
            tuple(
                Match(
                    self.task(one.task) if one.task else None,
                    one.split,
                    one.split_known,
                    one.notes,
                    one.reason,
                    one.next_step,
                )
                for one in self.matches
            ),
            self.candidates,
            self.findings,
            {claim_id: self.findings[place] for claim_id, place in self.impossible.items()},
            self.epochs,
        )


def recorded(
    resolved: Resolved,
    results: Results,
    tasks: Mapping[tuple[str, str], TaskSpec],
    folder: Path,
    *,
    model: str,
    reference: str,
    revision: str | None,
    digests: Mapping[str, str],
    retry: str,
    policy: str,
    conditions: Conditions,
    base: str | None = None,
) -> Record:
    """The record of a check, to be written into ``folder``; ``tasks`` are those measured, by task and split."""
    used = {task.name: task for task in tasks.values()}
    used |= {match.task.name: match.task for match in resolved.matches if match.task}
    matches = tuple(
        RecordedMatch(
            match.task.name if match.task else None,
            match.split,
            match.split_known,
            match.notes,
            match.reason,
            match.next_step,
        )
        for match in resolved.matches
    )
    return Record(
        model=model,
        reference=reference,
        revision=revision,
        digests=dict(digests),
        retry=retry,
        policy=policy,
        conditions=conditions,
        claims=resolved.claims,
        matches=matches,
        candidates=resolved.candidates,
        findings=resolved.findings,
        impossible={claim_id: resolved.findings.index(found) for claim_id, found in resolved.impossible.items()},
        tasks=tuple(rooted(task) for task in used.values()),
        cells=tuple(_cell(*key, result, folder) for key, result in results.items()),
        epochs=dict(resolved.epochs),
        base=base,
    )


def rooted(task: TaskSpec) -> TaskSpec:
    """The task with the paths of its file and of local data made absolute, so that it means the same anywhere."""
    source = task.dataset
    if source.data_files is not None:
        files = {split: str(Path(file).resolve()) for split, file in source.data_files.items()}
        source = replace(source, data_files=files)
    return replace(task, file=str(Path(task.file).resolve()), dataset=source)


def write_record(folder: Path, record: Record) -> None:
    """Write the record into ``folder``, atomically. Raises StoreError if that is impossible."""
    write_sealed(folder / FILE, {"schema": SCHEMA, **asdict(record)}, depth=2)


def stored_record(folder: Path) -> tuple[Record, bool]:
    """The record in ``folder``, and whether it was made here, under this user's seal.

    Raises, in one paragraph, UsageError if there is none, and DamagedError for one that this version cannot read.
    """
    file = folder / FILE
    found = read_stored(file, depth=2)
    if found is None:
        raise UsageError(
            f"{folder} holds no {FILE}, in which a check leaves the claims that it read. Run `verify check` on the "
            "model again; what it measured is kept and answers at once."
        )
    values, is_made_here = found
    if (schema := values.pop("schema", None)) != SCHEMA:
        raise DamagedError(damaged(file, f"it has the schema {schema!r}, and this version reads {SCHEMA}"))
    record: Record = checked(file, lambda one: from_plain(Record, one, "the record"), values)
    checked(file, _check, record)
    return record, is_made_here


def failure(one: Failure) -> VerifyError:
    """The error that stood in the way of a measurement, as it was raised."""
    kind = getattr(errors, one.kind, VerifyError)
    known = isinstance(kind, type) and issubclass(kind, VerifyError)
    return kind(one.message) if known else VerifyError(one.message)


def _cell(task: str, split: str, result: Measurement | VerifyError, folder: Path) -> Cell:
    if isinstance(result, VerifyError):
        return Cell(task, split, failure=Failure(type(result).__name__, str(result)))
    scores = Path(result.result).relative_to(folder) if result.result else None
    return Cell(
        task,
        split,
        run=scores.parents[1].as_posix() if scores else None,
        scores=scores.as_posix() if scores else None,
        dataset_revision=result.provenance.get("dataset_revision"),
        dataset_digest=result.provenance.get("dataset_digest"),
    )


def _check(record: Record) -> None:
    """What the types leave open: that parts which speak of each other agree, and that no path leads outside."""
    if len(record.matches) != len(record.claims):
        raise UnreadableError(f"the record has {len(record.claims)} claims and {len(record.matches)} matches")
    known = {task.name for task in record.tasks}
    named = {match.task for match in record.matches if match.task} | {cell.task for cell in record.cells}
    if lost := sorted(named - known):
        raise UnreadableError(f"the record lacks the task {lost[0]}")
    if any(not 0 <= place < len(record.findings) for place in record.impossible.values()):
        raise UnreadableError("the record lacks a finding")
    if any(task.kind not in KINDS for task in record.tasks):
        raise UnreadableError("the record has a task of an unknown kind")
    for task in record.tasks:
        _check_settings(task)
    if any(not claim.evidence for claim in (*record.claims, *record.candidates)):
        raise UnreadableError("a claim stands nowhere")
    conditions = record.conditions
    if not (0 <= conditions.probe_share <= 1 and 0 <= conditions.seed < 2**63 and 0 < (conditions.limit or 1) < 2**63):
        raise UnreadableError("the record.conditions are none of a check")
    for path in (path for cell in record.cells for path in (cell.run, cell.scores) if path is not None):
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\0" in path:
            raise UnreadableError(f"the path {path} leads outside the folder")
    for cell in record.cells:
        if cell.run is not None and len(PurePosixPath(cell.run).parts) != len(("task.split", "key")):
            raise UnreadableError(f"the path {cell.run} is that of no run")
        if cell.scores is not None and PurePosixPath(cell.scores).parent != PurePosixPath(
            cell.run or "", "measurements"
        ):
            raise UnreadableError(f"the path {cell.scores} is that of no scores of its run")


def _check_settings(task: TaskSpec) -> None:
    known = KINDS[task.kind].settings
    for name, value in task.settings.items():
        wanted = known[name].type if name in known else None
        if wanted is None or not (value is None or type(value) is wanted or (wanted is float and type(value) is int)):
            raise UnreadableError(
                f"the task {task.name} has the setting {name}={value!r}, which its kind does not take"
            )
