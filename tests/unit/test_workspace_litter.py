"""The diff leaves out what tools have left behind, says so, deletes nothing, and never touches what is tracked."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from real_things import GitRepository
from workspace_desk import Make, apply, changed, diff_of, files, names, whole_diff_of, workspace_in

from agent import litter
from agent.session import SHOWN_LEFT_OUT, patch_event, with_left_out
from agent.workspace import Diff, PatchTooLargeError
from results.records.events import EVENT
from results.records.outcome import Outcome

pytestmark = pytest.mark.usefixtures("git_without_settings")


# -- what tools make


def setuptools(work: GitRepository, *commands: str) -> None:
    code = "import setuptools; setuptools.setup()"
    subprocess.run([sys.executable, "-c", code, *commands], cwd=work.path, check=True, capture_output=True)


async def test_what_setuptools_makes_in_earnest_is_left_out(make_repository: Make) -> None:
    pytest.importorskip("setuptools", reason="newer Pythons come without it")
    project = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "thing"\nversion = "1"\n'
    repository = make_repository(**{"pyproject.toml": project, "src/thing/__init__.py": "one = 1\n"})

    def install(work: GitRepository) -> None:
        work.write("src/thing/__init__.py", "one = 2\n")
        work.write("src/thing/two.py", "two = 2\n")
        setuptools(work, "build", "egg_info", "bdist_egg")
        subprocess.run([sys.executable, "-m", "compileall", "-q", "src"], cwd=work.path, check=True)

    diff = await whole_diff_of(repository, install)
    assert changed(diff.patch) == ["src/thing/__init__.py", "src/thing/two.py"]
    assert {"build/lib/", "src/thing.egg-info/", "src/thing/__pycache__/"} <= names(diff).keys()
    assert (repository.path / "build" / "lib" / "thing" / "two.py").exists()
    assert (repository.path / "src" / "thing.egg-info" / "PKG-INFO").exists()


async def test_build_litter_that_was_there_and_is_made_anew_is_not_the_agent_s_either(make_repository: Make) -> None:
    repository = make_repository(**{"setup.py": "", "thing.py": "one = 1\n"})
    repository.write("build/lib/thing.py", "one = 1\n")
    diff = await whole_diff_of(
        repository, lambda work: (work.write("thing.py", "one = 2\n"), work.write("build/lib/thing.py", "one = 2\n"))
    )
    assert changed(diff.patch) == ["thing.py"]


async def test_new_source_in_a_build_folder_is_work(make_repository: Make) -> None:
    repository = make_repository(**{"setup.py": "", "a.py": "1\n", "build/old.py": "1\n"})
    diff = await whole_diff_of(
        repository, lambda work: (work.write("build/rules.py", "2\n"), work.write("build/lib/a.py", "2\n"))
    )
    assert changed(diff.patch) == ["build/lib/a.py", "build/rules.py"]
    assert diff.left_out == ()


async def test_virtual_environment_is_left_out(repository: GitRepository) -> None:
    def make(work: GitRepository) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(work.path / "my env")], check=True)
        (work.path / "my env" / ".gitignore").unlink(missing_ok=True)  # Python writes one from 3.13 on
        work.write("greeting", "hallo\n")

    diff = await whole_diff_of(repository, make)
    assert changed(diff.patch) == ["greeting"]
    assert names(diff) == {"my env/": litter.ENVIRONMENT}


async def test_litter_that_the_agent_committed_without_force_is_litter_still(repository: GitRepository) -> None:
    diff = await whole_diff_of(
        repository,
        lambda work: work.commit(**{"pkg/__pycache__/a.pyc": "x", "pkg/a.py": "x\n", "node_modules/a/i.js": "x"}),
    )
    assert changed(diff.patch) == ["pkg/a.py"]


# -- what git ignores


async def test_everything_that_git_ignores_is_left_out_and_named(repository: GitRepository, home: Path) -> None:
    repository.write(".gitignore", "*.log\n/out/\n")
    repository.write("pkg/.gitignore", "made_*\n!made_by_hand\n")
    repository.write(".git/info/exclude", "*.private\n")
    repository.write("was-there.log", "x")
    ignore = home / "config" / "git" / "ignore"
    ignore.parent.mkdir(parents=True)
    ignore.write_text("*.swp\n")
    made = ["a.log", "deep/b.log", "out/x", "out/y", "pkg/made_one", "pkg/made_by_hand", "my.private", "a.swp", "mine"]
    diff = await whole_diff_of(repository, lambda work: [work.write(name, "x\n") for name in made])
    assert changed(diff.patch) == ["mine", "pkg/made_by_hand"]
    ignored = ["a.log", "a.swp", "deep/b.log", "my.private", "out/", "pkg/made_one"]
    assert names(diff) == dict.fromkeys(ignored, litter.IGNORED)


async def test_tracked_file_that_git_would_ignore_is_work_changed_or_deleted(make_repository: Make) -> None:
    repository = make_repository(greeting="hello\n")
    repository.write(".gitignore", "*.pyc\nvendor/\n")
    for name in ("vendor/forced", "kept.pyc", "node_modules/a/index.js", "x.egg-info/PKG-INFO"):
        repository.write(name, "1\n")
        repository.git("add", "--force", name)
    repository.commit()
    diff = await whole_diff_of(
        repository,
        lambda work: (
            work.write("vendor/forced", "2\n"),
            (work.path / "kept.pyc").unlink(),
            work.write("node_modules/a/index.js", "2\n"),
            work.write("x.egg-info/PKG-INFO", "2\n"),
        ),
    )
    assert changed(diff.patch) == ["kept.pyc", "node_modules/a/index.js", "vendor/forced", "x.egg-info/PKG-INFO"]


async def test_new_file_beside_tracked_ones_is_work_whatever_the_folder_is_called(make_repository: Make) -> None:
    repository = make_repository(**{"fixtures/node_modules/a/index.js": "1\n", "odd [x]*/.tox/tracked": "1\n"})
    new = ["fixtures/node_modules/b/index.js", "odd [x]*/.tox/new", "node_modules/c/index.js", "odd xy/.tox/new"]
    diff = await whole_diff_of(repository, lambda work: [work.write(name, "2\n") for name in new])
    assert changed(diff.patch) == new[:2]
    assert names(diff).keys() == {"node_modules/", "odd xy/.tox/"}


async def test_litter_is_told_beside_the_event_loop(make_repository: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, threading.Thread] = {}

    def noted(name: str) -> None:
        function = getattr(litter, name)

        def call(*arguments: object) -> object:
            threads[name] = threading.current_thread()
            return function(*arguments)

        monkeypatch.setattr(litter, name, call)

    for name in ("exclude_file", "made_by_tools", "left_out_by_git"):
        noted(name)
    repository = make_repository(**{"setup.py": "", "node_modules/a.js": "1\n"})
    await diff_of(repository, lambda work: (work.write("build/lib/a.py", "1\n"), work.write("a.pyc", "1\n")))
    assert threads.keys() == {"exclude_file", "made_by_tools", "left_out_by_git"}
    assert threading.main_thread() not in threads.values()


# -- odd files


async def test_odd_names_and_links_stay_or_go_like_any_others(repository: GitRepository, tmp_path: Path) -> None:
    repository.write("setup.py", "")
    repository.write("src/größe 1/two\nlines.py", "x\n")
    repository.commit()
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", ".", str(clone))
    kept = ["a b/c d.py", "two\nlines", "數據 😀.py", os.fsdecode(b"caf\xe9"), "#!x", 'quo"ted', "tail "]
    gone = ["two\nlines.pyc", "größe/__pycache__/x", "a b/c d.pyc", "build/lib/größe 1/two\nlines.py"]

    def change(work: GitRepository) -> None:
        for name in [*kept, *gone]:
            work.write(name, "x\n")
        (work.path / "__pycache__").symlink_to("a b")
        (work.path / "link.pyc").symlink_to("nowhere")

    diff = await whole_diff_of(repository, change)
    await apply(diff.patch, clone)
    assert files(clone).keys() - {"greeting", "setup.py", "src/größe 1/two\nlines.py"} == {*kept, "__pycache__"}
    assert names(diff).keys() == {"two\nlines.pyc", "größe/__pycache__/", "a b/c d.pyc", "build/lib/", "link.pyc"}


async def test_own_folder_inside_of_the_repository_is_not_in_the_diff(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = repository.path / "tmp [1]"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    async with workspace_in(repository.path) as workspace:
        assert workspace.sandbox.scratch_directory.startswith(str(temporary))
        base = await workspace.snapshot()
        await workspace.sandbox.write_bytes(f"{workspace.sandbox.scratch_directory}/output-1.txt", b"spilled")
        repository.write("tmp [1]/mine", "x\n")
        diff = await workspace.diff(base)
    assert changed(diff.patch) == ["tmp [1]/mine"]
    assert diff.left_out == ()


async def test_binary_files_stay_in(repository: GitRepository, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", ".", str(clone))
    await apply(await diff_of(repository, lambda work: work.write("picture.png", bytes(range(256)))), clone)
    assert (clone / "picture.png").read_bytes() == bytes(range(256))


async def test_scratch_folder_that_the_agent_deleted_brings_no_litter_back(repository: GitRepository) -> None:
    async with workspace_in(repository.path) as workspace:
        base = await workspace.snapshot()
        repository.write("new", "x\n")
        repository.write("node_modules/a/index.js", "x\n")
        shutil.rmtree(workspace.sandbox.scratch_directory)
        assert changed((await workspace.diff(base)).patch) == ["new"]


# -- what is said of it


async def test_patch_that_is_too_large_names_the_biggest_files(
    repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.workspace.PATCH_LIMIT", 100_000)
    repository.write("tracked", os.urandom(150_000))
    repository.commit()

    def unpack(work: GitRepository) -> None:
        work.write("data/größe 1.bin", os.urandom(200_000))
        work.write("small", "x\n")
        work.write("node_modules/huge", os.urandom(300_000))
        (work.path / "tracked").unlink()

    with pytest.raises(PatchTooLargeError, match="larger than 100,000 bytes") as refusal:
        await whole_diff_of(repository, unpack)
    assert "3 files in it: data/größe 1.bin (200,000 bytes), tracked (150,000 bytes), small (2 bytes)" in str(
        refusal.value
    )


async def test_record_of_a_patch_counts_what_is_not_in_it_and_names_the_first(repository: GitRepository) -> None:
    def litter_about(work: GitRepository) -> None:
        for number in range(SHOWN_LEFT_OUT + 20):
            work.write(f"a/{number}.pyc", "x")
        work.write("a/kept", "x\n")
        work.write(os.fsdecode(b"a/\xe9.pyc"), "x")

    diff = await whole_diff_of(repository, litter_about)
    event = patch_event(diff)
    assert (event.left_out, len(event.left_out_names)) == (SHOWN_LEFT_OUT + 21, SHOWN_LEFT_OUT)
    assert set(event.left_out_names.values()) == {"compiled modules of Python"}
    assert EVENT.validate_json(event.model_dump_json()) == event
    assert with_left_out(Outcome(exit="finished", counts={"x": 1}), diff).counts == {"x": 1, "left_out": event.left_out}
    assert with_left_out(Outcome(exit="finished"), Diff(b"")).counts == {}


def test_patch_event_of_an_older_record_is_read() -> None:
    event = EVENT.validate_json('{"type": "patch", "time": 1, "patch": "", "sha256": ""}')
    assert event.type == "patch"
    assert (event.left_out, event.left_out_names) == (0, {})
