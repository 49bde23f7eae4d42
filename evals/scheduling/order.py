"""The order in which trials begin.

Longest expected first: a long trial that begins last keeps the whole run waiting for it (the rule of longest processing
time, Graham 1969). Every task once before any of them a second time, so that the attempts at one are spread over the
run, and over whatever happens to the server meanwhile. What shares layers of images goes together. The order follows
from tasks and their number of attempts alone, so that every backend gets the same one.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

TaskT = TypeVar("TaskT")


def in_order(
    tasks: Sequence[TaskT],
    attempts: int,
    expected: Callable[[TaskT], float],
    shared: Callable[[TaskT], Hashable],
) -> list[tuple[TaskT, int]]:
    """Each task with the number of an attempt.

    `expected`: how long a task takes beside others, in any unit. `shared`: what tasks have in common whose images share
    layers. What is alike in both stays in the order that it has.
    """
    places: dict[Hashable, int] = {}
    for task in tasks:
        places.setdefault(shared(task), len(places))
    once = sorted(tasks, key=lambda task: (-expected(task), places[shared(task)]))
    return [(task, attempt) for attempt in range(1, attempts + 1) for task in once]
