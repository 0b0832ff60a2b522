"""``verify check``: from a model's id to a verdict on each of its claims."""

from __future__ import annotations

import shlex

from rich.markup import escape

from verify.checking.pipeline import check_model
from verify.cli.verdicts import show
from verify.configuration.compose import worst
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError, VerifyError
from verify.report.console import console_on, teller
from verify.report.progress import progress_on
from verify.sweeping.plan.suite import references
from verify.tasks.registry import load_registry


def run(config: VerifyConfig, *, as_json: bool, one_of_several: bool = False, command: str | None = None) -> int:
    """Check the model of ``config``, or every model of its suite; prints, stores and returns the exit code.

    With ``as_json`` one object goes to standard output, and everything else to standard error; an object is one line if
    there are several models, or if this run is ``one_of_several``. ``command`` is what the user typed, to be named as
    the way to try again.
    """
    err = console_on(stderr=True)
    registry = load_registry(config.task_path)
    models = references(config, registry)
    codes = []
    for one in models:
        try:
            retry = command or shlex.join(["verify", "check", one.model])
            outcome = check_model(
                one.model, config, registry, one.tasks, retry=retry, follow=progress_on(err), tell=teller(err)
            )
        except UsageError:
            raise
        except VerifyError as error:
            if len(models) == 1:
                raise
            err.print(f"[red]{escape(one.model)}[/red]: {escape(str(error))}", highlight=False)
            codes.append(error.exit_code)
            continue
        show(outcome, as_json=as_json, on_one_line=one_of_several or len(models) > 1, err=err)
        codes.append(outcome.exit_code)
    return worst(codes)
