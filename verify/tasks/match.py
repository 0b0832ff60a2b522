"""From a claim to the task that can check it, or to the exact reason why none can."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

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
    """Find the task for a claim by its data set and config.

    ``only`` restricts the search to the named tasks; a claim that names no data set is then taken to be about the one
    task named. ``split`` replaces the claim's own split (the user's override).
    """
    usable = {name: task for name, task in tasks.items() if only is None or name in only}
    task, notes = _find(claim, usable), []
    if task is None and only is not None and len(usable) == 1 and _names_suite(claim, next(iter(usable.values()))):
        task = next(iter(usable.values()))
        notes.append(f"the card names the suite and not its task; tasks=[{task.name}] was asked for")
    if task is None and claim.dataset is None and claim.dataset_name is None:
        if only is not None and len(usable) == 1:
            task = next(iter(usable.values()))
            notes.append(f"the card names no data set for this number; tasks=[{task.name}] was asked for")
        else:
            return Match(
                None,
                reason="The card does not say on which data set this number was reached.",
                next_step="If you know it, name the task: tasks=[NAME] (`verify tasks list` shows them).",
            )
    if task is None:
        return _no_task(claim, usable, tasks)
    chosen, known, split_notes = _split(claim, task, split)
    return Match(task, chosen, known, (*notes, *split_notes))


def task_keys(task: TaskSpec) -> set[str]:
    """Every normalised name under which a card may mention this task's data."""
    source = task.dataset
    names = {task.name, *task.aliases}
    if source.data_files is None:
        base = source.path.rsplit("/", 1)[-1]
        names.add(f"{base}/{source.name}" if source.name else base)
        if source.name is None:
            names.add(source.path)
    return {_plain(name) for name in names if _plain(name)}


def _find(claim: Claim, tasks: Mapping[str, TaskSpec]) -> TaskSpec | None:
    index: dict[str, TaskSpec] = {}
    for task in tasks.values():
        for key in task_keys(task):
            index[key] = task
    names = [name for name in (claim.dataset, claim.dataset_name) if name]
    if claim.config:
        for name in names:
            for base in (name, name.rsplit("/", 1)[-1]):
                found = index.get(_plain(f"{base}/{claim.config}"))
                if found:
                    return found
    for name in names:
        for base in (name, name.rsplit("/", 1)[-1]):
            found = index.get(_plain(base))
            if found and _config_fits(claim.config, found):
                return found
    return None


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


def _no_task(claim: Claim, usable: Mapping[str, TaskSpec], tasks: Mapping[str, TaskSpec]) -> Match:
    named = claim.dataset_name or claim.dataset or ""
    where = f"{named} ({claim.config})" if claim.config else named
    if suite := sorted(name for name, task in usable.items() if _names_suite(claim, task)):
        return Match(
            None,
            reason=f"The card says {named}, which has several tasks ({', '.join(suite)}), and not which one.",
            next_step="Name the one that is meant: tasks=[NAME].",
        )
    if len(usable) < len(tasks) and _find(claim, tasks) is not None:
        other = _find(claim, tasks)
        return Match(
            None,
            reason=f"The number is about {other.name if other else where}, which tasks=[…] leaves out.",
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


def _plain(name: str | None) -> str:
    return re.sub(r"[\W_]+", "", (name or "").casefold())
