"""Between verdicts and the search for an explanation: what is searched, and what becomes of the verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from verify.judging.cases import Case
from verify.judging.explain import Search, explained
from verify.store.predictions import Predictions
from verify.tasks.kinds import settings_of
from verify.tasks.resolve import Resolved
from verify.types import Measurement, TaskSpec, Verdict, VerdictKind

DIFFERS = (VerdictKind.OVERSTATED, VerdictKind.UNDERSTATED)

Key = tuple[str, str]
"""A task and a split."""


def cases(
    verdicts: Sequence[Verdict],
    resolved: Resolved,
    measurements: Sequence[Measurement],
    predictions: Callable[[Measurement, TaskSpec], Predictions | None],
) -> dict[Key, Case]:
    """A case for every full rerun that some claim differs from and whose stored ``predictions`` are still there.

    It is about all claims of the task and split that were compared with the rerun, whatever their verdict.
    """
    tasks = {match.task.name: match.task for match in resolved.matches if match.task}
    found = {}
    for measurement in measurements:
        about = [verdict for verdict in verdicts if _is_about(verdict, measurement)]
        differing = frozenset(verdict.claim.claim_id for verdict in about if verdict.kind in DIFFERS)
        if not differing or not measurement.is_full:
            continue
        task = tasks[measurement.task]
        stored = predictions(measurement, task)
        if stored is None:
            continue
        sizes = {other.split: other.population for other in measurements if other.task == task.name}
        found[measurement.task, measurement.split] = Case(
            task=task,
            predictions=stored,
            settings=settings_of(task.kind, task.settings),
            measurement=measurement,
            claims=tuple(verdict.claim for verdict in about),
            differing=differing,
            rows={**task.rows, **sizes},
            epochs=resolved.epochs,
        )
    return found


def with_explanations(
    verdicts: Sequence[Verdict], searches: Mapping[Key, Search], deeper: Mapping[Key, str]
) -> tuple[Verdict, ...]:
    """The verdicts after the searches: those on claims that differ say what was tried, and what was found.

    ``deeper`` gives, for a task and split, the command that reruns the model under other settings; it is the next step
    where nothing was found.
    """
    return tuple(_explained(verdict, searches, deeper) for verdict in verdicts)


def _explained(verdict: Verdict, searches: Mapping[Key, Search], deeper: Mapping[Key, str]) -> Verdict:
    key = (verdict.task or "", verdict.split or "")
    if verdict.kind not in DIFFERS or key not in searches:
        return verdict
    found = searches[key]
    after = explained(verdict, found)
    if found.best is not None:
        return after
    count = len(found.tried)
    tried = f"{count} other setting{'s were' if count != 1 else ' was'} tried on the stored predictions and"
    then = f" To rerun the model under more of them: {deeper[key]}." if key in deeper else ""
    step = f"{tried} none leads to the card's number.{then} Or ask the author how the number was made."
    return replace(after, next_step=step)


def _is_about(verdict: Verdict, measurement: Measurement) -> bool:
    where = (verdict.task, verdict.split)
    return where == (measurement.task, measurement.split) and verdict.measured is not None
