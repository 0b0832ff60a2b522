"""Stored results explained: which single setting turns what was measured into what the card says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from verify.checking.kept_trials import keep
from verify.checking.outcome import Outcome
from verify.checking.pipeline import Follow
from verify.checking.scoring import Subject
from verify.checking.stored import Again, Stored, concluded, doubt, rerun_config
from verify.checking.verdicts import deeper_command, differences, is_certain, judged, searched
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError, UsageError
from verify.judging.cases import Case
from verify.judging.differences import Key, with_explanations
from verify.types import Tell

MINUTES = 10.0
"""For the reruns of each task, where no budget is given."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*@[0-9a-f]{40}", re.ASCII)
"""A model on the Hub at a commit, as the record of a check names it."""


def explain_stored(
    stored: Stored, again: Again, config: VerifyConfig, *, rerun: bool, tell: Tell, follow: Follow
) -> Outcome:
    """Search for what explains the differences of stored results, and store the verdicts.

    Stored predictions are searched without a model. With ``rerun``, what they do not explain is searched further: the
    model is run again under settings that only a run can show, for ``config.budget`` minutes at most for each task
    (``MINUTES`` if there is none). ``tell`` hears what the user should know, ``follow`` sees the reruns. Raises
    UsageError where a rerun would load what received results name, and StoreError for results that cannot be read.
    """
    with doubt(stored):
        before = judged(again.resolved, again.results, config.policy, stored.retry)
        differing = differences(before, again.resolved, again.results)
        searches = searched(differing)
    if rerun and (open_cases := {key: case for key, case in differing.items() if not is_certain(searches[key])}):
        if not stored.is_made_here:
            _require_own(stored, again, open_cases, config)
        _rerun(stored, open_cases, config, tell, follow)
        searches |= searched(open_cases)
    deeper = {} if rerun else dict.fromkeys(searches, deeper_command(stored.folder))
    with doubt(stored):
        return concluded(stored, again, with_explanations(before, searches, deeper), tell)


def _rerun(stored: Stored, differing: Mapping[Key, Case], config: VerifyConfig, tell: Tell, follow: Follow) -> None:
    """Rerun the model under other settings, task by task, and keep what each gives."""
    from verify.checking.probes.trials import paid_trials

    subject, config = _subject(stored, config), rerun_config(stored, config)
    for key, case in differing.items():
        with follow(subject.model, [key]) as emit:
            attempts = paid_trials(subject, case, config, config.budget or MINUTES, emit)
        for attempt in attempts:
            if attempt.problem:
                tell(f"Not tried to the end: {attempt.trial.setting}. {attempt.problem}")
        keep(case, [attempt.paid for attempt in attempts])


def _require_own(stored: Stored, again: Again, differing: Mapping[Key, Case], config: VerifyConfig) -> None:
    """Raise UsageError if a rerun of received results would load what they name: a folder, or data of their tasks."""
    record = stored.record
    for case in differing.values():
        if case.task.name not in again.tasks.own:
            raise UsageError(
                f"{stored.folder} was not made here, so a rerun takes its data from your own task files only, and none "
                f"is given that asks for what {case.task.name} asked. Name their folder: task_path=[FOLDER]."
            )
    bases = [record.base] if record.base and config.base is None else []
    if not all(map(_HUB_ID.fullmatch, (record.reference, *bases))):
        raise UsageError(
            f"{stored.folder} was not made here, and its model or the base is no model on the Hub, so nothing is run. "
            "Check your own copy of the model, then explain what that has stored: verify check FOLDER."
        )


def _subject(stored: Stored, config: VerifyConfig) -> Subject:
    """The model of a record, on its base. Raises a VerifyError if it is gone, is refused, or is not what it was."""
    from verify.checking.subject import fetched, gated, subject_of
    from verify.hub import models

    record = stored.record
    given = replace(config, base=config.base or (_recorded(record.base) if record.base else None))
    repository = models.resolve(_recorded(record.reference))
    subject = replace(subject_of(fetched(gated(repository, given))), model=record.model)
    if subject.digests != record.digests:
        raise StoreError(
            f"The files of {record.reference} are not those that were measured, so a rerun would say nothing about "
            f"them. Check the model again first: {stored.retry}"
        )
    return subject


def _recorded(reference: str) -> str:
    """What finds a recorded model again: a folder by its whole path, and nothing else by a folder of that name."""
    from verify.hub.models import HUB

    return reference if Path(reference).is_absolute() else f"{HUB}{reference}"
