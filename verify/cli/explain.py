"""``verify explain``: which single setting would turn what was measured into what the card says."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify.checking.kept_trials import keep
from verify.checking.outcome import Outcome, exported
from verify.checking.scoring import Subject
from verify.checking.stored import Again, Stored, concluded, doubt, opened, rerun_config
from verify.checking.verdicts import deeper_command, differences, is_certain, judged, searched
from verify.configuration.compose import worst
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError, UsageError
from verify.judging.cases import Case
from verify.judging.differences import DIFFERS, Key, with_explanations
from verify.report.console import console_on, teller
from verify.report.explanations import show_explanations
from verify.report.terminal import summary
from verify.types import Verdict

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*@[0-9a-f]{40}", re.ASCII)
"""A model on the Hub at a commit, as the record of a check names it."""

MINUTES = 10.0
"""For the reruns of each task, where the command line gives no budget."""


def run(results: Sequence[str], config: VerifyConfig, *, rerun: bool, as_json: bool) -> int:
    """Search for what explains the differences of every RESULT; prints, stores the verdicts and returns the exit code.

    Stored predictions are searched without a model. With ``rerun``, what they do not explain is searched further: the
    model is run again under settings that only a run can show, for ``config.budget`` minutes at most for each task
    (``MINUTES`` if there is none). Raises UsageError for a RESULT that is none, and StoreError for one that cannot be
    read.
    """
    err = console_on(stderr=True)
    codes = []
    for stored, again in opened(results, config, teller(err)):
        with doubt(stored):
            before = judged(again.resolved, again.results, config.policy, stored.retry)
            differing = differences(before, again.resolved, again.results)
            searches = searched(differing)
        if rerun and (open_cases := {key: case for key, case in differing.items() if not is_certain(searches[key])}):
            if not stored.is_made_here:
                _require_own(stored, again, open_cases, config)
            _rerun(stored, open_cases, config, err)
            searches |= searched(open_cases)
        deeper = {} if rerun else dict.fromkeys(searches, deeper_command(stored.folder))
        with doubt(stored):
            part = concluded(stored, again, with_explanations(before, searches, deeper), teller(err))
            _show(part, as_json=as_json, on_one_line=len(results) > 1, err=err)
        codes.append(part.exit_code)
    return worst(codes)


def _rerun(stored: Stored, differing: Mapping[Key, Case], config: VerifyConfig, err: Console) -> None:
    """Rerun the model under other settings, task by task, and keep what each gives."""
    from verify.checking.probes.trials import paid_trials
    from verify.report.progress import ProgressView

    subject, config = _subject(stored, config), rerun_config(stored, config)
    for case in differing.values():
        with ProgressView([f"{subject.model} on {case.task.name}"], err) as view:
            attempts = paid_trials(subject, case, config, config.budget or MINUTES, view.emit)
        for attempt in attempts:
            if attempt.problem:
                err.print(escape(f"Not tried to the end: {attempt.trial.setting}. {attempt.problem}"))
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
    if any(not _HUB_ID.fullmatch(one) or Path(one).exists() for one in (record.reference, *bases)):
        raise UsageError(
            f"{stored.folder} was not made here, and its model or the base is no model on the Hub, so nothing is run. "
            "Check your own copy of the model, then explain what that has stored: verify check FOLDER."
        )


def _subject(stored: Stored, config: VerifyConfig) -> Subject:
    """The model of a record, on its base. Raises a VerifyError if it is gone, is refused, or is not what it was."""
    from verify.checking.subject import fetched, gated, subject_of
    from verify.hub import models

    record = stored.record
    given = replace(config, base=config.base or record.base)
    subject = replace(subject_of(fetched(gated(models.resolve(record.reference), given))), model=record.model)
    if subject.digests != record.digests:
        raise StoreError(
            f"The files of {record.reference} are not those that were measured, so a rerun would say nothing about "
            f"them. Check the model again first: {stored.retry}"
        )
    return subject


def _show(outcome: Outcome, *, as_json: bool, on_one_line: bool, err: Console) -> None:
    if as_json:
        print(json.dumps(exported(outcome), ensure_ascii=False, indent=None if on_one_line else 1))  # noqa: T201
    console = err if as_json else console_on()
    show_explanations(console, outcome.verdicts)
    for verdict in outcome.verdicts:
        if verdict.kind in DIFFERS and verdict.explanation is None:
            console.print(escape(_not_searched(verdict)))
    if not any(verdict.kind in DIFFERS or verdict.explanation for verdict in outcome.verdicts):
        console.print(
            f"{escape(outcome.model)}: no claim differs from what was measured, so there is nothing to explain."
        )
    err.print(summary(outcome.verdicts))


def _not_searched(verdict: Verdict) -> str:
    """Why a difference could not be searched, and what would help."""
    about = f"{verdict.claim.metric} {verdict.claim.literal} on {verdict.task}"
    if verdict.n is not None and verdict.population is not None and verdict.n < verdict.population:
        return (
            f"{about} was not searched: {verdict.n} of {verdict.population} examples were run, and a cause can be told "
            "from all of them only. Check the model with policy=strict, then explain again."
        )
    return f"{about} was not searched: the predictions behind it are no longer stored. Check the model again."
