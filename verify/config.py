"""The configuration: dataclass schemas, YAML groups in conf/, and overrides composed by Hydra.

A wrong key or value ends in one short UsageError that names the argument, what is allowed and the nearest spelling.
"""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from verify.errors import UsageError, VerifyError
from verify.resources import built_in
from verify.spelling import suggestion

GROUPS = ("policy", "engine", "suite")
DTYPES = ("float32", "bfloat16", "float16", "native")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
PRECISIONS = ("exact", "adaptive")
STOPS = ("never", "refuted", "settled")
CLUSTERS = ("ray", "slurm")
AUTO = "auto"
"""The tasks of a suite that are whatever each card claims."""


@dataclass
class PolicyConfig:
    """How a claim is judged. All numbers are fractions (0.001 is a tenth of a point)."""

    name: str = "default"
    probe_share: float = 0.1  # share of examples run in a second configuration to measure flips
    tolerance: float = 0.0  # allowed beyond the print interval and the flip budget
    stop: str = "refuted"  # never, refuted (no claim can hold any more), settled (each holds or does not)
    margin: float = 0.005  # how far outside, or inside, a claim must lie for a part of the split to settle it
    alpha: float = 0.01  # chance that a part of the split settles any claim wrongly


@dataclass
class EngineConfig:
    """How inference runs. None of this changes a result beyond counted flips, but for ``dtype``."""

    device: str = "auto"  # auto, cpu, cuda, cuda:N, mps
    dtype: str = "float32"  # float32, bfloat16, float16, native (as the checkpoint states)
    precision: str = "exact"  # exact, or adaptive: bfloat16 first, then float32 wherever that could decide otherwise
    device_map: str | None = None  # auto: spread a model that is too large for one device
    max_memory: Any = None  # for a device map: a mapping from GPU number, cpu or disk to a size such as 20GiB
    batch_size: int | None = None  # examples per batch; null: as many as fit the token budget
    token_budget: int | None = None  # padded tokens (or images) per batch; null: chosen for the device
    token_share: float = 1.0  # of the token budget that is used, a fraction; less where memory is short
    processes: int = 1  # worker processes, one per device or sharing the CPU's cores
    threads: int | None = None  # threads per process; null, and never more than: the cores shared out
    cluster: str | None = None  # of a sweep: null is this machine, else ray or slurm
    address: str | None = None  # of a Ray cluster; null: auto, the one that runs on this machine
    slurm: Any = None  # of a Slurm job: a mapping of what submitit's update_parameters takes


@dataclass
class OverrideConfig:
    """What to measure instead of what the card or the task says."""

    split: str | None = None
    max_length: int | None = None  # tokens
    dataset_revision: str | None = None


@dataclass
class HubQuery:
    """Models of the Hub: the ``top`` most downloaded ones that fit everything else."""

    author: str | None = None
    task: str | None = None  # such as text-classification
    tags: list[str] = field(default_factory=list)
    search: str | None = None  # a part of the name
    top: int = 20


@dataclass
class SuiteConfig:
    """The models of a sweep, and the tasks to check them on (null or auto: whatever each card claims).

    A model is an id, a folder, or ``{model: ID, tasks: [NAME]}`` where it has tasks of its own.
    """

    models: list[Any] = field(default_factory=list)
    file: str | None = None  # with a model on each line; - is standard input
    folders: list[str] = field(default_factory=list)  # patterns of folders with a model each, such as models/*
    hub: HubQuery | None = None
    tasks: Any = None


@dataclass
class SweepConfig:
    """How many models are checked at once, and when one is given up."""

    workers: int | None = None  # null: one for each GPU, or for each core if there is none
    deadline: float | None = 30.0  # minutes without a sign of progress, after which a worker is ended; null: never
    retries: int = 1  # how often a cell is begun again after its worker died, with a quarter of the batch each time
    disk: str | None = None  # such as 200GB: models downloaded by a sweep are deleted once they are done, down to this
    ahead: bool = True  # fetch and prepare the next model while one computes


@dataclass
class VerifyConfig:
    """Everything about a run. ``model`` is the command line's first argument, or null when a suite names models."""

    model: str | None = None
    tasks: list[str] | None = None  # null: whatever the card claims
    task_path: list[str] = field(default_factory=list)  # folders with task files of your own
    claims: str | None = None  # a YAML file of claims corrected or added by hand
    vocabulary: list[str] = field(default_factory=list)  # YAML files with names of metrics and data sets of your own
    limit: int | None = None  # examples per task, a seeded random sample; null: the whole split
    budget: float | None = None  # minutes per task, after which the run stops with what it has; null: to the end
    seed: int = 0  # of the order of examples
    results: str = "results"
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    override: OverrideConfig = field(default_factory=OverrideConfig)
    suite: SuiteConfig | None = None
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def asked_tasks(self) -> list[str] | None:
        """The tasks asked for, here or by the suite; None for whatever the card claims."""
        asked = self.tasks if self.tasks is not None else (self.suite.tasks if self.suite else None)
        return None if asked == AUTO else asked


_SCHEMAS = (VerifyConfig, PolicyConfig, EngineConfig, OverrideConfig, HubQuery, SuiteConfig, SweepConfig)


def compose_config(model: str | None, overrides: Sequence[str], config_dir: str | None = None) -> VerifyConfig:
    """The configuration of one run. Raises UsageError on any override that does not fit.

    ``config_dir`` is a folder with the user's own policy/, engine/ and suite/ files, searched beside the built-in ones.
    """
    _check_keys(overrides)
    _register()
    given = [*([_quoted("model", model)] if model else []), *_free(overrides), *_search_path(config_dir)]
    try:
        with initialize_config_dir(str(built_in("conf")), version_base="1.3"):
            composed = compose("config", overrides=given)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException, AssertionError, ValueError, YAMLError) as error:
        raise UsageError(_explain(error, overrides, config_dir)) from error
    if not isinstance(config, VerifyConfig):
        raise UsageError("The configuration could not be composed; conf/config.yaml no longer follows its schema.")
    _check_values(config)
    return config


def to_yaml(config: VerifyConfig) -> str:
    """The composed configuration as YAML, for ``--cfg``."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def from_yaml(text: str) -> VerifyConfig:
    """The configuration that :func:`to_yaml` wrote."""
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(VerifyConfig), OmegaConf.create(text)))
    if not isinstance(config, VerifyConfig):
        raise UsageError("This is no configuration of verify.")
    return config


def run_multirun(
    models: str | None, overrides: Sequence[str], config_dir: str | None, job: Callable[[VerifyConfig], int]
) -> int:
    """Run ``job`` for every combination that Hydra's ``--multirun`` makes of the overrides; returns the worst code.

    The model may be a sweep itself (``a,b``). Every combination is composed before the first one runs, so that a wrong
    value costs nothing. A run that fails is reported on standard error, and the others go on. Hydra is kept from
    leaving folders behind: results go to the results folder only.
    """
    for model, combination in _combinations(models, overrides):
        compose_config(model, combination, config_dir)
    codes: list[int] = []

    def one(config: Any) -> None:
        composed = OmegaConf.to_object(config)
        if not isinstance(composed, VerifyConfig):
            raise UsageError("The configuration could not be composed; conf/config.yaml no longer follows its schema.")
        _check_values(composed)
        try:
            codes.append(job(composed))
        except VerifyError as error:
            print(f"verify: {composed.model or 'the suite'}: {error}", file=sys.stderr)  # noqa: T201
            codes.append(error.exit_code)

    run = hydra_main(version_base="1.3", config_path=str(built_in("conf")), config_name="config")(one)
    saved = sys.argv
    with tempfile.TemporaryDirectory(prefix="verify-multirun-") as scratch:
        quiet = (
            "hydra.output_subdir=null",
            _quoted("hydra.sweep.dir", scratch),
            "hydra.sweep.subdir=.",
            "hydra/job_logging=disabled",
            "hydra/hydra_logging=disabled",
        )
        model_sweep = ["model=" + ",".join(_quote(name) for name in models.split(","))] if models else []
        sys.argv = [sys.argv[0], "--multirun", *quiet, *model_sweep, *_free(overrides), *_search_path(config_dir)]
        try:
            run()
        finally:
            sys.argv = saved
    return worst(codes)


def worst(codes: Sequence[int]) -> int:
    """One exit code for several runs: a claim that does not hold (1) outranks a failure, which outranks the rest."""
    for code in (1, 4, 2, 3):
        if code in codes:
            return code
    return 0


def _combinations(models: str | None, overrides: Sequence[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Every single run of a multirun: its model, then its overrides."""
    choices: list[list[str]] = []
    for text, override in _parsed(overrides):
        if override.is_sweep_override():
            key = override.get_key_element()
            try:
                choices.append([f"{key}={value}" for value in override.sweep_string_iterator()])
            except HydraException as error:
                raise UsageError(f"{text}: list the values one by one: {key}=a,b.") from error
        else:
            choices.append([text])
    names: list[str | None] = [*models.split(",")] if models else [None]
    if "" in names:
        raise UsageError(f"{models}: a model's name is missing beside a comma.")
    return ((model, list(combination)) for model in names for combination in itertools.product(*choices))


def _free(overrides: Sequence[str]) -> list[str]:
    """The overrides, with a mark for Hydra at those of ``engine.slurm``, which may name options that it does not know."""
    return [re.sub(r"^(?=engine\.slurm=)", "++", override) for override in overrides]


def _register() -> None:
    store = ConfigStore.instance()
    store.store(name="schema", node=VerifyConfig)
    store.store(group="policy", name="schema", node=PolicyConfig)
    store.store(group="engine", name="schema", node=EngineConfig)
    store.store(group="suite", name="schema", node=SuiteConfig)
    GlobalHydra.instance().clear()


def _check_keys(overrides: Sequence[str]) -> None:
    for text, override in _parsed(overrides):
        key = override.key_or_group
        if key == "model":
            raise UsageError(f"{text}: the model is the first argument: verify check MODEL key=value …")
        if key.split(".")[0].split("/")[0] == "hydra":
            continue
        if key in GROUPS and not override.is_delete() and isinstance(override.value(), int | float | bool | None):
            raise UsageError(f"{text}: name one of the {key} files. {suggestion('', _choices(key))}")
        names = key.split(".")
        owner: type[Any] = VerifyConfig
        prefix = ""
        for depth, name in enumerate(names):
            allowed = [item.name for item in fields(owner)]
            if name not in allowed:
                raise UsageError(f"{text}: there is no {prefix + name!r} to set. {suggestion(name, allowed)}")
            if depth + 1 < len(names):
                child = _schema_of(get_type_hints(owner)[name])
                if child is None:
                    raise UsageError(f"{text}: {prefix + name} has no parts to set.")
                owner, prefix = child, f"{prefix}{name}."


def _parsed(overrides: Sequence[str]) -> list[tuple[str, Override]]:
    parser, parsed = OverridesParser.create(), []
    for text in overrides:
        try:
            parsed.append((text, parser.parse_override(text)))
        except HydraException as error:
            raise UsageError(f"{text!r}: not a setting of the form key=value (lists: key=[a,b]).") from error
    return parsed


def _choices(group: str, config_dir: str | None = None) -> list[str]:
    folders = [built_in("conf"), *([Path(config_dir).expanduser()] if config_dir else [])]
    return [file.stem for folder in folders for file in (folder / group).glob("*.yaml")]


def _schema_of(hint: Any) -> type[Any] | None:
    """The dataclass in a type hint such as ``SuiteConfig | None``, if there is one."""
    return next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)), None)


def _check_values(config: VerifyConfig) -> None:
    device = config.engine.device
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        raise UsageError(f"engine.device={device}: {suggestion(device, ('auto', 'cpu', 'cuda', 'cuda:0', 'mps'))}")
    if config.engine.dtype not in DTYPES:
        raise UsageError(f"engine.dtype={config.engine.dtype}: {suggestion(config.engine.dtype, DTYPES)}")
    if config.engine.precision not in PRECISIONS:
        raise UsageError(
            f"engine.precision={config.engine.precision}: {suggestion(config.engine.precision, PRECISIONS)}"
        )
    if config.engine.precision == "adaptive" and config.engine.dtype != "float32":
        raise UsageError(
            f"engine.precision=adaptive gives the predictions of float32; leave engine.dtype={config.engine.dtype} out."
        )
    if config.engine.precision == "adaptive" and config.engine.device_map is not None:
        raise UsageError(
            "engine.precision=adaptive runs a second copy of the model, which a device map cannot spread: leave "
            "engine.device_map out, or choose engine.dtype=bfloat16 for half the memory."
        )
    if not 0 < config.engine.token_share <= 1:
        raise UsageError(f"engine.token_share={config.engine.token_share}: must be a fraction above 0, at most 1.")
    if config.engine.cluster not in (None, *CLUSTERS):
        raise UsageError(f"engine.cluster={config.engine.cluster}: {suggestion(str(config.engine.cluster), CLUSTERS)}")
    if config.engine.slurm is not None and not _is_named(config.engine.slurm):
        raise UsageError(
            f"engine.slurm={config.engine.slurm}: must give values to options, in quotes because of the braces: "
            "'engine.slurm={timeout_min: 60, slurm_partition: gpu}'."
        )
    if config.engine.device_map not in (None, *DEVICE_MAPS):
        raise UsageError(f"engine.device_map={config.engine.device_map}: {suggestion('', DEVICE_MAPS)}")
    if config.engine.device_map is not None and config.engine.processes > 1:
        raise UsageError("engine.device_map spreads one model over every device: leave engine.processes=1.")
    if config.engine.max_memory is not None:
        _check_memory(config.engine.max_memory)
        if config.engine.device_map is None:
            raise UsageError("engine.max_memory bounds a device map: add engine.device_map=auto.")
    if config.budget is not None and not 0 < config.budget < float("inf"):
        raise UsageError(f"budget={config.budget}: must be a number of minutes above 0.")
    for name, value, least in (
        ("limit", config.limit, 1),
        ("engine.batch_size", config.engine.batch_size, 1),
        ("engine.token_budget", config.engine.token_budget, 1),
        ("engine.processes", config.engine.processes, 1),
        ("engine.threads", config.engine.threads, 1),
        ("override.max_length", config.override.max_length, 1),
        ("seed", config.seed, 0),
    ):
        if value is not None and value < least:
            raise UsageError(f"{name}={value}: must be a whole number of at least {least}.")
    _check_sweep(config.sweep)
    if config.suite is not None:
        _check_suite(config.suite)
    if not config.results.strip():
        raise UsageError("results: must name a folder.")
    for name, listed in (
        ("tasks", config.tasks),
        ("task_path", config.task_path),
        ("vocabulary", config.vocabulary),
    ):
        if any(not isinstance(item, str) for item in listed or ()):
            raise UsageError(f"{name}={listed}: must be a list of names such as [a,b].")
    if not 0 <= config.policy.probe_share <= 1:
        raise UsageError(f"policy.probe_share={config.policy.probe_share}: must be a fraction from 0 to 1.")
    if config.policy.stop not in STOPS:
        raise UsageError(f"policy.stop={config.policy.stop}: {suggestion(config.policy.stop, STOPS)}")
    if not 0 < config.policy.alpha < 1:
        raise UsageError(f"policy.alpha={config.policy.alpha}: must be a fraction between 0 and 1.")
    if not 0 < config.policy.margin < 1:
        raise UsageError(f"policy.margin={config.policy.margin}: must be a fraction between 0 and 1 (0.01 is a point).")
    if not 0 <= config.policy.tolerance < 1:
        raise UsageError(
            f"policy.tolerance={config.policy.tolerance}: must be a fraction from 0 to 1 (0.001 is a tenth of a point)."
        )


def bytes_of(size: str) -> int | None:
    """A size such as 200GB (powers of 1000) or 200GiB (of 1024) in bytes; None if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?([KMGT])(i?)B", size.strip())
    if found is None:
        return None
    number, unit, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** ("KMGT".index(unit) + 1))


def _check_sweep(sweep: SweepConfig) -> None:
    if sweep.disk is not None and bytes_of(sweep.disk) is None:
        raise UsageError(f"sweep.disk={sweep.disk}: must be a size such as 200GB or 500GiB.")
    if sweep.deadline is not None and not 0 < sweep.deadline < float("inf"):
        raise UsageError(f"sweep.deadline={sweep.deadline}: must be a number of minutes above 0, or null for never.")
    if sweep.workers is not None and sweep.workers < 1:
        raise UsageError(f"sweep.workers={sweep.workers}: must be a whole number of at least 1.")
    if sweep.retries < 0:
        raise UsageError(f"sweep.retries={sweep.retries}: must be a whole number of at least 0.")


def _check_suite(suite: SuiteConfig) -> None:
    tasks = suite.tasks
    if tasks not in (None, AUTO) and not (isinstance(tasks, list) and all(isinstance(name, str) for name in tasks)):
        raise UsageError(f"suite.tasks={tasks}: must be a list of names such as [a,b], or auto.")
    if suite.hub is not None and suite.hub.top < 1:
        raise UsageError(f"suite.hub.top={suite.hub.top}: must be a whole number of at least 1.")


def _is_named(options: Any) -> bool:
    return isinstance(options, dict) and all(isinstance(name, str) for name in options)


def _check_memory(memory: Any) -> None:
    """OmegaConf has no type for a mapping that may be absent and whose keys are numbers and words."""
    known = isinstance(memory, dict) and all(
        re.fullmatch(r"\d+|cpu|disk|mps", str(device)) and re.fullmatch(r"\d+(\.\d+)?[KMGT]i?B", str(size))
        for device, size in memory.items()
    )
    if not known:
        raise UsageError(
            f"engine.max_memory={memory}: must give sizes to devices, in quotes because of the braces: "
            "'engine.max_memory={0:20GiB,cpu:60GiB}'."
        )


def _search_path(config_dir: str | None) -> list[str]:
    if config_dir is None:
        return []
    folder = Path(config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"--config-dir {config_dir}: there is no such folder.")
    return [_quoted("hydra.searchpath", f"file://{folder}", listed=True)]


def _explain(error: BaseException, overrides: Sequence[str], config_dir: str | None = None) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    if found := re.search(rf"Could not find '({'|'.join(GROUPS)})/([^']+)'", text):
        group, name = found.groups()
        return f"{group}={name}: there is no such {group}. {suggestion(name, _choices(group, config_dir))}"
    if found := re.search(r"(?:is not a ListConfig|Cannot merge DictConfig with ListConfig).*full_key: (\S+)", text):
        return f"{found[1]}: must be a list such as [a,b]."
    if found := re.search(r"field '(\S+)' is not Optional", text):
        return f"{found[1]}: must have a value; leave it out to keep the default."
    if found := re.search(r"NoneType is not a subclass of str.*full_key: (\S+)\[", text):
        return f"{found[1]}: must be a list of names such as [a,b]; one of them is null."
    if found := re.search(r"Cannot convert '\w+' to string.*full_key: (\S+)", text):
        return f"{found[1]}: must be a single name, not a list or a mapping."
    if found := re.search(r"Key '(\w+)' not in '(\w+)'(?: full_key: (\S+))?", text):
        schema = next((one for one in _SCHEMAS if one.__name__ == found[2]), None)
        if schema is not None:
            allowed = suggestion(found[1], [item.name for item in fields(schema)])
            return f"there is no {found[3] or found[1]!r} to set. {allowed}"
    if text == "Unexpected type for root: NoneType":
        return f"{', '.join(overrides)}: no suite is chosen whose parts could be set. Add suite=NAME."
    if found := re.search(r"Value '(.*?)' of type '\w+' could not be converted to (\w+).*?full_key: (\S+)", text):
        value, wanted, key = found.groups()
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{key}={value}: must be {kinds.get(wanted, wanted)}."
    given = ", ".join(overrides) or "(none)"
    return f"The configuration cannot be composed from {given}: {text}"


def _quoted(key: str, value: str, *, listed: bool = False) -> str:
    return f"{key}=[{_quote(value)}]" if listed else f"{key}={_quote(value)}"


def _quote(value: str) -> str:
    """A value that Hydra and OmegaConf take literally: a backslash counts only before a quote or an interpolation."""
    plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return "'" + re.sub(r"(\\*)(')", r"\1\1\\\2", re.sub(r"(\\+)$", r"\1\1", plain)) + "'"
