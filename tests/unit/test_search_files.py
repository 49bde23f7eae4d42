"""Which files `grep` and `glob` look at: ripgrep's, with ripgrep, with Debian's grep and with BusyBox."""

import os
import shutil
import subprocess
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import get_args

import pytest
from real_things import GitRepository
from search_desk import COUNTED_IN_BYTES, NO_LINES, Programs, SearchDesk, programs_folder, search_desk

GIT = shutil.which("git") or "git"


@pytest.fixture(params=get_args(Programs))
def programs(request: pytest.FixtureRequest) -> Programs:
    return request.param


@pytest.fixture
async def desk(programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[SearchDesk]:
    path = programs_folder(programs, tmp_path / "programs")
    async with search_desk(tmp_path / "work", path, monkeypatch) as opened:
        yield opened


def git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    subprocess.run([GIT, *identity, *arguments], cwd=directory, check=True, capture_output=True)


class TestWhichFiles:
    async def test_hidden_binary_linked_and_odd_ones_are_left_out(self, desk: SearchDesk) -> None:
        for name in ("shown", ".hidden", ".folder/file", "folder/.hidden", "line\nbreak"):
            desk.write(name, "x\n")
        desk.write("binary", b"x\n\0x\n")
        desk.write("binary later", b"x\n" * 50_000 + b"\0\nx\n")
        desk.write("binary at its end", b"x\n\0")
        desk.write("latin", b"\xe9 x\n")
        desk.write("empty", "")
        for name, target in (("link", "shown"), ("broken", "nowhere"), ("parent", "..")):
            (desk.directory / name).symlink_to(target)
        os.mkfifo(desk.directory / "pipe")
        assert await desk.grep("x", output="files") == "2 files with 2 matching lines\nlatin\nshown"
        assert await desk.grep("^", output="files") == "2 files with 2 matching lines\nlatin\nshown"
        assert (await desk.glob("*")).split("\n")[1:] == [
            "binary", "binary at its end", "binary later", "empty", "latin", "shown"
        ]  # fmt: skip

    async def test_gitignore_is_obeyed_in_a_repository_at_every_level(self, desk: SearchDesk) -> None:
        for name in (
            "kept.py", "a.log", "build/x.py", "sub/a.tmp", "sub/keep.tmp", "sub/deep/b.tmp", "sub/build", "info.txt",
            "tracked.log", "other/sub/a.tmp",
        ):  # fmt: skip
            desk.write(name, "x\n")
        desk.write(".gitignore", "*.log\nbuild/\n")
        desk.write("sub/.gitignore", "*.tmp\n!keep.tmp\n")
        git(desk.directory, "init", "--quiet")
        (desk.directory / ".git/info/exclude").write_text("info.txt\n")
        git(desk.directory, "add", "--force", "kept.py", "tracked.log")
        expected = "4 files with 4 matching lines\nkept.py\nother/sub/a.tmp\nsub/build\nsub/keep.tmp"
        assert await desk.grep("x", output="files") == expected
        assert await desk.glob("**") == "4 files\n" + expected.partition("\n")[2]
        assert await desk.grep("x", path="sub", output="files") == (
            "2 files with 2 matching lines\nsub/build\nsub/keep.tmp"
        )

    async def test_outside_of_a_repository_gitignore_is_a_file_like_any_other(self, desk: SearchDesk) -> None:
        desk.write(".gitignore", "*.log\n")
        desk.write("a.log", "x\n")
        desk.write(".ignore", "*.log\n")
        assert await desk.grep("x", output="files") == "1 file with 1 matching line\na.log"

    async def test_what_is_ignored_is_searched_where_it_is_named(self, desk: SearchDesk) -> None:
        desk.write(".gitignore", "build/\n")
        desk.write("build/x.py", "x\n")
        desk.write(".github/ci.yml", "x\n")
        git(desk.directory, "init", "--quiet")
        assert await desk.grep("x") == NO_LINES
        assert await desk.grep("x", path="build", output="files") == "1 file with 1 matching line\nbuild/x.py"
        assert await desk.grep("x", path="build/x.py") == "1 matching line in 1 file\nbuild/x.py\n1:x"
        assert await desk.grep("x", path=".github", output="files") == "1 file with 1 matching line\n.github/ci.yml"

    async def test_repositories_in_a_repository_have_rules_of_their_own(self, desk: SearchDesk) -> None:
        desk.write(".gitignore", "*.log\n")
        git(desk.directory, "init", "--quiet")
        for name in ("inner", "odd &|\\ name"):
            desk.write(f"{name}/a.log", "x\n")
            desk.write(f"{name}/a.tmp", "x\n")
            desk.write(f"{name}/.gitignore", "*.tmp\n")
            git(desk.directory / name, "init", "--quiet")
        git(desk.directory / "inner", "commit", "--quiet", "--allow-empty", "--message", "state")
        git(desk.directory, "add", "inner")
        assert await desk.grep("x", output="files") == (
            "2 files with 2 matching lines\ninner/a.log\nodd &|\\ name/a.log"
        )

    async def test_a_persons_own_ignore_file_changes_nothing(
        self, desk: SearchDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "ignored").write_text("*.py\n")
        desk.write("a.py", "x\n")
        git(desk.directory, "init", "--quiet")
        git(desk.directory, "config", "core.excludesFile", str(tmp_path / "ignored"))
        assert await desk.grep("x", output="files") == "1 file with 1 matching line\na.py"

    async def test_a_deleted_file_that_git_still_has_is_not_there(self, desk: SearchDesk) -> None:
        desk.write("gone.py", "x\n")
        desk.write("there.py", "x\n")
        git(desk.directory, "init", "--quiet")
        git(desk.directory, "add", "--all")
        (desk.directory / "gone.py").unlink()
        assert await desk.glob("*.py") == "1 file\nthere.py"
        assert await desk.grep("x", output="files") == "1 file with 1 matching line\nthere.py"

    GLOBS = (
        ("*.py", "a.py src/b.py src/deep/c.py"),
        ("/*.py", "a.py"),
        ("src/*.py", "src/b.py"),
        ("src/**/*.py", "src/b.py src/deep/c.py"),
        ("**/deep/**", "src/deep/c.py src/deep/d.js"),
        ("src/**", "src/b.py src/deep/c.py src/deep/d.js"),
        ("src/", "src/b.py src/deep/c.py src/deep/d.js"),
        ("**", "a.py e+f.txt src/b.py src/deep/c.py src/deep/d.js [x].md ü.md"),
        ("*.{js,md}", "src/deep/d.js [x].md ü.md"),
        ("{src,lib}/*", "src/b.py"),
        ("?.md", "ü.md"),
        ("[abc].py", "a.py src/b.py src/deep/c.py"),
        ("[!ab].py", "src/deep/c.py"),
        ("[a-b].py", "a.py src/b.py"),
        (r"\[x\].md", "[x].md"),
        ("e+f.txt", "e+f.txt"),
        ("!*.py", "e+f.txt src/deep/d.js [x].md ü.md"),
        ("!src", "a.py e+f.txt [x].md ü.md"),
        ("!src/deep/", "a.py e+f.txt src/b.py [x].md ü.md"),
        ("deep", ""),
        ("*.PY", ""),
    )

    async def test_globs(self, desk: SearchDesk, programs: Programs) -> None:
        for name in ("a.py", "src/b.py", "src/deep/c.py", "src/deep/d.js", "ü.md", "[x].md", "e+f.txt"):
            desk.write(name, "x\n")
        wrong: list[str] = []
        for glob, names in self.GLOBS:
            expected = sorted(names.split(), key=str.encode)
            listed = (await desk.glob(glob)).split("\n")[1:]
            is_known = programs == "busybox" and glob in COUNTED_IN_BYTES
            wrong += [] if listed == expected or is_known else [f"{glob}: {listed}"]
        assert wrong == []

    @pytest.mark.parametrize(
        ("glob", "found"), [("src/**", "src/b.js src/b.py"), ("*.py", "a.py src/b.py"), ("!src", "a.py")]
    )
    async def test_a_search_takes_the_same_globs(self, desk: SearchDesk, glob: str, found: str) -> None:
        for name in ("a.py", "src/b.py", "src/b.js"):
            desk.write(name, "x\n")
        assert (await desk.grep("x", glob=glob, output="files")).split("\n")[1:] == found.split()

    async def test_a_glob_is_relative_to_the_path_that_is_searched(self, desk: SearchDesk) -> None:
        desk.write("src/a.py", "x\n")
        assert await desk.glob("a.py", path="src") == "1 file\nsrc/a.py"
        assert await desk.glob("/a.py", path=str(desk.directory / "src")) == "1 file\nsrc/a.py"
        assert (await desk.glob("src/a.py", path="src")).startswith("No files match.")

    async def test_outside_of_the_working_directory_paths_are_absolute(self, desk: SearchDesk, tmp_path: Path) -> None:
        (tmp_path / "else where").mkdir()
        (tmp_path / "else where/f").write_text("x\n")
        place = tmp_path / "else where"
        assert await desk.grep("x", path=str(place)) == f"1 matching line in 1 file\n{place}/f\n1:x"
        assert (
            await desk.grep("x", path="../else where/f")
            == f"1 matching line in 1 file\n{desk.directory}/../else where/f\n1:x"
        )


async def test_without_git_it_says_that_it_read_no_gitignore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = programs_folder("busybox", tmp_path / "programs", git=False)
    async with search_desk(tmp_path / "work", path, monkeypatch) as desk:
        desk.write(".gitignore", "*.log\n")
        desk.write("sub/a.log", "x\n")
        git(desk.directory, "init", "--quiet")
        assert await desk.grep("x", output="files") == (
            "1 file with 1 matching line (without git here, .gitignore was not read)\nsub/a.log"
        )


async def test_a_repository_of_somebody_else_is_read_all_the_same(
    make_repository: Callable[..., GitRepository], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give files away")
    repository = make_repository("work", **{".gitignore": "*.log\n", "a.log": "x\n", "b.py": "x\n"})
    for place in [repository.path, *repository.path.rglob("*")]:
        os.chown(place, 12345, 12345)
    path = programs_folder("grep", tmp_path / "programs")
    async with search_desk(repository.path, path, monkeypatch) as desk:
        assert await desk.grep("x", output="files") == "1 file with 1 matching line\nb.py"
