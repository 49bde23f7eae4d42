"""Our commands run on our own packages, whatever the repository that they are run in calls its own."""

from collections.abc import Callable

import pytest
from real_things import VENV, Console, GitRepository, calls

OURS = ("agent", "tools", "evals", "runners", "results")
LIBRARIES = ("typer", "pydantic", "yaml", "openai", "rich", "starlette")
RAISES = "raise ImportError('this is the package of the repository')\n"


@pytest.fixture
def trap(make_repository: Callable[..., GitRepository]) -> GitRepository:
    """A repository with packages of our names and our libraries' names."""
    packages = {f"{name}/__init__.py": RAISES for name in (*OURS, "pydantic", "yaml", "openai", "starlette")}
    return make_repository("trap", **packages, **{"typer.py": RAISES, "rich.py": RAISES})


@pytest.mark.parametrize("path", [".", "", ":", "/nowhere:.", "{repository}"])
def test_help_of_every_command_is_ours(console: Console, trap: GitRepository, path: str):
    for command in ("agent", "evals", "results", "unbroken"):
        variable = path.format(repository=trap.path)
        done = console.run([str(VENV / "bin" / command), "--help"], cwd=trap.path, PYTHONPATH=variable)
        assert (done.code, done.err) == (0, ""), done.err
        assert "usage: " in done.out.lower()


def test_task_is_worked_on_with_our_packages_and_commands_see_the_repositorys(
    console: Console, trap: GitRepository, write_script: Callable[..., str]
):
    look = "command -v python3; python3 -c 'import agent' 2>&1 | tail -n 1"
    script = write_script(calls(look), {"content": "done"})
    done = console.agent("run", "x", "--approve", "all", "--backend", script, cwd=trap.path, PYTHONPATH=".")
    assert done.code == 0, done.err
    assert "ImportError: this is the package of the repository" in done.out
    assert str(VENV) not in done.out


def test_public_names_are_ours(console: Console, trap: GitRepository):
    python = str(VENV / "bin" / "python")
    code = "from unbroken import Agent, Instructions; import tools.tool; print(Agent.__module__, tools.tool.__name__)"
    for name in LIBRARIES:  # a program that a repository holds finds that repository's libraries, as any would
        for path in (trap.path / f"{name}.py", trap.path / name / "__init__.py"):
            path.unlink(missing_ok=True)
    done = console.run([python, "-c", code], cwd=trap.path, PYTHONPATH=".")
    assert (done.code, done.out) == (0, "agent.loop tools.tool\n"), done.err


def test_foreign_package_that_is_loaded_already_is_named(
    console: Console, make_repository: Callable[..., GitRepository]
):
    repository = make_repository(**{"tools/__init__.py": ""})
    code = "import tools; from unbroken import Agent"
    done = console.run([str(VENV / "bin" / "python"), "-c", code], cwd=repository.path)
    assert done.code == 1
    assert f"a package 'tools' from {repository.path}/tools/__init__.py is loaded already" in done.err
