"""What dead runs left on this machine: folders and processes. Engines have `tests/docker/test_reaper_docker.py`."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from real_things import VENV, Console, wait_for_end

from runners.marked_processes import MARK
from runners.owner import Owner, make_temporary_folder, this_process
from runners.reaper import Kind, Reaping, reap, reap_beside

pytestmark = pytest.mark.alone  # whoever reaps at the same time ends what is marked as a dead one's here

NOBODY = 65534


@pytest.fixture
def dead() -> Owner:
    """A process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return replace(this_process(), process_id=process.pid)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this system's temporary folders are."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def start() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Start bash with the mark of an owner, and nothing to tell it from any other process."""
    begun: list[subprocess.Popen[bytes]] = []

    def start(owner: Owner, command: str) -> "subprocess.Popen[bytes]":
        environment = {"PATH": os.environ["PATH"], MARK: f"{owner}/3f9a"}
        begun.append(subprocess.Popen(["bash", "-c", command], env=environment, start_new_session=True))
        return begun[-1]

    yield start
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def folder_of(owner: Owner, place: Path) -> Path:
    """A folder as that owner makes them, with something in it."""
    made = make_temporary_folder(place)
    mine = this_process()
    parts = f"-{owner.process_id:x}-{owner.begun:x}-"
    folder = made.rename(place / made.name.replace(f"-{mine.process_id:x}-{mine.begun:x}-", parts))
    (folder / "below").mkdir()
    (folder / "below" / "file").write_text("x")
    return folder


def names(kind: Kind, reaping: Reaping) -> set[str]:
    return {remnant.name for remnant in reaping.removed if remnant.kind == kind}


def test_folder_of_the_dead_goes_and_of_the_living_stays(place: Path, dead: Owner) -> None:
    left, used = folder_of(dead, place), folder_of(this_process(), place)
    (place / "unbroken-notes").mkdir()
    reaping = reap(None)
    assert names("folder", reaping) >= {str(left)}
    assert set(place.iterdir()) == {used, place / "unbroken-notes"}
    assert "1 folder" in reaping.counts or "folders" in reaping.counts


def test_dry_run_removes_nothing(place: Path, dead: Owner, start: Callable[..., "subprocess.Popen[bytes]"]) -> None:
    left, process = folder_of(dead, place), start(dead, "sleep 600; true")
    reaping = reap(None, dry_run=True)
    assert str(left) in names("folder", reaping)
    assert f"{process.pid} (bash)" in names("process", reaping)
    assert left.exists()
    assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED


def test_link_that_looks_like_a_folder_is_not_followed(place: Path, dead: Owner, tmp_path: Path) -> None:
    folder = folder_of(dead, tmp_path)
    (place / folder.name).symlink_to(folder)
    reap(None)
    assert (folder / "below" / "file").exists()


def test_folder_of_another_machine_is_told(place: Path) -> None:
    made = make_temporary_folder(place)
    parts = made.name.split("-")
    other = made.rename(place / "-".join([parts[0], "000000", *parts[2:]]))
    reaping = reap(None, all_hosts=True)
    assert other.exists()
    assert str(other) in {remnant.name for remnant in reaping.left}


def test_folder_whose_rights_an_agent_took_away_goes(place: Path, dead: Owner) -> None:
    folder = folder_of(dead, place)
    own(place)
    (folder / "below").chmod(0)
    folder.chmod(0o500)
    assert as_nobody(lambda: str(folder) in names("folder", reap(None)))
    assert not folder.exists()


def test_tree_that_is_deeper_than_any_stack_goes(place: Path, dead: Owner) -> None:
    folder = folder_of(dead, place)
    program = "import os\nfor _ in range(3000): os.mkdir('d'), os.chdir('d')"
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    try:
        reap(None)
        assert not folder.exists()
    finally:  # pytest has but a stack
        subprocess.run(["rm", "-rf", folder], check=True)


def test_folder_that_cannot_be_removed_is_told(place: Path, dead: Owner) -> None:
    folder = folder_of(dead, place)
    own(place)
    place.chmod(0o555)

    def told() -> bool:
        failed = [(remnant, reason) for remnant, reason in reap(None).failed if remnant.name == str(folder)]
        return [remnant.by_hand for remnant, _ in failed] == [f"rm -r {folder}"] and "ermission" in failed[0][1]

    assert as_nobody(told)
    assert folder.exists()


def test_folders_of_others_are_theirs_to_remove(place: Path, dead: Owner) -> None:
    folder = folder_of(dead, place)
    place.chmod(0o777)
    assert as_nobody(lambda: all(remnant.name != str(folder) for remnant, _ in reap(None).failed))
    assert folder.exists()


def test_processes_of_the_dead_end_and_of_the_living_go_on(
    place: Path, dead: Owner, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    left, used = start(dead, "trap '' TERM; sleep 600; true"), start(this_process(), "sleep 600; true")
    assert f"{left.pid} (bash)" in names("process", reap(None))
    assert left.wait(10) == -signal.SIGKILL
    assert used.poll() is None


def test_what_descends_from_a_marked_process_ends_without_a_mark(
    place: Path, dead: Owner, start: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    noted = tmp_path / "id"
    start(dead, f"env -i setsid /bin/sh -c 'echo $$ >{noted}.new; mv {noted}.new {noted}; exec sleep 600' & wait")
    wait_until(noted.exists)
    reap(None)
    wait_for_end(int(noted.read_text()))


def test_processes_that_start_one_another_end(
    place: Path, dead: Owner, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    start(dead, "follow() { sleep 0.1; follow & wait; }; follow")
    time.sleep(0.5)
    reap(None)
    assert not [process for process in psutil.process_iter() if marked(process, dead)]


def test_who_reaps_from_inside_what_is_dead_spares_itself(place: Path, dead: Owner) -> None:
    """A person may have got here through a shell that a dead run started."""
    program = "from runners.reaper import reap; print(reap(None).failed)"
    environment = {**os.environ, MARK: f"{dead}/3f9a"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_reaping_beside_the_start_comes_to_the_same(place: Path, dead: Owner) -> None:
    folder = folder_of(dead, place)
    assert str(folder) in names("folder", reap_beside(None).result(30))
    assert not folder.exists()


def test_command_cleans_what_it_can_without_an_engine(place: Path, dead: Owner, console: Console) -> None:
    folder = folder_of(dead, place)
    evals = str(VENV / "bin" / "evals")
    settings = {"TMPDIR": str(place), "DOCKER_HOST": "unix:///nowhere/docker.sock"}
    dry = console.run([evals, "clean", "--dry-run"], **settings)
    assert (dry.code, folder.exists()) == (1, True)  # there may be containers
    assert f"would remove folder {folder}" in dry.out
    done = console.run([evals, "clean"], **settings)
    assert (done.code, folder.exists()) == (1, False)
    assert f"removed folder {folder} of process {dead.process_id}" in done.out
    assert "there is no engine's socket at /nowhere/docker.sock" in done.err


def marked(process: psutil.Process, owner: Owner) -> bool:
    try:
        return process.environ().get(MARK, "").startswith(str(owner))
    except psutil.Error:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def own(folder: Path) -> None:
    """Give it to nobody, with all that is in it."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    # What pytest makes is for its own user alone.
    for parent in folder.parents[:4]:
        parent.chmod(parent.stat().st_mode | 0o711)


def as_nobody(check: Callable[[], bool]) -> bool:
    """Ask in a process without the rights of root."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    reap(None, dry_run=True)  # everything is imported that nobody may not be allowed to read
    if (child := os.fork()) == 0:
        code = 2
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            code = 0 if check() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
