"""The diff holds the agent's work, all of it and nothing else, and the repository does not notice that it was made."""

import os
import shutil
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Change, Make, apply, diff_of, files, workspace_in

pytestmark = pytest.mark.usefixtures("git_without_settings")

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
