"""Which files of a patch can steer the tests instead of solving the task, and why.

A verdict that holds against tricks puts these back as they were, but for those that the task's own solution changes
too. Sources: SWE-bench/SWE-bench#601 and #620, where a `conftest.py` reported every test as passed.
"""

import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

CONFIGURATION = frozenset(
    {
        "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "tox.toml", "setup.cfg",
        "pyproject.toml", "noxfile.py", "unittest.cfg", ".coveragerc",
    }
)  # fmt: skip
STARTED_WITH_PYTHON = frozenset({"sitecustomize.py", "usercustomize.py"})
RUNNERS = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "py", "tox", "nose", "xdist", "pytest_cov"})
HIDES_A_MODULE = "hides a module that the tests need"
_MODULE_SUFFIXES = frozenset({"py", "pyc", "so"})
_INSTALLED = re.compile(r"(.*/)?[^/]*\.(dist|egg)-info/.*")
_TEST_FILE = re.compile(r"test_[^/]*\.py|[^/]*_tests?\.py|tests\.py")
_HEADER = re.compile(r"^diff --git a/(?P<old>.+) b/(?P<new>.+)$", re.MULTILINE)
_NAMED = re.compile(r"^(?:--- a/|\+\+\+ b/|rename (?:from|to) )(?P<path>[^\t\n]+)", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """A file that a patch touches, as git lists it against the state before."""

    path: str
    is_new: bool


@dataclass(frozen=True)
class Steering:
    """A change that can steer the tests."""

    path: str
    why: str
    is_new: bool
    kept: bool
    """Whether it stays, because the task's own solution touches this file too."""

    def __str__(self) -> str:
        """For a person."""
        after = "stays, since the solution changes it too" if self.kept else "put back"
        return f"{self.path}: {self.why} ({after})"


@dataclass(frozen=True)
class Task:
    """What of a task decides which changes are the tests' business."""

    tests: frozenset[str]
    """The files that its test patch touches."""
    solution: frozenset[str]
    """The files that its own solution touches."""
    command: str
    """The command that runs the tests."""
    top_level: frozenset[str]
    """The names in the root of the repository, before the patch."""


def steering(changes: Iterable[Change], task: Task) -> list[Steering]:
    """The changes that can steer the tests, by path."""
    found = [(change, why) for change in changes if (why := _reason(change, task))]
    return [
        Steering(change.path, why, change.is_new, kept=change.path in task.solution and change.path not in task.tests)
        for change, why in sorted(found, key=lambda one: one[0].path)
    ]


def paths_of(patch: str) -> frozenset[str]:
    """The files that a patch names, old and new."""
    headers = {path for match in _HEADER.finditer(patch) for path in match.groups()}
    return frozenset(headers | {match["path"] for match in _NAMED.finditer(patch)})


def _reason(change: Change, task: Task) -> str | None:
    path = PurePosixPath(change.path)
    if change.path in task.tests:
        return "one of the files of the tests that decide"
    if path.name in CONFIGURATION:
        return "configures the tests"
    if path.name in STARTED_WITH_PYTHON or path.suffix == ".pth":
        return "runs whenever Python starts"
    if change.is_new and is_of_an_installed_package(change.path):
        return "passes for an installed package, which can be a plugin of the tests"
    if _runs_the_tests(path, task.command):
        return "runs the tests"
    if change.is_new:
        return HIDES_A_MODULE if _hides_a_module(path, task.top_level) else None
    return "a file of the tests" if _belongs_to_tests(path) else None


def is_of_an_installed_package(path: str) -> bool:
    """Whether a file is the kind that installing a package makes."""
    return bool(_INSTALLED.fullmatch(path))


def _runs_the_tests(path: PurePosixPath, command: str) -> bool:
    words = [word.removeprefix("./") for word in command.split() if "=" not in word]
    return bool(words) and words[0] == str(path)


def _hides_a_module(path: PurePosixPath, top_level: Collection[str]) -> bool:
    """Python looks into the folder of the program, or the working one, before it looks at its own library."""
    first = path.parts[0]
    name, _, suffix = first.partition(".")
    if first in top_level or not (name in RUNNERS or name.startswith("pytest_") or name in sys.stdlib_module_names):
        return False
    # A folder without an `__init__` hides nothing: Python takes one only where it finds nothing else of that name.
    if len(path.parts) == 1:
        return suffix.rpartition(".")[2] in _MODULE_SUFFIXES
    return len(path.parts) == 2 and path.name.partition(".")[0] == "__init__"


def _belongs_to_tests(path: PurePosixPath) -> bool:
    return "tests" in path.parts[:-1] or bool(_TEST_FILE.fullmatch(path.name))
