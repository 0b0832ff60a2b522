"""Which values of a configuration are sound; types are OmegaConf's concern, and Hydra's."""

from __future__ import annotations

import re
from typing import Any

from verify.configuration.schema import AUTO, SuiteConfig, SweepConfig, VerifyConfig
from verify.errors import UsageError
from verify.foundation.spelling import suggestion

DTYPES = ("float32", "bfloat16", "float16", "native")
DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
PRECISIONS = ("exact", "adaptive")
STOPS = ("never", "refuted", "settled")
CLUSTERS = ("ray", "slurm")


def check_values(config: VerifyConfig) -> None:
    """Raise UsageError for the first value that cannot be meant, with what is allowed."""
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
    if config.engine.memory is not None and not bytes_of(config.engine.memory):
        raise UsageError(f"engine.memory={config.engine.memory}: must be a size such as 8GB or 500MiB.")
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
    if config.base is not None and not config.base.strip():
        raise UsageError("base: must name a model, ORG/NAME or ./folder, or be null for the one that an adapter names.")
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
