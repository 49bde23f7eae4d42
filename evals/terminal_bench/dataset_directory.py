"""A directory of tasks in Harbor's format."""

from dataclasses import dataclass
from pathlib import Path

from evals.terminal_bench.task_directory import (
    INSTRUCTION,
    SETTINGS,
    InvalidTaskError,
    Problem,
    TaskDirectory,
    read_task,
)

_PARTS = (SETTINGS, INSTRUCTION, "environment", "tests", "solution", "steps")
"""By which a directory that is meant to be a task is known, even where it lacks some."""


class NoTasksError(Exception):
    """A path that is no task and has none."""


@dataclass(frozen=True)
class FoundTasks:
    """What is in a directory of tasks, each in the order of the names."""

    tasks: list[TaskDirectory]
    invalid: list[InvalidTaskError]
    others: list[Path]
    """Directories that have nothing of a task."""


def find_tasks(path: Path) -> FoundTasks:
    """Read a task, or the tasks that lie in a directory. Raises NoTasksError."""
    if not path.is_dir():
        message = f"{path} is {'no directory' if path.exists() else 'not there'}: give a task, or a directory of tasks"
        raise NoTasksError(message)
    alone = (path / SETTINGS).exists()
    folders = [path] if alone else sorted(each for each in path.iterdir() if each.is_dir() and each.name[0] != ".")
    found = FoundTasks([], [], [folder for folder in folders if not _is_meant_as_task(folder)])
    for folder in folders:
        if folder not in found.others:
            try:
                found.tasks.append(read_task(folder))
            except InvalidTaskError as error:
                found.invalid.append(error)
    if not found.tasks and not found.invalid:
        message = f"{path} has no tasks: a task is a directory with a {SETTINGS}"
        raise NoTasksError(message)
    return _without_doubles(found)


def _is_meant_as_task(folder: Path) -> bool:
    return any((folder / part).exists() for part in _PARTS)


def _without_doubles(found: FoundTasks) -> FoundTasks:
    """A name stands for one task, or its results could not be told apart."""
    first: dict[str, TaskDirectory] = {}
    doubles: list[InvalidTaskError] = []
    for task in found.tasks:
        other = first.setdefault(task.name, task)
        if other is not task:
            reason = f"{task.name!r} is also the name of {other.path.name}"
            doubles.append(InvalidTaskError(task.path, [Problem(SETTINGS, "task.name", reason)]))
    invalid = sorted([*found.invalid, *doubles], key=lambda each: each.path.name)
    return FoundTasks([*first.values()], invalid, found.others)
