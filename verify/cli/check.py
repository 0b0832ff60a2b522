"""``verify check``: from a model's id to a verdict on each of its claims."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from verify.checking.opening import Key, open_model
from verify.checking.outcome import Outcome, store
from verify.checking.pipeline import check_opened
from verify.cli.verdicts import show
from verify.configuration.compose import worst
from verify.configuration.schema import VerifyConfig
from verify.errors import UsageError, VerifyError
from verify.report.console import console_on
from verify.report.progress import ProgressView
from verify.store.runs import slug
from verify.sweeping.plan.suite import references
from verify.tasks.registry import Registry, load_registry
from verify.types import Emit


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
            outcome = check_model(one.model, config, registry, one.tasks, retry, err)
        except UsageError:
            raise
        except VerifyError as error:
            if len(models) == 1:
                raise
            err.print(f"[red]{escape(one.model)}[/red]: {escape(str(error))}", highlight=False)
            codes.append(error.exit_code)
            continue
        store(outcome, Path(config.results) / slug(outcome.model))
        show(outcome, as_json=as_json, on_one_line=one_of_several or len(models) > 1, err=err)
        codes.append(outcome.exit_code)
    return worst(codes)


def check_model(
    reference: str, config: VerifyConfig, registry: Registry, only: Sequence[str] | None, retry: str, err: Console
) -> Outcome:
    """Read the claims of one model, measure what they are about, and judge them; ``err`` shows how far that is.

    Raises a VerifyError if the repository itself cannot be read; whatever fails later becomes the verdict of the claims
    concerned.
    """
    opened = open_model(reference, config, registry, only)
    for finding in opened.resolved.impossible.values():
        err.print(f"{escape(opened.model)}, before anything is run: {escape(finding.sentence)}")

    @contextmanager
    def follow(cells: Sequence[Key]) -> Iterator[Emit]:
        with ProgressView([f"{opened.model} on {task}" for task, _ in cells], err) as view:
            yield view.emit

    return check_opened(opened, config, retry, follow)
