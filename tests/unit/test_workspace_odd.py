"""Repositories that are not as one expects, and folders that are none."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, apply, diff_of, files, workspace_in

from agent.workspace import Checkout, NoRepositoryError, WorkspaceError

pytestmark = pytest.mark.usefixtures("git_without_settings")

# -- odd repositories


async def test_folder_of_a_repository_has_the_whole_repository_s_diff(make_repository: Make, tmp_path: Path):
    repository = make_repository(**{"top": "1\n", "sub/in": "1\n"})
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin)
    async with workspace_in(repository.path / "sub") as workspace:
        assert await workspace.check() == Checkout(str(repository.path), "sub/", self_contained=True)
        base = await workspace.snapshot()
        repository.write("top", "2\n")
        repository.write("sub/in", "2\n")
        patch = (await workspace.diff(base)).patch
    await apply(patch, twin / "sub")
    assert files(twin) == files(repository.path)


async def test_linked_worktree_works(repository: GitRepository, tmp_path: Path):
    linked = tmp_path / "linked"
    repository.git("worktree", "add", "--quiet", str(linked))
    before = repository.git_data()
    work = GitRepository(linked, repository.environment)
    async with workspace_in(linked) as workspace:
        assert not (await workspace.check()).self_contained
    assert b"+x" in await diff_of(work, lambda work: work.write("new", "x\n"))
    assert repository.git_data() == before


async def test_submodule_is_a_repository_and_its_commit_shows_in_the_one_above(make_repository: Make):
    inner, outer = make_repository("inner", a="1\n"), make_repository("outer", b="1\n")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.path), "module")
    outer.commit()
    module = GitRepository(outer.path / "module", outer.environment)
    async with workspace_in(module.path) as workspace:
        assert (await workspace.check()).top == str(module.path)
    assert b"+x" in await diff_of(module, lambda work: work.write("new", "x\n"))
    assert b"Subproject commit" in await diff_of(outer, lambda _: module.commit(new="y\n"))


@pytest.mark.parametrize("commits", [True, False])
async def test_repository_inside_the_repository_breaks_nothing(repository: GitRepository, commits: bool):
    def nest(work: GitRepository) -> None:
        inner = GitRepository(work.path / "inner", work.environment)
        inner.path.mkdir()
        inner.git("init", "--quiet")
        if commits:
            inner.commit(a="1\n")
        work.write("greeting", "hallo\n")

    assert b"+hallo" in await diff_of(repository, nest)


async def test_pipes_and_sockets_are_passed_over(repository: GitRepository):
    patch = await diff_of(repository, lambda work: (os.mkfifo(work.path / "pipe"), work.write("new", "x\n")))
    assert b"+++ b/new" in patch
    assert b"pipe" not in patch


async def test_sparse_checkout_does_not_look_like_deletions(make_repository: Make):
    repository = make_repository(**{"here/a": "1\n", "there/b": "1\n"})
    repository.git("sparse-checkout", "set", "here")
    patch = await diff_of(repository, lambda work: work.write("here/a", "2\n"))
    assert b"+2" in patch
    assert b"there" not in patch


async def test_path_of_the_repository_may_hold_anything(make_repository: Make):
    repository = make_repository('it\'s "odd": a $HOME; b', greeting="hello\n")
    assert b"+x" in await diff_of(repository, lambda work: work.write("new", "x\n"))


async def test_unfinished_merge_is_a_state_like_any_other(repository: GitRepository):
    repository.git("checkout", "--quiet", "-b", "other")
    repository.commit(greeting="other\n")
    repository.git("checkout", "--quiet", "main")
    repository.commit(greeting="main\n")
    with pytest.raises(Exception, match="merge"):
        repository.git("merge", "other")
    patch = await diff_of(repository, lambda work: work.write("greeting", "both\n"))
    assert b"+both" in patch
    assert b"-<<<<<<<" in patch


# -- no repository


def _bare(folder: Path, work: GitRepository) -> Path:
    work.git("clone", "--quiet", "--bare", ".", str(folder / "bare"))
    return folder / "bare"


def _without_commit(folder: Path, work: GitRepository) -> Path:
    work.git("init", "--quiet", str(folder / "unborn"))
    return folder / "unborn"


def _untracked_folder(_: Path, work: GitRepository) -> Path:
    return work.write("new/file", "x\n").parent


def _without_objects(_: Path, work: GitRepository) -> Path:
    shutil.rmtree(work.path / ".git" / "objects")
    (work.path / ".git" / "objects").mkdir()
    return work.path


NO_REPOSITORY: dict[str, tuple[Callable[[Path, GitRepository], Path], str]] = {
    "no git at all": (lambda folder, _: folder, "git init"),
    "bare": (_bare, "bare"),
    "inside .git": (lambda _, work: work.path / ".git", "inside of a git repository"),
    "no commit": (_without_commit, "without a commit"),
    "untracked folder": (_untracked_folder, "tracks nothing in it"),
    "objects gone": (_without_objects, "objects are missing"),
}


@pytest.mark.parametrize("case", NO_REPOSITORY)
async def test_what_is_no_repository_is_refused_by_name(tmp_path: Path, repository: GitRepository, case: str):
    place, words = NO_REPOSITORY[case]
    folder = place(tmp_path, repository)
    async with workspace_in(folder) as workspace:
        with pytest.raises(NoRepositoryError, match=words) as refusal:
            await workspace.check()
    assert str(folder) in str(refusal.value)


async def test_repository_of_someone_else_is_refused_with_git_s_reason(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    async with workspace_in(repository.path) as workspace:
        with pytest.raises(NoRepositoryError, match="dubious ownership"):
            await workspace.check()


async def test_scratch_folder_that_the_agent_deleted_costs_nothing(repository: GitRepository):
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        repository.write("new", "x\n")
        shutil.rmtree(workspace.sandbox.scratch_directory)
        assert b"+x" in (await workspace.diff(base)).patch


async def test_patch_that_does_not_fit_changes_nothing(repository: GitRepository):
    patch = await diff_of(repository, lambda work: (work.write("greeting", "hallo\n"), work.write("new", "x\n")))
    repository.write("greeting", "something else\n")
    (repository.path / "new").unlink()
    before = files(repository.path)
    with pytest.raises(WorkspaceError, match=r"does not apply to .*patch failed: greeting"):
        await apply(patch, repository.path)
    assert files(repository.path) == before


async def test_diff_of_a_data_set_is_refused(repository: GitRepository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent.workspace.PATCH_LIMIT", 1024 * 1024)
    noise = os.urandom(2 * 1024 * 1024)
    with pytest.raises(WorkspaceError, match="larger than"):
        await diff_of(repository, lambda work: work.write("data", noise))
