"""Marks by which git does not look at a file hide no work; a sparse checkout's gaps are no deletions."""

import shutil
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, apply, changed, diff_of, files, workspace_in

pytestmark = pytest.mark.usefixtures("git_without_settings")


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("name", ["greeting", "two\nlines", "größe 'x'"])
async def test_marked_file_that_changes_is_work(make_repository: Make, tmp_path: Path, mark: str, name: str) -> None:
    repository = make_repository(**{name: "hello\n", "other": "1\n", "gone": "1\n"})
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin)
    repository.git("update-index", mark, name, "gone")
    before = repository.git_data()
    patch = await diff_of(repository, lambda work: (work.write(name, "hallo\n"), (work.path / "gone").unlink()))
    await apply(patch, twin)
    assert files(twin) == files(repository.path)
    assert repository.git_data() == before


@pytest.mark.parametrize("mark", ["--assume-unchanged", "--skip-worktree"])
async def test_change_that_a_mark_hid_before_is_not_the_agent_s(repository: GitRepository, mark: str) -> None:
    repository.git("update-index", mark, "greeting")
    repository.write("greeting", "local\n")
    assert changed(await diff_of(repository, lambda work: work.write("new", "x\n"))) == ["new"]


async def test_file_that_the_agent_marks_itself_is_work(repository: GitRepository) -> None:
    def change(work: GitRepository) -> None:
        work.write("greeting", "hallo\n")
        work.git("update-index", "--skip-worktree", "greeting")

    assert changed(await diff_of(repository, change)) == ["greeting"]


@pytest.mark.parametrize("mode", ["--cone", "--no-cone", "--sparse-index"])
async def test_sparse_checkout_s_gaps_stay_and_what_is_written_into_them_is_work(
    make_repository: Make, mode: str
) -> None:
    repository = make_repository(**{"here/a": "1\n", "there/b": "1\n", "there/c": "1\n", "far/x.log": "1\n"})
    repository.commit(**{".gitignore": "*.log\n"})
    repository.git("sparse-checkout", "set", mode, "here")
    assert not (repository.path / "there").exists()

    def change(work: GitRepository) -> None:
        work.write("here/a", "2\n")
        work.write("there/b", "2\n")
        work.write("there/new", "2\n")

    patch = await diff_of(repository, change)
    assert changed(patch) == ["here/a", "there/b", "there/new"]
    assert b"deleted file" not in patch


async def test_executable_bit_counts_where_git_was_told_not_to_look(make_repository: Make, tmp_path: Path) -> None:
    repository = make_repository(greeting="hello\n", other="1\n")
    repository.git("config", "core.fileMode", "false")
    (repository.path / "other").chmod(0o755)  # nobody's work: it was so before
    twin = tmp_path / "twin"
    shutil.copytree(repository.path, twin)

    def change(work: GitRepository) -> None:
        (work.path / "greeting").chmod(0o755)
        work.write("run", "#!/bin/sh\n").chmod(0o755)
        work.write("other", "2\n")

    patch = await diff_of(repository, change)
    await apply(patch, twin)
    assert files(twin) == files(repository.path)
    assert patch.count(b"new mode") == 1


async def test_modes_that_mean_nothing_are_left_alone(make_repository: Make) -> None:
    """On some mounts every file is executable."""
    repository = make_repository(greeting="hello\n", other="1\n")
    repository.git("config", "core.fileMode", "false")
    for name in ("greeting", "other"):
        (repository.path / name).chmod(0o777)
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        assert base == repository.git("rev-parse", "HEAD^{tree}").strip()
        repository.write("new", "x\n").chmod(0o777)
        assert b"new file mode 100644" in (await workspace.diff(base)).patch
