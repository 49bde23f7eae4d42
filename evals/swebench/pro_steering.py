"""Which files of a patch could steer the tests of SWE-bench Pro, which has Python, Go and JavaScript."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from evals.swebench.steering_files import Change, Steering, Task, steering

_CONFIGURATION = re.compile(
    r"(jest|vitest|vite|babel|karma|cypress|playwright)\.(config|setup)\.\w+|\.mocharc(\.\w+)?|\.babelrc(\.\w+)?"
    r"|setupTests\.\w+|package\.json|\.npmrc|\.yarnrc(\.yml)?|go\.work|Makefile"
)
_TEST_FILE = re.compile(r"[^/]*_test\.go|[^/]*[.-](test|spec)\.[cm]?[jt]sx?")
_TEST_FOLDERS = frozenset({"test", "__tests__", "__mocks__", "spec"})


def pro_steering(changes: Iterable[Change], task: Task) -> list[Steering]:
    """The changes that can steer the tests, by path; what the solution changes too stays.

    A new test file counts as well: Go compiles every one of a package, and runs what it has to say at its start.
    """
    changes = list(changes)
    found = {one.path: one for one in steering(changes, task)}
    for change in changes:
        if change.path not in found and (why := _reason(change)):
            kept = change.path in task.solution
            found[change.path] = Steering(change.path, why, change.is_new, kept=kept)
    return [found[path] for path in sorted(found)]


def _reason(change: Change) -> str | None:
    path = PurePosixPath(change.path)
    if _CONFIGURATION.fullmatch(path.name):
        return "configures the tests"
    if _TEST_FILE.fullmatch(path.name) and (path.suffix == ".go" or not change.is_new):
        return "a file of the tests"
    return None if change.is_new or not _TEST_FOLDERS & set(path.parts[:-1]) else "a file of the tests"
