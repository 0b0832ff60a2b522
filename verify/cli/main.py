"""The command line: verbs → functions. Nothing heavy is imported before a verb needs it."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence

from verify import __version__
from verify.errors import UsageError, VerifyError
from verify.foundation.installation import require_own_package
from verify.processes.import_path import protected
from verify.processes.signals import code_of_interruption, in_order
from verify.report.clean import clean_line
from verify.report.streams import clean_streams

_DESCRIPTION = """\
Check what a model card claims: read the claims, rerun the evaluation on the same weights and data, and say for every
claim whether it holds and how far off it is.
"""

_EXIT_CODES = """\
exit codes:
  0  every claim that could be settled holds
  1  at least one claim does not hold
  2  wrong usage: command line, configuration or a task file
  3  nothing could be settled
  4  a repository, a data set or a run failed
"""

_CHECK = """\
examples:
  verify check ORG/MODEL                          check every claim on the model's card
  verify check ORG/MODEL@revision                 the same at a branch, tag or commit
  verify check ./my-model tasks=[sst2]            a local folder, on one task only
  verify check ORG/MODEL policy=strict            run every example in a second configuration too
  verify check ORG/MODEL engine.device=cpu limit=200 override.split=test
  verify check ./my-model task_path=[./my_tasks]  with tasks of your own (YAML files)
  verify check suite=sentiment                    every model that conf/suite/sentiment.yaml names
  verify check ORG/A,ORG/B --multirun override.max_length=128,256
  verify check ORG/MODEL --cfg                    print the configuration, run nothing

  verify check ORG/MODEL engine.precision=adaptive     bfloat16 first, float32 wherever it could matter
  verify check ORG/MODEL budget=10                10 minutes for each task at most
  verify check ORG/MODEL engine.processes=2       two worker processes (one for each GPU); the same as
  accelerate launch --multi_gpu --num_processes 2 --no_python verify check ORG/MODEL
  verify check ORG/MODEL engine.device_map=auto   a model that is too large for one device
  verify check ORG/MODEL allow_pickle=true        weights that are only there as pickles (README, Safety)
  verify check ORG/ADAPTER base=ORG/BASE          an adapter on another base than the one that it names

Results are kept in results/ (results=FOLDER). The same command again answers from there; a run that was interrupted
goes on where it stopped.

"""

_SWEEP = """\
examples:
  verify sweep suite=sentiment                    every model that conf/suite/sentiment.yaml names
  verify sweep suite=sentiment --dry-run          what would be run, how long it takes, memory and downloads
  verify sweep suite=list suite.file=models.txt   a model on each line of a file; without one, of standard input
  verify sweep suite=folders 'suite.folders=[models/*]'           folders with a model each
  verify sweep suite=hub suite.hub.author=ORG suite.hub.top=50    the most downloaded models of the Hub that fit
  verify sweep suite=mine --config-dir ./my_conf  a suite of your own, my_conf/suite/mine.yaml

  verify sweep suite=sentiment --fail-on overstated,error         for CI
  verify sweep suite=sentiment sweep.workers=4 sweep.deadline=10 sweep.disk=200GB
  verify sweep suite=sentiment engine=ray engine.address=HOST:PORT
  verify sweep suite=sentiment --multirun policy=default,screen

The same command again does only what is missing, with any number of workers; so does one that was interrupted (Ctrl-C
ends it after the rows at hand, twice at once). A model whose worker dies, or shows no sign of progress for
sweep.deadline minutes, is begun again in smaller batches, then given up, and the sweep goes on.

"""

_SWEEP_EXIT_CODES = f"""{_EXIT_CODES}\
  130  interrupted (143 by SIGTERM)

With --fail-on it is 1 if a verdict is of any kind named (reproduced, consistent, overstated, understated, explained,
impossible, underspecified, inconclusive, unverifiable, blocked, error), else 0; 4 if `error` is the only one that is.
"""

_JUDGE = """\
RESULT is a model's folder in results/, the verdicts.json in it, the folder of one run, or one file of measurements (the
`result` that `verify check --json` prints). Nothing is run and no model is loaded: the claims and the predictions were
kept by `verify check`. Scores are computed again where a task file or a metric has changed since.

examples:
  verify judge results/ORG--MODEL                          the same verdicts again
  verify judge results/ORG--MODEL policy.tolerance=0.002   allow two tenths of a point more
  verify judge results/ORG--MODEL policy=strict            by another policy
  verify judge results/*/verdicts.json --json              every model checked so far, one JSON object a line

"""

_EXPLAIN = """\
RESULT is as for `verify judge`. Every number that differs from a full rerun is searched for one setting that turns what
was measured into what the card says: other label orders, averages, metrics, normalisers, splits … All that were tried
are listed with the number that each gives, and so is the chance that an unrelated number would have met one of them.

examples:
  verify explain results/ORG--MODEL                        search the stored predictions; loads no model
  verify explain results/ORG--MODEL --json                 the same for programs
  verify explain results/ORG--MODEL --rerun                then rerun the model under other settings
  verify explain results/ORG--MODEL --rerun budget=30      for 30 minutes for each task at most (10 unless told)

"""


_INTERRUPTED = "verify: interrupted; what was done is kept, and the same command goes on from there.\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; errors are one paragraph on standard error."""
    with protected(sys.argv[1:] if arguments is None else arguments), in_order(), clean_streams():
        parser = _parser()
        parsed = _parse(parser, arguments)
        try:
            require_own_package()
            return int(parsed.run(parsed))
        except VerifyError as error:
            print(f"verify: {clean_line(str(error))}", file=sys.stderr)  # noqa: T201
            return error.exit_code
        except KeyboardInterrupt:
            sys.stderr.write(_INTERRUPTED)
            return code_of_interruption()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Options may stand between the overrides, which argparse allows for subcommands only in this roundabout way."""
    parsed, rest = parser.parse_known_args(arguments)
    unknown = [text for text in rest if text.startswith("-")]
    if unknown or (rest and not hasattr(parsed, "overrides")):
        parser.error(f"unrecognised arguments: {' '.join(unknown or rest)}")
    if rest:
        parsed.overrides = [*parsed.overrides, *rest]
    return parsed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"verify {__version__}")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    _add_check(verbs)
    _add_sweep(verbs)
    _add_judge(verbs)
    _add_explain(verbs)
    _add_claims(verbs)
    _add_tasks(verbs)
    return parser


def _add_check(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    check = verbs.add_parser(
        "check",
        help="rerun the evaluations that a model's card claims, and judge every claim",
        description="Rerun the evaluations that a model's card claims, and judge every claim.",
        epilog=_CHECK + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument("overrides", nargs="*", metavar="MODEL key=value", help="the model, then settings to change")
    check.add_argument("--json", action="store_true", help="print one JSON object; everything else goes to stderr")
    check.add_argument("--cfg", action="store_true", help="print the composed configuration and stop")
    check.add_argument("--multirun", "-m", action="store_true", help="run every combination of a=1,2 b=3,4 (Hydra)")
    check.add_argument("--config-dir", metavar="FOLDER", help="a folder with policy/, engine/ and suite/ of your own")
    check.set_defaults(run=_check)


def _add_sweep(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sweep = verbs.add_parser(
        "sweep",
        help="check the models of a suite, many at once, and show them in one table",
        description="Check the models of a suite, many at once, and show them in one table.",
        epilog=_SWEEP + _SWEEP_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    sweep.add_argument(
        "overrides", nargs="*", metavar="suite=NAME key=value", help="the suite, then settings to change"
    )
    sweep.add_argument("--dry-run", action="store_true", help="print what would be run and what it costs, and stop")
    sweep.add_argument("--json", action="store_true", help="print one JSON object; everything else goes to stderr")
    sweep.add_argument("--fail-on", metavar="KIND[,KIND]", help="exit with 1 for verdicts of these kinds only")
    sweep.add_argument("--cfg", action="store_true", help="print the composed configuration and stop")
    sweep.add_argument("--multirun", "-m", action="store_true", help="run every combination of a=1,2 b=3,4 (Hydra)")
    sweep.add_argument("--config-dir", metavar="FOLDER", help="a folder with policy/, engine/ and suite/ of your own")
    sweep.set_defaults(run=_sweep)


def _add_judge(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    judge = _add_on_results(verbs, "judge", "judge stored measurements again, by another policy; runs nothing", _JUDGE)
    judge.set_defaults(run=_judge)


def _add_explain(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    explain = _add_on_results(
        verbs, "explain", "search for the one setting that explains a number that differs", _EXPLAIN
    )
    explain.add_argument(
        "--rerun", action="store_true", help="run the model again under settings that only a run shows"
    )
    explain.set_defaults(run=_explain)


def _add_on_results(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, examples: str
) -> argparse.ArgumentParser:
    """A verb that takes results of earlier checks."""
    verb = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples + _EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verb.add_argument("overrides", nargs="*", metavar="RESULT key=value", help="results, then settings to change")
    verb.add_argument("--json", action="store_true", help="print one JSON object; everything else goes to stderr")
    verb.add_argument("--config-dir", metavar="FOLDER", help="a folder with policy/ and engine/ files of your own")
    return verb


def _add_claims(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    claims = verbs.add_parser(
        "claims",
        help="show what a card claims, without running anything",
        description="Show what a card claims, with the place of every number. Nothing is run.",
    )
    claims.add_argument("target", metavar="MODEL", help="ORG/NAME[@revision], a model's folder, or a README.md")
    claims.add_argument(
        "overrides", nargs="*", metavar="key=value", help="claims=FILE, task_path=[FOLDER], vocabulary=[FILE] …"
    )
    shape = claims.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print one JSON object")
    shape.add_argument("--jsonl", action="store_true", help="MODEL is a folder of cards, NAME/README.md: a line each")
    claims.set_defaults(run=_claims)


def _add_tasks(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tasks = verbs.add_parser(
        "tasks",
        help="list, show or try the benchmark tasks",
        description="List, show or try the benchmark tasks, built-in ones and your own.",
    )
    actions = tasks.add_subparsers(metavar="ACTION", required=True)
    for action, summary in (
        ("list", "every task: kind, data set, split"),
        ("show", "one task file, as it is read"),
        ("check", "load three rows, render them, and run a tiny untrained model on them"),
    ):
        parser = actions.add_parser(action, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if action != "list":
            parser.add_argument("name", metavar="NAME", help="the task's name")
        parser.add_argument(
            "overrides", nargs="*", metavar="task_path=[FOLDER]", help="folders with task files of your own"
        )
        parser.set_defaults(run=_tasks, action=action, name=None)


def _check(parsed: argparse.Namespace) -> int:
    from verify.configuration.compose import compose_config, run_multirun, to_yaml
    from verify.configuration.schema import VerifyConfig
    from verify.engine.running.layout import launched

    words = list(parsed.overrides)
    if layout := launched(os.environ):
        rank, world = layout
        if rank > 0:
            return 0
        if not any(word.startswith("engine.processes=") for word in words):
            words.append(f"engine.processes={world}")
    model = words.pop(0) if words and _is_model(words[0]) else None
    for word in words:
        if _is_model(word):
            raise UsageError(f"{word}: not a setting of the form key=value. Only the first argument is a model.")
    if parsed.multirun:
        from verify.cli.check import run

        def job(config: VerifyConfig, own: list[str]) -> int:
            typed = [*([config.model] if config.model else []), *own, *_config_dir(parsed)]
            command = shlex.join(["verify", "check", *typed])
            return run(config, as_json=parsed.json, one_of_several=True, command=command)

        return run_multirun(model, words, parsed.config_dir, job)
    config = compose_config(model, words, parsed.config_dir)
    if parsed.cfg:
        sys.stdout.write(to_yaml(config))
        return 0
    from verify.cli.check import run

    return run(
        config, as_json=parsed.json, command=shlex.join(["verify", "check", *parsed.overrides, *_config_dir(parsed)])
    )


def _sweep(parsed: argparse.Namespace) -> int:
    from verify.configuration.compose import compose_config, run_multirun, to_yaml
    from verify.configuration.schema import VerifyConfig

    words = list(parsed.overrides)
    if models := [word for word in words if _is_model(word)]:
        raise UsageError(
            f"{models[0]}: a sweep takes a suite of models, suite=NAME; for one model: verify check MODEL."
        )
    if parsed.cfg:
        sys.stdout.write(to_yaml(compose_config(None, words, parsed.config_dir)))
        return 0
    if not parsed.multirun:
        config = compose_config(None, words, parsed.config_dir)
    from verify.cli.sweep import kinds_named, run

    fail_on = kinds_named(parsed.fail_on) if parsed.fail_on is not None else []

    def job(config: VerifyConfig, own: list[str]) -> int:
        return run(
            config,
            name=next((word.partition("=")[2] for word in own if re.match(r"\+*suite=", word)), "sweep"),
            as_json=parsed.json,
            dry_run=parsed.dry_run,
            fail_on=fail_on,
            one_of_several=parsed.multirun,
            settings=[*own, *_config_dir(parsed)],
        )

    return run_multirun(None, words, parsed.config_dir, job) if parsed.multirun else job(config, words)


def _config_dir(parsed: argparse.Namespace) -> list[str]:
    return ["--config-dir", parsed.config_dir] if parsed.config_dir else []


def _judge(parsed: argparse.Namespace) -> int:
    from verify.configuration.compose import compose_config

    results, settings = _results(parsed, ("policy", "task_path"), "To measure with others: verify check.")
    config = compose_config(None, settings, parsed.config_dir)
    from verify.cli.judge import run

    return run(results, config, as_json=parsed.json)


def _explain(parsed: argparse.Namespace) -> int:
    from verify.configuration.compose import compose_config

    allowed = ("policy", "task_path", *(("engine", "budget") if parsed.rerun else ()))
    more = "To measure with others: verify check." if parsed.rerun else "With --rerun: engine and budget, too."
    results, settings = _results(parsed, allowed, more)
    config = compose_config(None, settings, parsed.config_dir)
    from verify.cli.explain import run

    return run(results, config, rerun=parsed.rerun, as_json=parsed.json)


def _results(parsed: argparse.Namespace, allowed: Sequence[str], more: str) -> tuple[list[str], list[str]]:
    """The results and the settings among the words of the command line.

    Settings that are not ``allowed`` would change nothing, so they are refused; ``more`` says what would help.
    """
    results = [word for word in parsed.overrides if _is_model(word)]
    settings = [word for word in parsed.overrides if not _is_model(word)]
    if not results:
        raise UsageError("Name a result: a model's folder in results/, such as results/ORG--MODEL.")
    for setting in settings:
        if re.split(r"[.=]", setting.lstrip("+~"))[0] not in allowed:
            raise UsageError(
                f"{setting}: stored results were made with settings of their own, so only {', '.join(allowed)} can be "
                f"set here. {more}"
            )
    return results, settings


def _is_model(word: str) -> bool:
    """A model, not an override: settings have a key before their equals sign, and a path has a slash before it."""
    return "=" not in word or ("/" in word.partition("=")[0] and not word.startswith("hydra/"))


def _claims(parsed: argparse.Namespace) -> int:
    from verify.cli.claims import run
    from verify.configuration.compose import compose_config

    return run(parsed.target, compose_config(None, parsed.overrides), as_json=parsed.json, as_jsonl=parsed.jsonl)


def _tasks(parsed: argparse.Namespace) -> int:
    from verify.cli.tasks import run

    return run(parsed.action, parsed.name, parsed.overrides)


if __name__ == "__main__":
    sys.exit(main())
