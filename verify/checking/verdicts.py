"""From measurements to verdicts and their explanations: what check, judge and explain share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from verify.checking.kept_trials import kept
from verify.checking.parts import Parts, counted, is_measurable, of_parts
from verify.configuration.schema import PolicyConfig
from verify.errors import VerifyError
from verify.judging.cases import Case
from verify.judging.compare import failed, impossible, judge, no_task, unmeasurable
from verify.judging.differences import Key, cases, with_explanations
from verify.judging.explain import CERTAIN, Search, search
from verify.judging.hypotheses.registry import HYPOTHESES
from verify.metrics.stored import Memory, remembering
from verify.store.predictions import Predictions
from verify.store.record import Results
from verify.store.runs import PREDICTIONS, RunFolder
from verify.tasks.kinds import settings_of
from verify.tasks.match import Match
from verify.tasks.resolve import Resolved
from verify.types import Claim, Measurement, TaskSpec, Verdict


def judged(resolved: Resolved, results: Results, policy: PolicyConfig, retry: str) -> tuple[Verdict, ...]:
    """A verdict on every claim; ``retry`` is the command that tries again what failed.

    Of many claims that parts of their splits contradict, those stand that are flagged when all of them are counted.
    """
    parts = of_parts(resolved, results, policy)
    verdicts = _judged(resolved, results, policy, parts, retry)
    if not parts:
        return verdicts
    return _judged(resolved, results, policy, counted(parts, verdicts, policy.alpha), retry)


def _judged(
    resolved: Resolved, results: Results, policy: PolicyConfig, parts: Parts, retry: str
) -> tuple[Verdict, ...]:
    return tuple(
        _verdict(claim, match, resolved, results, policy, parts, retry)
        for claim, match in zip(resolved.claims, resolved.matches, strict=True)
    )


def _verdict(
    claim: Claim, match: Match, resolved: Resolved, results: Results, policy: PolicyConfig, parts: Parts, retry: str
) -> Verdict:
    if match.task is None:
        return no_task(claim, match)
    result = results.get((match.task.name, match.split))
    if finding := resolved.impossible.get(claim.claim_id):
        full = result if isinstance(result, Measurement) and result.is_full else None
        measured = judge(claim, match, full, policy.tolerance) if full else None
        return impossible(claim, match, finding.sentence, measured)
    if result is None or not is_measurable(claim, match.task):
        return unmeasurable(claim, match)
    if isinstance(result, VerifyError):
        return failed(claim, match, result, retry)
    return judge(claim, match, result, policy.tolerance, parts.get(claim.claim_id))


def measurements_of(results: Results) -> tuple[Measurement, ...]:
    return tuple(result for result in results.values() if isinstance(result, Measurement))


def differences(verdicts: Sequence[Verdict], resolved: Resolved, results: Results) -> dict[Key, Case]:
    """What there is to explain among the verdicts, with the stored predictions."""
    return cases(verdicts, resolved, measurements_of(results), _stored_predictions)


def searched(differing: Mapping[Key, Case]) -> dict[Key, Search]:
    """Every registered hypothesis tried on every case, and the settings for which the model was rerun before."""
    return {key: search(case, HYPOTHESES, kept(case)) for key, case in differing.items()}


def explained(verdicts: Sequence[Verdict], resolved: Resolved, results: Results, folder: Path) -> tuple[Verdict, ...]:
    """The verdicts after a search of the stored predictions, which costs seconds and no model.

    ``folder`` is where the results of the model are stored.
    """
    searches = searched(differences(verdicts, resolved, results))
    return with_explanations(verdicts, searches, dict.fromkeys(searches, deeper_command(folder)))


def deeper_command(folder: Path) -> str:
    """The command that reruns a model under other settings; ``folder`` is where its results are stored."""
    return shlex.join(["verify", "explain", str(folder), "--rerun"])


def is_certain(found: Search) -> bool:
    """Whether a search names a cause beyond chance."""
    return found.best is not None and found.chance <= CERTAIN


def _stored_predictions(measurement: Measurement, task: TaskSpec) -> Predictions | None:
    folder = RunFolder.behind(measurement)
    if folder is None:
        return None
    found = folder.predictions(PREDICTIONS, settings=settings_of(task.kind, task.settings))
    return remembering(found, Memory(folder)) if found is not None and len(found) == measurement.n else None
