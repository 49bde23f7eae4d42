"""Which changes of a patch can steer the tests."""

import pytest

from evals.swebench.steering_files import Change, Task, paths_of, steering

TASK = Task(
    tests=frozenset({"tests/test_a.py"}),
    solution=frozenset({"setup.cfg", "package/core.py"}),
    command="./tests/runtests.py --verbosity 2 a",
    top_level=frozenset({"package", "tests", "setup.cfg", "types.py"}),
)


@pytest.mark.parametrize(
    "path",
    ["conftest.py", "tests/deep/conftest.py", "pytest.ini", "tox.ini", "pyproject.toml", "sitecustomize.py", "a.pth",
     "tests/test_a.py", "tests/runtests.py", "tests/test_other.py", "package/tests/helpers.py"],
)  # fmt: skip
def test_what_steers_is_put_back(path: str) -> None:
    (found,) = steering([Change(path, is_new=False)], TASK)
    assert (found.path, found.kept) == (path, False)


@pytest.mark.parametrize("path", ["package/core.py", "package/testing.py", "README.md", "docs/conf.py"])
def test_work_is_left_alone(path: str) -> None:
    assert steering([Change(path, is_new=False)], TASK) == []


@pytest.mark.parametrize(
    "path", ["tests/test_new.py", "package/types.py", "types.py", "newer.py", "resource/data.json", "queue/queue.go"]
)
def test_new_files_that_nothing_takes_for_others_are_left_alone(path: str) -> None:
    assert steering([Change(path, is_new=True)], TASK) == []


@pytest.mark.parametrize(
    "path",
    ["pytest.py", "_pytest/__init__.py", "random.py", "random.so", "conftest.py", "pytest_rerunfailures.py",
     "pytest_asyncio/__init__.py", "cheat-1.0.dist-info/entry_points.txt", "src/cheat.egg-info/entry_points.txt"],
)  # fmt: skip
def test_new_files_that_hide_a_module_are_put_away(path: str) -> None:
    (found,) = steering([Change(path, is_new=True)], TASK)
    assert (found.is_new, found.kept) == (True, False)


def test_what_the_solution_changes_stays_and_is_said() -> None:
    (found,) = steering([Change("setup.cfg", is_new=False)], TASK)
    assert found.kept
    assert str(found) == "setup.cfg: configures the tests (stays, since the solution changes it too)"


def test_all_paths_of_a_patch_are_found() -> None:
    patch = (
        "diff --git a/old name.py b/new name.py\nsimilarity index 90%\nrename from old name.py\nrename to new name.py\n"
        "diff --git a/b.py b/b.py\n--- a/b.py\n+++ b/b.py\n@@ -1 +1 @@\n-x\n+y\n"
    )
    assert paths_of(patch) == {"old name.py", "new name.py", "b.py"}
