"""The diff holds the agent's work, all of it and nothing else, and the repository does not notice that it was made."""

import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from real_things import GitRepository, clean_environment

from agent.workspace import Checkout, NoRepositoryError, Workspace, WorkspaceError
from runners.local_sandbox import LocalSandbox

Make = Callable[..., GitRepository]
Change = Callable[[GitRepository], object]


@pytest.fixture(autouse=True)
def git_without_settings(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name, value in clean_environment(home).items():
        monkeypatch.setenv(name, value)


@asynccontextmanager
async def workspace_in(folder: Path) -> AsyncGenerator[Workspace]:
    sandbox = LocalSandbox(folder)
    try:
        yield Workspace(sandbox)
    finally:
        await sandbox.close()


async def diff_of(repository: GitRepository, change: Change) -> bytes:
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        change(repository)
        return await workspace.diff(base)


async def apply(patch: bytes, folder: Path) -> None:
    async with workspace_in(folder) as workspace:
        await workspace.apply(patch)


def files(folder: Path) -> dict[str, tuple[str, bool, bytes]]:
    """Every file below `folder` but git's own: its kind, whether it can be executed, its content."""
    found: dict[str, tuple[str, bool, bytes]] = {}
    for path in folder.rglob("*"):
        name = os.fsdecode(os.fsencode(path.relative_to(folder)))
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = ("link", False, os.fsencode(path.readlink()))
        elif path.is_file():
            found[name] = ("file", os.access(path, os.X_OK) and path.stat().st_mode & 0o100 != 0, path.read_bytes())
    return found


# -- the way there and back

CHANGES: dict[str, Change] = {
    "a line is changed": lambda work: work.write("greeting", "hallo\n"),
    "the last line break goes": lambda work: work.write("greeting", "hello"),
    "the file becomes empty": lambda work: work.write("greeting", ""),
    "an empty file is new": lambda work: work.write("nothing", ""),
    "a file is deleted": lambda work: (work.path / "greeting").unlink(),
    "a file is renamed": lambda work: (work.path / "greeting").rename(work.path / "welcome"),
    "a file becomes a folder": lambda work: ((work.path / "greeting").unlink(), work.write("greeting/a", "a\n")),
    "a folder becomes a file": lambda work: (shutil.rmtree(work.path / "folder"), work.write("folder", "flat\n")),
    "bytes of no text": lambda work: work.write("picture", bytes(range(256)) * 20),
    "a binary file is changed": lambda work: work.write("binary", bytes(reversed(range(256)))),
    "text of another encoding": lambda work: work.write("greeting", "gr\u00fc\u00df dich\n".encode("latin-1")),
    "windows line ends": lambda work: work.write("greeting", "hello\r\nworld\r\n"),
    "old mac line ends": lambda work: work.write("greeting", "hello\rworld\r"),
    "a file becomes executable": lambda work: (work.path / "greeting").chmod(0o755),
    "an executable stops being one": lambda work: (work.path / "program").chmod(0o644),
    "a link": lambda work: (work.path / "link").symlink_to("greeting"),
    "a link to nowhere": lambda work: (work.path / "link").symlink_to("no/where at all"),
    "a file becomes a link": lambda work: (
        (work.path / "greeting").unlink(),
        (work.path / "greeting").symlink_to("binary"),
    ),
    "spaces, quotes, a tab": lambda work: work.write("a 'b' \"c\"\td", "x\n"),
    "a line break in a name": lambda work: work.write("two\nlines", "x\n"),
    "letters of the world": lambda work: work.write("größe/数据 😀.txt", "x\n"),
    "a name that is no UTF-8": lambda work: work.write(os.fsdecode(b"caf\xe9"), "x\n"),
    "a name like an option": lambda work: work.write("--all", "x\n"),
    "a name with wildcards": lambda work: work.write("[a]*?", "x\n"),
    "trailing white space": lambda work: work.write("greeting", "hello  \t\n\n\n"),
    "a line that looks like a diff": lambda work: work.write("greeting", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n"),
    "a .gitattributes comes with it": lambda work: (
        work.write(".gitattributes", "greeting -diff\n* text=auto\n"),
        work.write("greeting", "other\n"),
    ),
    "a commit is made": lambda work: work.commit(greeting="committed\n", new="new\n"),
    "a commit is amended": lambda work: (
        work.write("greeting", "amended\n"),
        work.git("commit", "--quiet", "--all", "--amend", "-m", "x"),
    ),
    "another branch is checked out": lambda work: (
        work.git("checkout", "--quiet", "--orphan", "other"),
        work.write("greeting", "elsewhere\n"),
    ),
    "changes are staged": lambda work: (work.write("greeting", "staged\n"), work.git("add", "greeting")),
    "a new file is staged and changed again": lambda work: (
        work.write("new", "one\n"),
        work.git("add", "new"),
        work.write("new", "two\n"),
    ),
    "a file is taken out of the index alone": lambda work: work.git("rm", "--quiet", "--cached", "greeting"),
    "the index is gone": lambda work: ((work.path / ".git" / "index").unlink(), work.write("greeting", "x\n")),
    "an ignored file is added by force": lambda work: (
        work.write("made.out", "wanted\n"),
        work.git("add", "--force", "made.out"),
    ),
}


def full_repository(make: Make) -> GitRepository:
    repository = make(greeting="hello\n")
    repository.write("folder/one", "1\n")
    repository.write("binary", bytes(range(256)))
    repository.write("program", "#!/bin/sh\n").chmod(0o755)
    repository.write(".gitignore", "*.out\n")
    repository.commit()
    return repository


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_patch_turns_a_clone_into_what_the_agent_left(make_repository: Make, tmp_path: Path, change: Change):
    repository = full_repository(make_repository)
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", ".", str(clone))
    before = files(repository.path)

    patch = await diff_of(repository, change)
    if patch:
        await apply(patch, clone)

    assert files(clone) == files(repository.path)
    assert bool(patch) == (files(repository.path) != before)


async def test_nothing_done_is_an_empty_patch(repository: GitRepository):
    assert await diff_of(repository, lambda work: os.utime(work.path / "greeting")) == b""


# -- what is not the agent's


async def test_what_was_there_before_is_not_part_of_the_diff(repository: GitRepository):
    repository.write("greeting", "uncommitted\n")
    repository.write("staged", "staged\n")
    repository.git("add", "staged")
    repository.write("untracked", "untracked\n")
    patch = await diff_of(repository, lambda work: work.write("new", "new\n"))
    assert patch.count(b"diff --git") == 1
    assert b"+++ b/new" in patch


async def test_change_to_an_untracked_file_is_a_change(repository: GitRepository):
    repository.write("notes", "one\n")
    patch = await diff_of(repository, lambda work: work.write("notes", "one\ntwo\n"))
    assert b"\n one\n+two\n" in patch


async def test_untracked_file_that_the_agent_makes_git_ignore_is_not_taken_for_deleted(repository: GitRepository):
    repository.write("notes", "one\n")
    patch = await diff_of(repository, lambda work: work.write(".gitignore", "notes\n"))
    assert b"deleted file" not in patch
    assert b"+notes" in patch


@pytest.mark.parametrize("name", ["a.log", "build/x", "__pycache__/a.pyc", "x.egg-info/PKG-INFO", "mine.swp"])
async def test_ignored_files_and_litter_of_tools_are_left_out(repository: GitRepository, home: Path, name: str):
    repository.write(".gitignore", "*.log\nbuild/\n")
    ignore = home / "config" / "git" / "ignore"
    ignore.parent.mkdir(parents=True)
    ignore.write_text("*.swp\n")
    assert await diff_of(repository, lambda work: work.write(name, "x\n")) == b""


async def test_tracked_litter_is_not_left_out(make_repository: Make):
    repository = make_repository(**{"old.egg-info/PKG-INFO": "1\n"})
    patch = await diff_of(repository, lambda work: work.write("old.egg-info/PKG-INFO", "2\n"))
    assert b"+2" in patch


async def test_change_within_the_tick_of_the_clock_in_which_the_index_was_written_is_seen(repository: GitRepository):
    """Git trusts a file's time and size unless the index is as old as the file; a copied index must not be younger."""
    index, file = repository.path / ".git" / "index", repository.path / "greeting"
    stamp = file.stat().st_mtime_ns
    repository.git("update-index", "--refresh")
    file.write_text("HELLO\n")
    for path in (file, index):
        os.utime(path, ns=(stamp, stamp))
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
    assert base != repository.git("rev-parse", "HEAD^{tree}").strip()


# -- the repository does not notice


async def test_repository_itself_is_untouched(repository: GitRepository):
    repository.write("greeting", "stash me\n")
    repository.git("stash")
    repository.git("tag", "v1")
    repository.write("untracked", "x\n")
    before = repository.git_data()
    assert b"+y" in await diff_of(repository, lambda work: work.write("new", "y\n"))
    assert repository.git_data() == before


async def test_hooks_and_monitors_of_the_repository_do_not_run(repository: GitRepository, tmp_path: Path):
    trace = tmp_path / "ran"
    hook = repository.write(".git/hooks/post-index-change", f"#!/bin/sh\ntouch {trace}\n")
    hook.chmod(0o755)
    repository.git("config", "core.fsmonitor", str(hook))
    await diff_of(repository, lambda work: work.write("new", "y\n"))
    assert not trace.exists()


SETTINGS = {
    "diff.noprefix": "true",
    "diff.external": "false",
    "diff.mnemonicPrefix": "true",
    "diff.renames": "copies",
    "diff.submodule": "log",
    "diff.orderFile": "no/such/file",
    "color.ui": "always",
    "core.safecrlf": "true",
    "core.autocrlf": "true",
    "core.splitIndex": "true",
    "core.quotePath": "false",
    "apply.whitespace": "error",
    "core.untrackedCache": "true",
}


@pytest.mark.parametrize("name", SETTINGS)
async def test_diff_does_not_depend_on_how_the_user_likes_git(make_repository: Make, tmp_path: Path, name: str):
    repository = make_repository(greeting="hello\n", größe="1\n")
    repository.git("config", name, SETTINGS[name])
    before = repository.git_data()
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin)

    def change(work: GitRepository) -> None:
        work.write("greeting", "hello \nworld\n")
        work.write("größe", "2\n")

    patch = await diff_of(repository, change)
    await apply(patch, twin)

    assert patch.startswith(b"diff --git ")
    assert b"\x1b" not in patch
    assert repository.git_data() == before
    assert {name: content.replace(b"\r", b"") for name, (_, _, content) in files(twin).items()} == {
        "greeting": b"hello \nworld\n",
        "größe": b"2\n",
    }


async def test_windows_line_ends_that_git_converts_do_not_fill_the_diff(make_repository: Make):
    repository = make_repository(text="one\ntwo\nthree\n", other="1\n")
    repository.git("config", "core.autocrlf", "true")
    for name in ("text", "other"):
        (repository.path / name).unlink()
    repository.git("checkout", "--", ".")
    patch = await diff_of(repository, lambda work: work.write("text", "one\r\n2\r\nthree\r\n"))
    assert b"-two\n+2\n" in patch
    assert b"other" not in patch


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
        patch = await workspace.diff(base)
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


async def test_git_folder_that_the_agent_deleted_is_a_sentence(repository: GitRepository):
    with pytest.raises(WorkspaceError, match="not a git repository"):
        await diff_of(repository, lambda work: shutil.rmtree(work.path / ".git"))


async def test_git_folder_that_the_agent_made_anew_is_no_crash(repository: GitRepository):
    def anew(work: GitRepository) -> None:
        shutil.rmtree(work.path / ".git")
        work.git("init", "--quiet")
        work.write("greeting", "what was here before is lost\n")

    with pytest.raises(WorkspaceError, match="git failed"):
        await diff_of(repository, anew)


async def test_scratch_folder_that_the_agent_deleted_costs_nothing(repository: GitRepository):
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        repository.write("new", "x\n")
        shutil.rmtree(workspace.sandbox.scratch_directory)
        assert b"+x" in await workspace.diff(base)


async def test_patch_that_does_not_fit_changes_nothing(repository: GitRepository):
    patch = await diff_of(repository, lambda work: (work.write("greeting", "hallo\n"), work.write("new", "x\n")))
    repository.write("greeting", "something else\n")
    (repository.path / "new").unlink()
    before = files(repository.path)
    with pytest.raises(WorkspaceError, match=r"does not apply to .*patch failed: greeting"):
        await apply(patch, repository.path)
    assert files(repository.path) == before


async def test_diff_of_a_data_set_is_refused(repository: GitRepository):
    noise = os.urandom(5 * 1024 * 1024)
    with pytest.raises(WorkspaceError, match="larger than"):
        await diff_of(repository, lambda work: work.write("data", noise))
