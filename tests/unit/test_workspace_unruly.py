"""Odd things that an agent does to its files cost those files at most, and never the rest of its work."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, apply, workspace_in

from agent import litter
from agent.workspace import Diff

pytestmark = pytest.mark.usefixtures("git_without_settings")


async def whole_diff_of(repository: GitRepository, change: Callable[[GitRepository], None]) -> Diff:
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        change(repository)
        repository.write("a.py", "2\n")
        return await workspace.diff(base)


@pytest.mark.parametrize("how", ["changed", "deleted", "excluded elsewhere"])
async def test_what_was_built_before_is_no_work_when_git_no_longer_ignores_it(
    make_repository: Make, tmp_path: Path, how: str
) -> None:
    repository = make_repository(**{".gitignore": "*.c\n", "a.py": "1\n"})
    repository.write("fast.c", "generated\n")
    if how == "excluded elsewhere":
        repository.write(".gitignore", "")
        repository.git("commit", "-qam", "nothing is ignored here")
        repository.write(".git/info/exclude", "*.c\n")
    again = tmp_path / "again"
    shutil.copytree(repository.path, again)

    def change(work: GitRepository) -> None:
        if how == "changed":
            work.write(".gitignore", "*.o\n")
        elif how == "deleted":
            (work.path / ".gitignore").unlink()
        else:
            work.write(".git/info/exclude", "")
        work.write("new.c", "work\n")

    diff = await whole_diff_of(repository, change)
    assert ("fast.c", litter.IGNORED_BEFORE) in [(left.name, left.reason) for left in diff.left_out]
    assert b"b/new.c" in diff.patch
    assert b"fast.c" not in diff.patch
    await apply(diff.patch, again)
    assert (again / "a.py").read_text() == "2\n"
    assert (again / "fast.c").read_text() == "generated\n"


def replace_folder_by_link(work: GitRepository) -> None:
    (work.path / "gen").rename(work.path / "moved")
    (work.path / "gen").symlink_to("moved")


def replace_file_by_folder(work: GitRepository) -> None:
    (work.path / "o.log").unlink()
    work.write("o.log/x", "x\n")


def force_a_file_and_put_a_folder_there(work: GitRepository) -> None:
    work.write("p.log", "x\n")
    work.git("add", "-f", "p.log")
    (work.path / "p.log").unlink()
    work.write("p.log/x", "x\n")


@pytest.mark.parametrize(
    "change", [replace_folder_by_link, replace_file_by_folder, force_a_file_and_put_a_folder_there]
)
async def test_a_name_that_is_something_else_by_now_costs_nothing_else(
    make_repository: Make, change: Callable[[GitRepository], None]
) -> None:
    repository = make_repository(**{"a.py": "1\n", "b.py": "1\n", "gen/x": "1\n", "o.log": "1\n", "q.log": "1\n"})
    repository.write(".gitignore", "gen/\n*.log\n")
    repository.git("add", ".gitignore")
    repository.git("commit", "-qm", "ignored, and tracked")

    def change_all(work: GitRepository) -> None:
        change(work)
        work.write("q.log", "2\n")

    diff = await whole_diff_of(repository, change_all)
    assert b"b/a.py" in diff.patch
    assert b"b/q.log" in diff.patch


async def test_files_that_come_and_go_meanwhile_cost_no_work(make_repository: Make) -> None:
    repository = make_repository(**{f"f{number}.py": "1\n" for number in range(300)}, **{"a.py": "1\n"})
    restless = "while :; do for i in 1 2 3 4 5 6 7 8; do echo x >t$i.txt; done; rm -f t*.txt; done"
    process = await asyncio.create_subprocess_exec("bash", "-c", restless, cwd=repository.path)
    try:
        async with workspace_in(repository.path) as workspace:
            base = await workspace.snapshot()
            repository.write("a.py", "2\n")
            for _ in range(25):
                assert b"b/a.py" in (await workspace.diff(base)).patch
    finally:
        process.kill()
        await process.wait()
