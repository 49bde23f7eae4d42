"""A repository that came to lie in the repository is a folder like any other; what changed in a submodule is said."""

import os
import shutil
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, apply, changed, diff_of, files, names, whole_diff_of, workspace_in

from agent.inner_repositories import CLONE, LARGE, SUBMODULE

pytestmark = pytest.mark.usefixtures("git_without_settings")


def inner_in(work: GitRepository, name: str, contents: dict[str, str], *, commits: bool = True) -> GitRepository:
    inner = GitRepository(work.path / name, work.environment)
    inner.path.mkdir(parents=True)
    inner.git("init", "--quiet")
    for file, content in contents.items():
        inner.write(file, content)
    if commits:
        inner.commit()
    return inner


# -- one that is nobody's submodule


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("name", ["inner", "deep/in ner's", "größe [x]*", "-option"])
async def test_files_of_a_repository_that_the_agent_made_are_work(
    repository: GitRepository, tmp_path: Path, name: str, commits: bool
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin)

    def change(work: GitRepository) -> None:
        inner_in(work, name, {"a.py": "1\n", "sub/b.py": "2\n", "c": "3\n"}, commits=commits)
        work.write("greeting", "hallo\n")

    diff = await whole_diff_of(repository, change)
    assert b"Subproject" not in diff.patch
    assert not diff.left_out
    await apply(diff.patch, twin)
    inner = {file: found for file, found in files(repository.path).items() if "/.git/" not in file}
    assert files(twin) == inner


async def test_repository_in_a_repository_in_the_repository(repository: GitRepository) -> None:
    def change(work: GitRepository) -> None:
        inner = inner_in(work, "one", {"a": "1\n"})
        inner_in(inner, "two", {"b": "2\n"}, commits=False)

    assert changed(await diff_of(repository, change)) == ["one/a", "one/two/b"]


async def test_what_is_ignored_or_litter_stays_out_of_an_inner_repository_as_well(make_repository: Make) -> None:
    repository = make_repository(**{".gitignore": "*.log\n/scratch/\n"})

    def change(work: GitRepository) -> None:
        inner = inner_in(work, "inner", {"a.py": "1\n", ".gitignore": "*.tmp\n"})
        for name in ("x.log", "x.tmp", "__pycache__/a.pyc", "node_modules/x.js"):
            inner.write(name, "x\n")
        inner_in(work, "scratch", {"b": "1\n"})

    diff = await whole_diff_of(repository, change)
    assert changed(diff.patch) == ["inner/.gitignore", "inner/a.py"]
    assert "scratch/" in names(diff)


async def test_repository_that_was_there_is_compared_file_by_file(repository: GitRepository) -> None:
    inner = inner_in(repository, "inner", {"a": "1\n", "same": "1\n", "gone": "1\n"})
    before = inner.git_data()

    def change(_: GitRepository) -> None:
        inner.write("a", "2\n")
        inner.write("new", "1\n")
        (inner.path / "gone").unlink()

    assert changed(await diff_of(repository, change)) == ["inner/a", "inner/gone", "inner/new"]
    assert inner.git_data() == before
    assert await diff_of(repository, lambda _: inner.commit()) == b""


@pytest.mark.parametrize("how", ["clone", "worktree"])
async def test_copy_of_the_repository_itself_is_not_in_the_diff_and_said(
    make_repository: Make, tmp_path: Path, how: str
) -> None:
    repository = make_repository(**{f"f{number}": "1\n" for number in range(9)})

    def change(work: GitRepository) -> None:
        command = ["clone", "--quiet", "."] if how == "clone" else ["worktree", "add", "--quiet", "-b", "x"]
        work.git(*command, "copy")
        work.write("copy/f1", "2\n")
        work.write("f1", "3\n")

    diff = await whole_diff_of(repository, change)
    assert changed(diff.patch) == ["f1"]
    assert names(diff) == {"copy/": CLONE}


async def test_big_repository_is_not_in_the_diff_and_said(repository: GitRepository) -> None:
    was_there = inner_in(repository, "was there", {"a": "1\n"})
    was_there.write("big", os.urandom(34 * 1024 * 1024))

    def change(work: GitRepository) -> None:
        big = inner_in(work, "big", {"a": "1\n"})
        os.truncate(big.write("data", ""), 34 * 1024 * 1024)
        inner_in(work, "small", {"a": "1\n"})

    diff = await whole_diff_of(repository, change)
    assert changed(diff.patch) == ["small/a"]
    assert names(diff) == {"big/": LARGE}
    assert names(await whole_diff_of(repository, lambda _: was_there.write("a", "2\n"))) == {"was there/": LARGE}


# -- submodules


@pytest.fixture
def with_submodule(make_repository: Make) -> GitRepository:
    inner, outer = make_repository("inner", a="1\n"), make_repository("outer", b="1\n")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "some module")
    outer.commit()
    return outer


async def test_submodule_that_nobody_touched_is_not_spoken_of(with_submodule: GitRepository) -> None:
    with_submodule.write("some module/a", "changed before\n")
    diff = await whole_diff_of(with_submodule, lambda work: work.write("b", "2\n"))
    assert changed(diff.patch) == ["b"]
    assert diff.left_out == ()


@pytest.mark.parametrize("how", ["changed", "new", "deleted", "committed"])
async def test_what_changed_in_a_submodule_is_said(with_submodule: GitRepository, how: str) -> None:
    module = GitRepository(with_submodule.path / "some module", with_submodule.environment)

    def change(work: GitRepository) -> None:
        work.write("b", "2\n")
        if how == "deleted":
            (module.path / "a").unlink()
        else:
            module.write("new" if how == "new" else "a", "2\n")
        if how == "committed":
            module.commit()

    diff = await whole_diff_of(with_submodule, change)
    assert names(diff) == {"some module/": SUBMODULE}
    assert b"b/b" in diff.patch
    assert (b"Subproject commit" in diff.patch) == (how == "committed")


async def test_submodule_s_own_data_stay_untouched(with_submodule: GitRepository) -> None:
    before = with_submodule.git_data()
    os.utime(with_submodule.path / "some module" / "a")
    assert (await whole_diff_of(with_submodule, lambda work: work.write("b", "2\n"))).left_out == ()
    assert with_submodule.git_data() == before


async def test_submodule_that_the_agent_adds_is_said(make_repository: Make) -> None:
    other, repository = make_repository("other", a="1\n"), make_repository("mine", b="1\n")

    def change(work: GitRepository) -> None:
        work.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.path), "added")

    diff = await whole_diff_of(repository, change)
    assert changed(diff.patch) == [".gitmodules", "added"]
    assert names(diff) == {"added/": SUBMODULE}


async def test_submodule_that_was_not_fetched_and_is_written_into_is_said(
    with_submodule: GitRepository, tmp_path: Path
) -> None:
    clone = GitRepository(tmp_path / "clone", with_submodule.environment)
    with_submodule.git("clone", "--quiet", ".", str(clone.path))
    async with workspace_in(clone.path) as workspace:
        base = await workspace.snapshot()
        assert not names(await workspace.diff(base))
        clone.write("some module/new", "x\n")
        assert names(await workspace.diff(base)) == {"some module/": SUBMODULE}
