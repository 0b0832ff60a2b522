"""``verify judge``: verdicts on stored measurements, by another policy or a newer scorer, without a model."""

from __future__ import annotations

from collections.abc import Sequence

from verify.checking.stored import doubt, judge_stored, opened
from verify.cli.verdicts import show
from verify.configuration.compose import worst
from verify.configuration.schema import VerifyConfig
from verify.report.console import console_on, teller


def run(results: Sequence[str], config: VerifyConfig, *, as_json: bool) -> int:
    """Judge the claims of every RESULT by the policy of ``config``; prints, stores and returns the exit code.

    What is stored are the verdicts on the whole model, also where RESULT names one of its runs. Every RESULT is found
    before the first is judged. Raises UsageError for one that is no result, and StoreError for one that cannot be read.
    """
    err = console_on(stderr=True)
    codes = []
    for stored, again in opened(results, config, teller(err)):
        part = judge_stored(stored, again, config, teller(err))
        with doubt(stored):
            show(part, as_json=as_json, on_one_line=len(results) > 1, err=err)
        codes.append(part.exit_code)
    return worst(codes)
