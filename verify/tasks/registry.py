"""Every task that can be run: the built-in ones and those in the user's own folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from verify.configuration.resources import built_in
from verify.errors import UsageError
from verify.foundation.spelling import suggestion
from verify.tasks.schema import parse_task
from verify.types import TaskSpec


class Registry(Mapping[str, TaskSpec]):
    """Tasks by name, in the order of reading. A later task replaces an earlier one of the same name."""

    def __init__(self, tasks: Iterable[TaskSpec]) -> None:
        self._tasks: dict[str, TaskSpec] = {}
        for task in tasks:
            self._tasks.pop(task.name, None)
            self._tasks[task.name] = task

    def __getitem__(self, name: str) -> TaskSpec:
        return self._tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)

    def find(self, name: str) -> TaskSpec:
        """The task called ``name``. Raises UsageError with the nearest spelling."""
        if name not in self._tasks:
            raise UsageError(
                f'No task is called "{name}". {suggestion(name, self._tasks)} '
                "A folder with tasks of your own is added with task_path=[FOLDER]."
            )
        return self._tasks[name]


def load_registry(task_path: Iterable[str] = ()) -> Registry:
    """Read the built-in tasks and every ``*.yaml`` in the folders of ``task_path``, of which later ones win.

    Raises UsageError if a folder is missing or holds no task, or if any task file is wrong.
    """
    tasks = [_read(file) for file in sorted(built_in("tasks").rglob("*.yaml"), key=lambda file: file.name)]
    for folder in task_path:
        path = Path(os.path.expanduser(folder))  # noqa: PTH111 (keeps an unknown ~user, where Path.expanduser raises)
        if not path.is_dir():
            raise UsageError(f"task_path: {folder} is not a folder. Name a folder that holds task files (*.yaml).")
        files = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        if not files:
            raise UsageError(f"task_path: {folder} holds no task file (*.yaml).")
        tasks.extend(_read(file) for file in files)
    return Registry(tasks)


def _read(file: Path) -> TaskSpec:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: cannot be read: {error}. Check the file, or take it out of the folder.") from error
    return parse_task(text, name=file.stem, file=str(file))
