"""What an agent does to the repository's own data, or to the harness's folder, costs none of its work."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Change, Make, apply, changed, diff_of, files, names, whole_diff_of, workspace_in

from agent import litter, workspace_scripts
from agent.workspace import WorkspaceError

pytestmark = pytest.mark.usefixtures("git_without_settings")


def remove_git(work: GitRepository) -> None:
    shutil.rmtree(work.path / ".git")


def make_git_anew(work: GitRepository) -> None:
    remove_git(work)
    work.git("init", "--quiet")


def make_git_anew_and_commit(work: GitRepository) -> None:
    make_git_anew(work)
    work.commit()


def amend_and_collect(work: GitRepository) -> None:
    work.git("commit", "--quiet", "--all", "--amend", "-m", "x")
    work.git("reflog", "expire", "--expire=now", "--all")
    work.git("gc", "--quiet", "--prune=now")


def break_head(work: GitRepository) -> None:
    (work.path / ".git" / "HEAD").write_text("nonsense\n")


def break_settings(work: GitRepository) -> None:
    (work.path / ".git" / "config").write_text("[core\n")


def empty_objects(work: GitRepository) -> None:
    shutil.rmtree(work.path / ".git" / "objects")


def put_a_file_there(work: GitRepository) -> None:
    remove_git(work)
    work.write(".git", "gitdir: /no/where\n")


DAMAGES = [
    remove_git,
    make_git_anew,
    make_git_anew_and_commit,
    amend_and_collect,
    break_head,
    break_settings,
    empty_objects,
    put_a_file_there,
]


@pytest.fixture
def worked_on(make_repository: Make) -> GitRepository:
    repository = make_repository(**{".gitignore": "*.log\n", "greeting": "hello\n", "gone": "x\n", "sub/same": "1\n"})
    repository.write(".git/info/exclude", "*.private\n")
    repository.write("untracked", "here\n")
    repository.write("was.log", "x\n")
    return repository


def work_on(repository: GitRepository) -> None:
    repository.write("greeting", "hallo\n")
    repository.write("untracked", "still here\n")
    repository.write("new/file", "x\n")
    (repository.path / "gone").unlink()


WORK = ["gone", "greeting", "new/file", "untracked"]


@pytest.fixture(params=["on one file system", "across two"])
def file_systems(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "across two":
        memory = Path("/dev/shm")
        if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one file system only")
        monkeypatch.setenv("TMPDIR", str(memory))
        monkeypatch.setattr("tempfile.tempdir", None)
    yield request.param
    monkeypatch.undo()


@pytest.mark.parametrize("damage", DAMAGES)
async def test_work_is_harvested_whatever_became_of_git_s_folder(
    worked_on: GitRepository, tmp_path: Path, file_systems: str, damage: Change
) -> None:
    twin = tmp_path / "twin"
    shutil.copytree(worked_on.path, twin)
    diff = await whole_diff_of(worked_on, lambda work: (work_on(work), damage(work)))
    assert changed(diff.patch) == WORK
    await apply(diff.patch, twin)
    left = files(worked_on.path)
    left.pop(".git", None)
    assert files(twin) == left


async def test_git_folder_that_is_gone_is_not_taken_for_the_one_above(make_repository: Make) -> None:
    outer = make_repository(**{"inner/greeting": "outer\n", "beside": "1\n"})
    inner = GitRepository(outer.path / "inner", outer.environment)
    inner.git("init", "--quiet")
    inner.commit(greeting="hello\n")

    def change(work: GitRepository) -> None:
        work.write("greeting", "hallo\n")
        outer.write("beside", "2\n")
        remove_git(work)

    patch = await diff_of(inner, change)
    assert changed(patch) == ["greeting"]
    assert b"-hello\n+hallo\n" in patch


async def test_what_git_ignored_stays_ignored_without_its_folder(worked_on: GitRepository) -> None:
    def change(work: GitRepository) -> None:
        work.write("my.private", "x\n")
        work.write("new.log", "x\n")
        work.write("pkg/__pycache__/a.pyc", "x\n")
        work.write("greeting", "hallo\n")
        remove_git(work)

    diff = await whole_diff_of(worked_on, change)
    assert changed(diff.patch) == ["greeting"]
    assert names(diff).keys() == {"my.private", "new.log", "pkg/__pycache__/"}


async def test_copy_of_the_objects_takes_no_room_beside_the_repository(repository: GitRepository) -> None:
    objects = [path for path in (repository.path / ".git" / "objects").rglob("*") if path.is_file()]
    async with workspace_in(repository.path) as workspace:
        if Path(workspace.sandbox.scratch_directory).stat().st_dev != repository.path.stat().st_dev:
            pytest.skip("temporary files are on another file system")
        await workspace.snapshot()
        assert {path.stat().st_nlink for path in objects} == {2}
    assert {path.stat().st_nlink for path in objects} == {1}
    assert {path.stat().st_mode & 0o777 for path in objects} == {0o444}


# -- the folder of the harness


async def without_our_folder(repository: GitRepository, *changes: Change) -> tuple[list[str], dict[str, str]]:
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        for change in changes:
            change(repository)
        shutil.rmtree(workspace.sandbox.scratch_directory)
        diff = await workspace.diff(base)
    return changed(diff.patch), names(diff)


async def test_untracked_files_are_told_from_new_ones_without_our_folder(worked_on: GitRepository) -> None:
    assert await without_our_folder(worked_on, work_on) == (WORK, {})


async def test_what_was_ignored_is_known_without_our_folder(worked_on: GitRepository) -> None:
    def change(work: GitRepository) -> None:
        work.write(".gitignore", "")
        work.write("mine.log", "x\n")

    expected = ([".gitignore", "mine.log"], {"was.log": litter.IGNORED_BEFORE})
    assert await without_our_folder(worked_on, change) == expected


async def test_both_gone_is_a_sentence(worked_on: GitRepository) -> None:
    with pytest.raises(WorkspaceError, match=r"objects of that time were removed, and the copy of them in .* gone as"):
        await without_our_folder(worked_on, work_on, remove_git)


async def test_objects_that_could_not_be_copied_are_a_sentence(
    worked_on: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = workspace_scripts.FIRST
    monkeypatch.setattr(
        workspace_scripts, "FIRST", script.replace("cp -al", "false").replace("timeout 20", "timeout 20 false")
    )
    assert changed(await diff_of(worked_on, work_on)) == WORK
    with pytest.raises(WorkspaceError, match=r"no copy of them could be had at the beginning \(.*1 GiB"):
        await diff_of(worked_on, lambda work: (work.write("sub/same", "2\n"), make_git_anew(work)))


async def test_error_that_has_another_cause_stays_as_it_is(worked_on: GitRepository) -> None:
    async with workspace_in(worked_on.path) as workspace:
        base = await workspace.snapshot()
        (Path(workspace.sandbox.scratch_directory) / "git" / "index").write_text("nonsense")
        with pytest.raises(WorkspaceError, match="git failed"):
            await workspace.diff(base)


async def test_diff_against_what_is_no_snapshot_is_refused(repository: GitRepository) -> None:
    async with workspace_in(repository.path) as workspace:
        with pytest.raises(WorkspaceError, match="not the last snapshot"):
            await workspace.diff(repository.git("rev-parse", "HEAD^{tree}").strip())


# -- how much is kept


async def test_more_ignored_names_than_are_kept_stand_for_their_folders(
    make_repository: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = workspace_scripts.IGNORED_LIMIT
    script = workspace_scripts.FIRST
    assert f"head -c {limit + 1}" in script
    monkeypatch.setattr(workspace_scripts, "FIRST", script.replace(f"head -c {limit + 1}", "head -c 11"))
    monkeypatch.setattr("agent.workspace_state.IGNORED_LIMIT", 10)
    repository = make_repository(**{".gitignore": "*.log\nout/\n", "a.py": "1\n"})
    for name in ("one.log", "two.log", "out/deep/three"):
        repository.write(name, "x\n")
    diff = await whole_diff_of(repository, lambda work: (work.write(".gitignore", ""), work.write("mine.log", "x\n")))
    assert changed(diff.patch) == [".gitignore", "mine.log"]
    assert names(diff) == dict.fromkeys(["one.log", "two.log", "out/deep/three"], litter.IGNORED_BEFORE)
