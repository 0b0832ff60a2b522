"""``verify judge``: verdicts on stored measurements, by another policy or a newer scorer, without a model."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from verify.config import VerifyConfig, worst
from verify.verbs.stored import find, measured_again, require_current
from verify.verbs.verdicts import Outcome, explained, judged, measurements_of, show, store


def run(results: Sequence[str], config: VerifyConfig, *, as_json: bool) -> int:
    """Judge the claims of every RESULT by the policy of ``config``; prints, stores and returns the exit code.

    What is stored are the verdicts on the whole model, also where RESULT names one of its runs. Every RESULT is found
    before the first is judged. Raises UsageError for one that cannot be read.
    """
    err = Console(stderr=True, highlight=False)
    all_stored = [(result, find(result)) for result in results]
    codes = []
    for result, stored in all_stored:
        record, again = stored.record, measured_again(stored, config)
        require_current(result, stored, again)
        for note in again.notes:
            err.print(escape(note))
        verdicts = judged(again.resolved, again.results, config.policy, record.retry)
        verdicts = explained(verdicts, again.resolved, again.results, stored.folder)
        measurements, findings = measurements_of(again.results), again.resolved.findings
        whole = Outcome(record.model, record.revision, verdicts, measurements, findings)
        store(whole, stored.folder)
        part = stored.part(whole)
        show(part, as_json=as_json, on_one_line=len(results) > 1, err=err)
        codes.append(part.exit_code)
    return worst(codes)
