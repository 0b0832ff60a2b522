"""The verbs as functions: what the command line prints, they return; what it exits with, they raise.

Settings are those of the configuration (:mod:`verify.configuration.schema`), by keyword: ``limit=100``,
``policy="strict"``, ``engine={"device": "cpu"}`` or ``**{"engine.device": "cpu"}``, and None where the command line has
null. A mapping may choose a file, too: ``policy={"name": "strict", "tolerance": 0.01}``. A name that is none raises
UsageError with the nearest one. ``progress`` receives the events of whatever takes long, as plain mappings with the
``model``, ``task`` and ``split`` that they are about. ``config_dir`` is a folder with files of your own, as
``--config-dir``. Several threads may call at once.

The examples are run in ``scripts/demo``.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any

from verify.api.calls import (
    Place,
    Progress,
    call,
    composed,
    files_of,
    follower,
    hearer,
    name_of,
    refuse,
    require,
)
from verify.api.reports import ClaimsReport, Report, SweepReport, frame_of_verdicts
from verify.errors import UsageError

if TYPE_CHECKING:
    import pandas


def check(
    model: Place,
    *,
    tasks: str | Iterable[str] | None = None,
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
    >>> report = verify.check("digits-vit", task_path=["tasks"], engine={"device": "cpu"})
    >>> report
    <Report on digits-vit: 6 claims: 1 overstated, 1 impossible, 3 reproduced, 1 unverifiable (5 attempted, 2 flagged)>
    >>> report.holds, report.to_frame()[["metric", "claimed", "kind"]].values.tolist()[0]
    (False, ['accuracy', '0.9632925472747497', 'reproduced'])
    """
    name, follow = name_of(model), follower(progress)
    refuse(settings, ("suite", "sweep"), "One model is checked; for many: verify.sweep.")
    tasks = [tasks] if isinstance(tasks, str) else tasks
    with call(name, settings, tasks=tasks, policy=policy) as now:
        from verify.checking.pipeline import check_model
        from verify.checking.reading import asked_tasks
        from verify.tasks.registry import load_registry

        config = composed(name, now.words, config_dir)
        registry = load_registry(config.task_path)
        outcome = check_model(
            name,
            config,
            registry,
            asked_tasks(config, registry),
            retry=shlex.join(["verify", "check", name, *now.words, *files_of(config_dir)]),
            follow=follow,
            tell=now.told.append,
        )
    return Report(outcome, tuple(now.told))


def read_claims(model: Place, *, config_dir: Place | None = None, **settings: Any) -> ClaimsReport:
    r"""What a card claims, and the task that each claim is about; nothing is run. As ``verify claims``.

    ``model`` may be a README.md, too. Raises UsageError for what is none of these, and HubError for a repository that
    cannot be read.

    >>> import verify
    >>> claims = verify.read_claims("digits-vit", task_path=["tasks"])
    >>> claims.to_frame()[["metric", "literal", "resolved_task", "line"]].values.tolist()[0]
    ['accuracy', '0.9632925472747497', 'digits', 13]
    """
    target = name_of(model)
    refuse(settings, ("suite", "sweep"), "Nothing is run; for many models: verify.sweep.")
    with call(target, settings) as now:
        from verify.checking.claim_json import claims_object
        from verify.checking.reading import asked_tasks, resolved_claims, texts_of
        from verify.tasks.registry import load_registry

        config = composed(None, now.words, config_dir)
        name, revision, texts = texts_of(target)
        registry = load_registry(config.task_path)
        resolved = resolved_claims(texts, name, revision, config, registry, asked_tasks(config, registry))
    return ClaimsReport(resolved.claims, claims_object(resolved, name, revision), tuple(now.told))


def judge(
    result: Place,
    *,
    policy: str | Mapping[str, Any] | None = None,
    config_dir: Place | None = None,
    **settings: Any,
) -> Report:
    """Judge stored results again, by another policy or with changed task files; runs nothing. As ``verify judge``.

    ``result`` is a model's folder of results, its verdicts.json, the folder of a run, or a file of measurements. Raises
    UsageError if it is none of these or a setting is not ``policy`` or ``task_path``, StoreError if it cannot be read.

    >>> import verify
    >>> verify.judge("results/digits-vit", policy={"tolerance": 0.02})
    <Report on digits-vit: 6 claims: 1 impossible, 4 reproduced, 1 unverifiable (5 attempted, 1 flagged)>
    """
    name = name_of(result)
    require(settings, ("policy", "task_path"), "To measure with others: verify.check.")
    with call(name, settings, policy=policy) as now:
        from verify.checking.stored import judge_stored, opened

        config = composed(None, now.words, config_dir)
        ((stored, again),) = opened([name], config, now.told.append)
        outcome = judge_stored(stored, again, config, now.told.append)
    return Report(outcome, tuple(now.told))


def explain(
    result: Place,
    *,
    rerun: bool = False,
    policy: str | Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    config_dir: Place | None = None,
    **settings: Any,
) -> Report:
    """Search for the one setting that turns what was measured into what the card says. As ``verify explain``.

    With ``rerun`` the model is run again where the stored predictions explain nothing, for ``budget`` minutes at most
    for each task. Raises as :func:`judge`, and a VerifyError if the model can no longer be had.

    >>> import verify
    >>> explained = verify.explain("results/digits-vit")
    >>> [len(one["explanation"]["tried"]) > 9 for one in explained.to_dict()["verdicts"] if one["explanation"]]
    [True]
    """
    name, follow = name_of(result), follower(progress)
    if rerun:
        require(settings, ("policy", "task_path", "engine", "budget"), "To measure with others: verify.check.")
    else:
        require(settings, ("policy", "task_path"), "With rerun=True: engine and budget, too.")
    with call(name, settings, policy=policy) as now:
        from verify.checking.explaining import explain_stored
        from verify.checking.stored import opened

        config = composed(None, now.words, config_dir)
        ((stored, again),) = opened([name], config, now.told.append)
        outcome = explain_stored(stored, again, config, rerun=rerun, tell=now.told.append, follow=follow)
    return Report(outcome, tuple(now.told))


def sweep(
    suite: str | Iterable[Place | Mapping[str, Any]],
    *,
    progress: Progress | None = None,
    config_dir: Place | None = None,
    **settings: Any,
) -> SweepReport:
    """Check many models, and count all of their claims once more, as ``verify sweep``.

    ``suite`` is the name of a suite, or a list of models (``ORG/NAME``, a folder, or a mapping with the ``model`` and
    its ``tasks``). The same call again does only what is missing. Raises UsageError for a suite that is none,
    StoreError if results cannot be written, and KeyboardInterrupt on Ctrl-C; what was done then is kept.

    >>> import verify
    >>> verify.sweep(["digits-vit"], task_path=["tasks"], sweep={"workers": 1})
    <SweepReport on models: 1 model, 2 of 5 claims flagged>
    """
    hear = hearer(progress)
    models = None if isinstance(suite, str) else _listed(suite)
    name, file = (suite, suite) if isinstance(suite, str) else ("models", "list")
    with call("", settings, suite=file) as now:
        from verify.sweeping.events import plain_report
        from verify.sweeping.plan.planning import make_plan
        from verify.sweeping.plan.suite import STANDARD_INPUT
        from verify.sweeping.whole import sweep_planned
        from verify.tasks.registry import load_registry

        config = composed(None, now.words, config_dir)
        if config.suite is not None and models is not None:
            config.suite.models = models
            config.suite.file = None if config.suite.file == STANDARD_INPUT else config.suite.file
        if config.suite is not None and config.suite.file == STANDARD_INPUT:
            raise UsageError(
                f"The suite {name} reads its models from standard input, which a program does not. List them: "
                'verify.sweep(["ORG/A", "./b"]), or name a file: verify.sweep("list", **{"suite.file": FILE}).'
            )
        registry = load_registry(config.task_path)
        plan = make_plan(config, registry, now.told.append)
        swept = sweep_planned(
            plan,
            config,
            registry,
            lambda report: hear(plain_report(report)),
            name=name,
            settings=[*now.words, *files_of(config_dir)],
        )
    if swept.is_interrupted:
        raise KeyboardInterrupt
    return SweepReport(swept, tuple(now.told))


def load_results(folder: Place = "results") -> pandas.DataFrame:
    """The last verdicts on every model in a folder of results, a row for each claim, as :meth:`Report.to_frame`.

    The folder may be that of one model. Raises UsageError if there is no such folder or it holds no verdicts,
    StoreError if one cannot be read.

    >>> import verify
    >>> verify.load_results("results").groupby("model").size().to_dict()
    {'digits-vit': 6}
    """
    place = name_of(folder)
    with call(place, {}):
        from verify.api.results import stored_verdicts

        return frame_of_verdicts((one.model, one.revision, one.entries) for one in stored_verdicts(place))


def _listed(suite: Any) -> list[Any]:
    """The entries of a list of models as a suite holds them; what is no model stays, for the suite to refuse."""
    if not isinstance(suite, Iterable) or isinstance(suite, Mapping | bytes):
        raise UsageError(f"{type(suite).__name__} is no suite. Give the name of one, or a list of models.")
    return [
        dict(one) if isinstance(one, Mapping) else fspath(one) if isinstance(one, PathLike) else one for one in suite
    ]
