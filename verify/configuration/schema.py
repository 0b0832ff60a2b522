"""The configuration as dataclasses, which conf/ and the command line fill (:mod:`verify.configuration.compose`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

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
    memory: str | None = None  # that a process may hold, such as 8GB; null: its share of the machine's
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
    ahead: bool = True  # fetch the next model while one computes; on a GPU a second process loads and tokenises it


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
    allow_pickle: bool = False  # load weights that are only there as pickles, by weights_only and with checks
    base: str | None = None  # the base model of an adapter, an id or a folder; null: the one that the adapter names
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    override: OverrideConfig = field(default_factory=OverrideConfig)
    suite: SuiteConfig | None = None
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def asked_tasks(self) -> list[str] | None:
        """The tasks asked for, here or by the suite; None for whatever the card claims."""
        asked = self.tasks if self.tasks is not None else (self.suite.tasks if self.suite else None)
        return None if asked == AUTO else asked
