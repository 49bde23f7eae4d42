"""Which files of a patch could steer the tests of SWE-bench Pro, which has Python, Go and JavaScript."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from evals.swebench.steering_files import HIDES_A_MODULE, Change, Steering, Task, steering

_CONFIGURATION = re.compile(
    r"(jest|vitest|vite|babel|karma|cypress|playwright)\.(config|setup|workspace)\.\w+|\.mocharc(\.\w+)?|\.babelrc(\.\w+)?"
    r"|setupTests\.\w+|package\.json|\.npmrc|\.yarnrc(\.yml)?|go\.work|Makefile"
)
_TEST_FILE = re.compile(r"[^/]*_test\.go|[^/]*[.-](test|spec)\.[cm]?[jt]sx?")
_TEST_FOLDERS = frozenset({"test", "__tests__", "__mocks__", "spec"})
_CODE = frozenset({".py", ".go", ".js", ".jsx", ".ts", ".tsx", ".mjs", ".cjs", ".mts", ".cts", ".coffee", ".sh"})
_NO_TESTS = "lib/ansible/plugins/test/"
"""Jinja's tests, which are part of the program."""
_INSTALLED = "belongs to what is installed in the repository"


def pro_steering(changes: Iterable[Change], task: Task, language: str = "python") -> list[Steering]:
    """The changes that can steer the tests of a project in `language`, by path; what the solution changes too stays.

    A new test file counts as well: Go compiles every one of a package, and runs what it has to say at its start.
    """
    changes = list(changes)
    found = {one.path: one for one in steering(changes, task) if language == "python" or one.why != HIDES_A_MODULE}
    installs = {folder for path in task.solution if (folder := _installed_in(path))}
    for change in changes:
        if change.path not in found and (why := _reason(change)):
            kept = change.path in task.solution or _installed_in(change.path) in installs
            found[change.path] = Steering(change.path, why, change.is_new, kept=kept)
    return [found[path] for path in sorted(found)]


def _installed_in(path: str) -> str | None:
    parts = PurePosixPath(path).parts[:-1]
    if "node_modules" in parts:
        return "node_modules"
    return "vendor" if parts[:1] == ("vendor",) else None


def _reason(change: Change) -> str | None:
    path = PurePosixPath(change.path)
    if _installed_in(change.path):
        return _INSTALLED
    if _CONFIGURATION.fullmatch(path.name):
        return "configures the tests"
    if _TEST_FILE.fullmatch(path.name) and (path.suffix == ".go" or not change.is_new):
        return "a file of the tests"
    if change.is_new or path.suffix not in _CODE or change.path.startswith(_NO_TESTS):
        return None
    return "a file of the tests" if _TEST_FOLDERS & set(path.parts[:-1]) else None
