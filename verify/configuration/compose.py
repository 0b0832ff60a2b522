"""From YAML groups in conf/ and overrides to a configuration, composed by Hydra.

A wrong key or value ends in one short UsageError that names the argument, what is allowed and the nearest spelling.
"""

from __future__ import annotations

import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from hydra import compose, initialize_config_dir
from hydra import main as hydra_main
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from verify.configuration.hydra_state import GROUPS, own_hydra
from verify.configuration.resources import built_in
from verify.configuration.schema import (
    EngineConfig,
    HubQuery,
    OverrideConfig,
    PolicyConfig,
    SuiteConfig,
    SweepConfig,
    VerifyConfig,
)
from verify.configuration.values import check_values
from verify.errors import UsageError, VerifyError
from verify.foundation.spelling import suggestion

_SCHEMAS = (VerifyConfig, PolicyConfig, EngineConfig, OverrideConfig, HubQuery, SuiteConfig, SweepConfig)


def compose_config(model: str | None, overrides: Sequence[str], config_dir: str | None = None) -> VerifyConfig:
    """The configuration of one run. Raises UsageError on any override that does not fit.

    ``config_dir`` is a folder with the user's own policy/, engine/ and suite/ files, searched beside the built-in ones.
    """
    _check_keys(overrides)
    given = [*([_assigned("model", model)] if model else []), *_free(overrides), *_search_path(config_dir)]
    try:
        with own_hydra(), initialize_config_dir(str(built_in("conf")), version_base="1.3"):
            composed = compose("config", overrides=given)
        config = OmegaConf.to_object(composed)
    except (HydraException, OmegaConfBaseException, AssertionError, ValueError, YAMLError, OSError) as error:
        raise UsageError(_explain(error, overrides, config_dir)) from error
    if not isinstance(config, VerifyConfig):
        raise UsageError("The configuration could not be composed; conf/config.yaml no longer follows its schema.")
    check_values(config)
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
    models: str | None, overrides: Sequence[str], config_dir: str | None, job: Callable[[VerifyConfig, list[str]], int]
) -> int:
    """Run ``job`` for every combination that Hydra's ``--multirun`` makes of the overrides; returns the worst code.

    The job gets the configuration and the overrides of its own that made it, but for the model.
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
        check_values(composed)
        own = [text for text in HydraConfig.get().overrides.task if not re.match(r"\+*model=", text)]
        try:
            codes.append(job(composed, own))
        except VerifyError as error:
            print(f"verify: {composed.model or 'the suite'}: {error}", file=sys.stderr)  # noqa: T201
            codes.append(error.exit_code)

    run = hydra_main(version_base="1.3", config_path=str(built_in("conf")), config_name="config")(one)
    saved = sys.argv
    with tempfile.TemporaryDirectory(prefix="verify-multirun-") as scratch:
        quiet = (
            "hydra.output_subdir=null",
            _assigned("hydra.sweep.dir", scratch),
            "hydra.sweep.subdir=.",
            "hydra/job_logging=none",
            "hydra/hydra_logging=none",
        )
        model_sweep = ["model=" + ",".join(quoted(name) for name in models.split(","))] if models else []
        sys.argv = [sys.argv[0], "--multirun", *quiet, *model_sweep, *_free(overrides), *_search_path(config_dir)]
        try:
            with own_hydra():
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
    """The overrides, with a mark for Hydra at those of ``engine.slurm``, whose options it cannot know."""
    return [re.sub(r"^(?=engine\.slurm=)", "++", override) for override in overrides]


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
                child = schema_of(get_type_hints(owner)[name])
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


def schema_of(hint: Any) -> type[Any] | None:
    """The dataclass in a type hint such as ``SuiteConfig | None``, if there is one."""
    return next((part for part in (hint, *get_args(hint)) if isinstance(part, type) and is_dataclass(part)), None)


def _search_path(config_dir: str | None) -> list[str]:
    if config_dir is None:
        return []
    folder = Path(config_dir).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"--config-dir {config_dir}: there is no such folder.")
    return [_assigned("hydra.searchpath", f"file://{folder}", listed=True)]


def _explain(error: BaseException, overrides: Sequence[str], config_dir: str | None = None) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    if found := re.search(rf"Could not find '({'|'.join(GROUPS)})/([^']*)'", text):
        group, name = found.groups()
        return f"{group}={name}: there is no such {group}. {suggestion(name, _choices(group, config_dir))}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename} cannot be read: {error.strerror}. Check its permissions."
    if found := re.search(r"(?:is not a ListConfig|Cannot merge DictConfig with ListConfig).*full_key: (\S+)", text):
        if found[1].startswith("object_type="):
            return (
                f"{', '.join(overrides)}: one of the files has another form than its kind. A file gives values to "
                "names (models: [a, b]), and lists stand in brackets or with a dash before each entry."
            )
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


def _assigned(key: str, value: str, *, listed: bool = False) -> str:
    return f"{key}=[{quoted(value)}]" if listed else f"{key}={quoted(value)}"


def quoted(value: str) -> str:
    """A value that Hydra and OmegaConf take literally: a backslash counts only before a quote or an interpolation."""
    plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return "'" + re.sub(r"(\\*)(')", r"\1\1\\\2", re.sub(r"(\\+)$", r"\1\1", plain)) + "'"
