"""From a claim to the task that can check it, or to the exact reason why none can."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from verify.types import Claim, TaskSpec

_DEFAULT_CONFIGS = ("default", "plaintext", "none", "all")


@dataclass(frozen=True)
class Match:
    """A task and split for a claim, with what had to be assumed; or, with ``task`` None, the reason and a remedy.

    ``split_known`` is false where the card leaves open which of several labelled splits it means.
    """

    task: TaskSpec | None
    split: str = ""
    split_known: bool = True
    notes: tuple[str, ...] = ()
    reason: str = ""
    next_step: str = ""


def match_claim(
    claim: Claim,
    tasks: Mapping[str, TaskSpec],
    *,
    only: Collection[str] | None = None,
    split: str | None = None,
) -> Match:
    """Find the task for a claim by its data set and config, as :class:`Matcher` does for many claims."""
    return Matcher(tasks, only=only, split=split).match(claim)


class Matcher:
    """Finds the tasks for claims by their data set and config.

    ``only`` restricts the search to the named tasks; a claim that names no data set is then taken to be about the one
    task named. ``split`` replaces the claims' own splits (the user's override).
    """

    def __init__(
        self, tasks: Mapping[str, TaskSpec], *, only: Collection[str] | None = None, split: str | None = None
    ) -> None:
        self._usable = _Names({name: task for name, task in tasks.items() if only is None or name in only})
        self._all = self._usable if only is None else _Names(tasks)
        self._only_one = next(iter(self._usable.tasks.values())) if only and len(self._usable.tasks) == 1 else None
        self._split = split

    def match(self, claim: Claim) -> Match:
        """The task for one claim, or the reason why there is none."""
        found, notes = _find(claim, self._usable), []
        task = found[0] if len(found) == 1 else None
        if task is None and self._only_one is not None and _names_suite(claim, self._only_one):
            task = self._only_one
            notes.append(f"the card names the suite and not its task; tasks=[{task.name}] was asked for")
        if task is None and claim.dataset is None and claim.dataset_name is None:
            if self._only_one is None:
                return Match(
                    None,
                    reason="The card does not say on which data set this number was reached.",
                    next_step="If you know it, name the task: tasks=[NAME] (`verify tasks list` shows them).",
                )
            task = self._only_one
            notes.append(f"the card names no data set for this number; tasks=[{task.name}] was asked for")
        if task is None:
            return _no_task(claim, found, self._usable, self._all)
        chosen, known, split_notes = _split(claim, task, self._split)
        return Match(task, chosen, known, (*notes, *split_notes))


@dataclass(frozen=True)
class _Names:
    """Tasks by the normalised names that cards may use for their data.

    A later task with the same name of its own replaces an earlier one; names of data sets may be shared.
    """

    tasks: Mapping[str, TaskSpec]

    @cached_property
    def own(self) -> Mapping[str, list[TaskSpec]]:
        return {key: [task] for task in self.tasks.values() for key in own_keys(task)}

    @cached_property
    def shared(self) -> Mapping[str, list[TaskSpec]]:
        found: dict[str, list[TaskSpec]] = {}
        for task in self.tasks.values():
            for key in data_keys(task):
                found.setdefault(key, []).append(task)
        return found


def own_keys(task: TaskSpec) -> set[str]:
    """The normalised names that belong to this task alone: its name and its aliases."""
    return {_plain(name) for name in (task.name, *task.aliases) if _plain(name)}


def data_keys(task: TaskSpec) -> set[str]:
    """The normalised names of the task's data set and config, which other tasks may share."""
    source = task.dataset
    if source.data_files is not None:
        return set()
    base = source.path.rsplit("/", 1)[-1]
    names = {f"{base}/{source.name}"} if source.name else {base, source.path}
    return {_plain(name) for name in names if _plain(name)}


def task_keys(task: TaskSpec) -> set[str]:
    """Every normalised name under which a card may mention this task's data."""
    return own_keys(task) | data_keys(task)


def _find(claim: Claim, tasks: _Names) -> list[TaskSpec]:
    """The task that the claim is about, or the several among which the card leaves the choice.

    A task's own names count before the names of data sets.
    """
    own, shared = tasks.own, tasks.shared
    names = [name for name in (claim.dataset, claim.dataset_name) if name]
    if any(name.startswith("mteb/") for name in names):
        # mteb/imdb scores a classifier trained on a model's embeddings, which is another benchmark than imdb
        names = [name for name in names if name.startswith("mteb/")]
    else:
        names = [base for name in names for base in (name, name.rsplit("/", 1)[-1])]
    for index in (own, shared) if claim.config else ():
        for name in names:
            if found := index.get(_plain(f"{name}/{claim.config}")):
                return _narrowed(claim, found)
    for index in (own, shared):
        for name in names:
            if found := [task for task in index.get(_plain(name), ()) if _config_fits(claim.config, task)]:
                return _narrowed(claim, found)
    return []


def _narrowed(claim: Claim, found: list[TaskSpec]) -> list[TaskSpec]:
    """Of several tasks on one data set, those of the claim's split and of the direction in which its model translates.

    Cards name a language pair in the data set's order (wmt16 ro-en) whichever way they translate.
    """
    if len(found) > 1 and claim.split is not None:
        found = [task for task in found if task.dataset.split == claim.split] or found
    if len(found) > 1:
        said = f"{claim.model.rsplit('/', 1)[-1]} {claim.task or ''}".casefold()
        found = [task for task in found if task.kind == "translation" and _direction(task).search(said)] or found
    return found


def _direction(task: TaskSpec) -> re.Pattern[str]:
    source, target = (re.escape(task.columns[role].rsplit(".", 1)[-1]) for role in ("source", "target"))
    return re.compile(rf"(?<![a-z]){source}[-_. ]?(?:(?:to|2)[-_. ]?)?{target}(?![a-z])")


def _config_fits(config: str | None, task: TaskSpec) -> bool:
    if config is None:
        return True
    plain = _plain(config)
    return plain in (*_DEFAULT_CONFIGS, _plain(task.dataset.name)) or plain in task_keys(task)


def _split(claim: Claim, task: TaskSpec, override: str | None) -> tuple[str, bool, list[str]]:
    if override is not None:
        return override, True, [f"measured on the split {override}, as override.split asks"]
    default, only_one = task.dataset.split, len(_evaluation_splits(task)) <= 1
    if claim.split is None:
        return default, only_one, [f"the card does not name the split; {default} is the task's own"]
    if claim.split == "train" and any("Trainer" in note for note in claim.notes):
        return default, only_one, [f"the card says split train, which the Trainer writes for numbers of {default} too"]
    return task.split_aliases.get(claim.split, claim.split), True, []


def _evaluation_splits(task: TaskSpec) -> set[str]:
    return {*task.rows, *(task.dataset.data_files or ())} - {*task.unlabelled, "train"}


def _no_task(claim: Claim, found: list[TaskSpec], usable: _Names, every: _Names) -> Match:
    named = claim.dataset_name or claim.dataset or ""
    where = f"{named} ({claim.config})" if claim.config else named
    suite = sorted(task.name for task in found) or sorted(
        name for name, task in usable.tasks.items() if _names_suite(claim, task)
    )
    if suite:
        return Match(
            None,
            reason=f"The card says {where}, which has several tasks ({', '.join(suite)}), and not which one.",
            next_step="Name the one that is meant: tasks=[NAME].",
        )
    if len(usable.tasks) < len(every.tasks) and (others := _find(claim, every)):
        return Match(
            None,
            reason=f"The number is about {' or '.join(task.name for task in others)}, which tasks=[…] leaves out.",
            next_step="Add it to tasks=[…], or leave tasks out to check every claim.",
        )
    return Match(
        None,
        reason=f"No task describes the data set {where}.",
        next_step=(
            "Describe it in a YAML file of five keys (kind, dataset, columns, metrics, aliases) "
            "and pass its folder: task_path=[FOLDER]."
        ),
    )


def _names_suite(claim: Claim, task: TaskSpec) -> bool:
    """Whether the claim names the data set of which the task is one config, and no config."""
    if task.dataset.name is None or (claim.config is not None and _plain(claim.config) not in _DEFAULT_CONFIGS):
        return False
    base = task.dataset.path.rsplit("/", 1)[-1]
    return _plain(base) in {_plain(name.rsplit("/", 1)[-1]) for name in (claim.dataset, claim.dataset_name) if name}


@lru_cache(maxsize=8192)
def _plain(name: str | None) -> str:
    return re.sub(r"[\W_]+", "", (name or "").casefold())
