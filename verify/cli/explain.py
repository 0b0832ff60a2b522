"""``verify explain``: which single setting would turn what was measured into what the card says."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from verify.checking.explaining import explain_stored
from verify.checking.outcome import Outcome, exported
from verify.checking.stored import doubt, opened
from verify.configuration.compose import worst
from verify.configuration.schema import VerifyConfig
from verify.judging.differences import DIFFERS
from verify.report.console import console_on, teller
from verify.report.explanations import show_explanations
from verify.report.progress import progress_on
from verify.report.terminal import summary
from verify.types import Verdict


def run(results: Sequence[str], config: VerifyConfig, *, rerun: bool, as_json: bool) -> int:
    """Search for what explains the differences of every RESULT; prints, stores the verdicts and returns the exit code.

    See :func:`verify.checking.explaining.explain_stored`. Raises UsageError for a RESULT that is none, and StoreError
    for one that cannot be read.
    """
    err = console_on(stderr=True)
    codes = []
    for stored, again in opened(results, config, teller(err)):
        part = explain_stored(stored, again, config, rerun=rerun, tell=teller(err), follow=progress_on(err))
        with doubt(stored):
            _show(part, as_json=as_json, on_one_line=len(results) > 1, err=err)
        codes.append(part.exit_code)
    return worst(codes)


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
