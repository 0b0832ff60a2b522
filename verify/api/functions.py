"""The verbs as functions: what the command line prints, they return; what it exits with, they raise.

Settings are those of the configuration (:mod:`verify.configuration.schema`), by keyword: ``limit=100``,
``policy="strict"``, ``engine={"device": "cpu"}`` or ``**{"engine.device": "cpu"}``. A name that is none raises
UsageError with the nearest one. ``progress`` receives the events of whatever takes long, as plain mappings with the
``model``, ``task`` and ``split`` that they are about. ``config_dir`` is a folder with files of your own, as
``--config-dir``.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from verify.api.reports import ClaimsReport, Report, SweepReport, frame_of_verdicts
from verify.configuration.schema import VerifyConfig
from verify.errors import StoreError, UsageError
from verify.processes.import_path import protected
from verify.types import Emit

if TYPE_CHECKING:
    import pandas

    from verify.checking.pipeline import Follow

Progress = Callable[[Mapping[str, Any]], None]
Place = str | PathLike[str]


def check(
    model: Place,
    *,
    tasks: Sequence[str] | None = None,
    policy: str | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    config_dir: Place | None = None,
    **settings: Any,
) -> Report:
    """Rerun the evaluations that the card of a model claims, and judge every claim, as ``verify check``.

    ``model`` is ORG/NAME, ORG/NAME@revision or a folder; ``tasks`` are the tasks to look at, None for whatever the card
    claims. Results are kept as by the command line, and answered from. Raises a :class:`verify.errors.VerifyError` if
    the repository cannot be read; what fails later is a verdict.

    >>> import verify
    >>> report = verify.check("org/model", tasks=["sst2"], engine={"device": "cpu"})  # doctest: +SKIP
    >>> report.to_frame()[["metric", "claimed", "measured", "kind"]]  # doctest: +SKIP
    """
    from verify.checking.pipeline import check_model
    from verify.checking.reading import asked_tasks
    from verify.tasks.registry import load_registry

    name = fspath(model)
    words = _words(tasks=tasks, policy=policy, **settings)
    with _guarded(name, words) as told:
        config = _composed(name, words, config_dir)
        registry = load_registry(config.task_path)
        outcome = check_model(
            name,
            config,
            registry,
            asked_tasks(config, registry),
            retry=shlex.join(["verify", "check", name, *words]),
            follow=_follow(progress),
            tell=told.append,
        )
    return Report(outcome, tuple(told))


def read_claims(model: Place, *, config_dir: Place | None = None, **settings: Any) -> ClaimsReport:
    r"""What a card claims, and the task that each claim is about; nothing is run. As ``verify claims``.

    ``model`` may be a README.md, too. Raises UsageError for what is none of these, and HubError for a repository that
    cannot be read.

    >>> import tempfile, pathlib, verify
    >>> card = pathlib.Path(tempfile.mkdtemp(), "README.md")
    >>> _ = card.write_text("# A model\n\n| dataset | accuracy |\n|---|---|\n| SST-2 | 91.3 |\n")
    >>> verify.read_claims(card).to_frame()[["metric", "literal", "resolved_task"]].values.tolist()
    [['accuracy', '91.3', 'sst2']]
    """
    from verify.checking.claim_json import claims_object
    from verify.checking.reading import asked_tasks, resolved_claims, texts_of
    from verify.tasks.registry import load_registry

    target, words = fspath(model), _words(**settings)
    with _guarded(target, words):
        config = _composed(None, words, config_dir)
        name, revision, texts = texts_of(target)
        registry = load_registry(config.task_path)
        resolved = resolved_claims(texts, name, revision, config, registry, asked_tasks(config, registry))
    return ClaimsReport(resolved.claims, claims_object(resolved, name, revision))


def judge(result: Place, *, policy: str | Mapping[str, Any] | None = None, **settings: Any) -> Report:
    """Judge stored results again, by another policy or with changed task files; runs nothing. As ``verify judge``.

    ``result`` is a model's folder of results, its verdicts.json, the folder of a run, or a file of measurements. Raises
    UsageError if it is none of these or a setting is not ``policy`` or ``task_path``, StoreError if it cannot be read.
    """
    from verify.checking.stored import judge_stored, opened

    words = _words(policy=policy, **_allowed(settings, "task_path", "config_dir"))
    with _guarded("", words) as told:
        config = _composed(None, words, settings.get("config_dir"))
        ((stored, again),) = opened([fspath(result)], config, told.append)
        outcome = judge_stored(stored, again, config, told.append)
    return Report(outcome, tuple(told))


def explain(
    result: Place,
    *,
    rerun: bool = False,
    policy: str | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Report:
    """Search for the one setting that turns what was measured into what the card says. As ``verify explain``.

    With ``rerun`` the model is run again where the stored predictions explain nothing, for ``budget`` minutes at most
    for each task. Raises as :func:`judge`, and a VerifyError if the model can no longer be had.
    """
    from verify.checking.explaining import explain_stored
    from verify.checking.stored import opened

    more = ("engine", "budget") if rerun else ()
    words = _words(policy=policy, **_allowed(settings, "task_path", "config_dir", *more))
    with _guarded("", words) as told:
        config = _composed(None, words, settings.get("config_dir"))
        ((stored, again),) = opened([fspath(result)], config, told.append)
        outcome = explain_stored(stored, again, config, rerun=rerun, tell=told.append, follow=_follow(progress))
    return Report(outcome, tuple(told))


def sweep(
    suite: str | Sequence[str | Mapping[str, Any]],
    *,
    progress: Progress | None = None,
    config_dir: Place | None = None,
    **settings: Any,
) -> SweepReport:
    """Check many models, and count all of their claims once more, as ``verify sweep``.

    ``suite`` is the name of a suite, or a list of models (``ORG/NAME``, a folder, or a mapping with the ``model`` and
    its ``tasks``). The same call again does only what is missing. Raises UsageError for a suite that is none,
    StoreError if results cannot be written, and KeyboardInterrupt on Ctrl-C; what was done then is kept.
    """
    from verify.sweeping.events import plain_report
    from verify.sweeping.plan.planning import make_plan
    from verify.sweeping.whole import sweep_planned
    from verify.tasks.registry import load_registry

    name = suite if isinstance(suite, str) else "models"
    words = _words(suite=name, **settings)
    with _guarded("", words) as told:
        config = _composed(None, words, config_dir)
        if not isinstance(suite, str) and config.suite is not None:
            config.suite.models = [dict(one) if isinstance(one, Mapping) else str(one) for one in suite]
        registry = load_registry(config.task_path)
        plan = make_plan(config, registry, told.append)
        swept = sweep_planned(
            plan,
            config,
            registry,
            lambda report: progress(plain_report(report)) if progress is not None else None,
            name=name,
            settings=words,
        )
    if swept.is_interrupted:
        raise KeyboardInterrupt
    return SweepReport(swept, tuple(told))


def load_results(folder: Place = "results") -> pandas.DataFrame:
    """The last verdicts on every model in a folder of results, a row for each claim, as :meth:`Report.to_frame`.

    Raises UsageError if there is no such folder or it holds no verdicts, StoreError if one cannot be read.
    """
    place = Path(folder).expanduser()
    files = sorted(place.glob("*/verdicts.json"))
    if not files:
        raise UsageError(f"{folder} holds no verdicts (MODEL/verdicts.json). Name the results folder of a check.")
    found = []
    for file in files:
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            found.append((stored["model"], stored["revision"], stored["verdicts"]))
            frame_of_verdicts(found[-1:])
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise StoreError(
                f"{file} cannot be read, or holds no verdicts as this version stores them. Judge the model again: "
                f"{shlex.join(['verify', 'judge', str(file.parent)])}"
            ) from error
    return frame_of_verdicts(found)


def _words(**settings: Any) -> list[str]:
    """The settings that are given, as the command line takes them."""
    from verify.configuration.from_python import words_of

    return words_of({name: value for name, value in settings.items() if value is not None and name != "config_dir"})


def _allowed(settings: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    """The settings, which stored results allow. Raises UsageError for one that would change nothing."""
    for name in settings:
        if name.partition(".")[0] not in names:
            raise UsageError(
                f"{name}: stored results were made with settings of their own, so only policy, "
                f"{', '.join(one for one in names if one != 'config_dir')} can be set here. To measure with others: "
                "verify.check."
            )
    return settings


def _composed(model: str | None, words: Sequence[str], config_dir: Place | None) -> VerifyConfig:
    from verify.configuration.compose import compose_config

    return compose_config(model, words, None if config_dir is None else fspath(config_dir))


@contextlib.contextmanager
def _guarded(target: str, words: Sequence[str]) -> Iterator[list[str]]:
    """Import nothing meanwhile from the working folder, or from a folder of a model, of data or of results.

    What the user may import is as before afterwards. Gives a list for what the user should know.
    """
    before, told = list(sys.path), list[str]()
    try:
        with protected([target, *(word.replace("'", "") for word in words)]):
            yield told
    finally:
        sys.path[:] = before


def _follow(progress: Progress | None) -> Follow:
    """What hands the events about cells to ``progress``, each with the model, task and split that it is about."""

    @contextlib.contextmanager
    def follow(model: str, cells: Sequence[tuple[str, str]]) -> Iterator[Emit]:
        def emit(event: Mapping[str, Any]) -> None:
            if progress is not None:
                task, split = cells[int(event.get("cell", 0))] if cells else (None, None)
                progress({**event, "model": model, "task": task, "split": split})

        yield emit

    return follow
