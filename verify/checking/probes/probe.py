"""One probe: a cause that only another run can show, and the settings that it tries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from verify.configuration.schema import VerifyConfig
from verify.judging.hypotheses.hypothesis import Hypothesis
from verify.tasks.kinds import settings_of
from verify.types import Setting, TaskSpec


@dataclass(frozen=True)
class Facts:
    """What is known of a rerun and of its model repository before anything is run again.

    ``preprocessing`` is what the engine recorded of the rerun, ``dtype`` the one in which it ran, ``stated_dtype`` that
    of the checkpoint's configuration, if known. ``flips`` counts its predictions that a second configuration changed.
    ``splits`` are the other splits with references, each with its number of examples in parts of the rerun's (None
    where unknown). ``lowercases`` is true where the tokeniser itself puts everything in lower case. ``prefixes`` are
    texts that the repository names to stand before an input.
    """

    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    stated_dtype: str | None = None
    flips: int = 0
    splits: Mapping[str, float | None] = field(default_factory=dict)
    lowercases: bool = False
    prefixes: tuple[str, ...] = ()

    def used(self, task: TaskSpec, name: str) -> Setting:
        """The value of a setting in the rerun: as recorded, which resolves what was left open, else the task's."""
        generation = self.preprocessing.get("generation")
        for record in (self.preprocessing, generation if isinstance(generation, Mapping) else {}):
            value = record.get(name)
            if isinstance(value, str | int | float | bool):
                return value
        return settings_of(task.kind, task.settings).get(name)

    @property
    def input_limit(self) -> int | None:
        """The tokens at which inputs were cut in the rerun; None where there was no limit or none is recorded."""
        limit = self.preprocessing.get("max_length", self.preprocessing.get("max_input_tokens"))
        return limit if isinstance(limit, int) else None


def inputs_cut(preprocessing: Mapping[str, Any]) -> int | None:
    """How many inputs (or words) a run cut off, None where its kind does not say."""
    cut = preprocessing.get("truncated_texts", preprocessing.get("words_beyond_max_length"))
    return cut if isinstance(cut, int) else None


@dataclass(frozen=True)
class Variant:
    """One setting to run: ``setting`` says in plain words what differs from the rerun.

    ``task``, ``split`` and ``config`` are what is measured; ``revision`` is a commit of the model repository, None for
    that of the rerun. ``cost`` is what it takes, in reruns. ``cut_at`` is the number of tokens at which it cuts inputs.
    ``is_alone`` marks the one whose scores are those of the examples run one by one, the second configuration of a run.
    """

    setting: str
    task: TaskSpec
    split: str
    config: VerifyConfig
    revision: str | None = None
    cost: float = 1.0
    cut_at: int | None = None
    is_alone: bool = False


Variants = Callable[[TaskSpec, str, VerifyConfig, Facts], Iterable[Variant]]
"""From a rerun (its task, split and configuration, and what is known of it) to the settings to try, likeliest first."""


@dataclass(frozen=True)
class Probe:
    """A possible cause that a run can show.

    ``cause`` completes "The card's number is reached if …", with ``{setting}`` for the setting found. ``kinds`` are the
    kinds of task that it bears on, None for all. ``weight`` says how common the cause is, 1 for the most common;
    ``version`` changes whenever the settings tried change.
    """

    name: str
    cause: str
    kinds: tuple[str, ...] | None
    variants: Variants
    weight: float
    version: int = 1

    def applies(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds

    @property
    def hypothesis(self) -> Hypothesis:
        """The entry under which :func:`verify.judging.explain.search` takes this probe's trials. It replays nothing."""
        return Hypothesis(self.name, self.cause, None, lambda case: (), self.weight, self.version)
