"""Who made something, and whether that process is known to be dead."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runners.owner import Owner, make_temporary_folder, owner_of_folder, this_process

OWNERS = st.builds(
    Owner,
    host=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    boot=st.from_regex(r"[0-9a-f-]{0,36}", fullmatch=True),
    namespace=st.integers(0, 2**32),
    process_id=st.integers(0, 2**22),
    begun=st.integers(0, 2**62),
)
TELL = "from runners.owner import this_process; print(this_process(), flush=True); input()"


@given(OWNERS)
def test_what_was_written_is_read(owner: Owner) -> None:
    assert Owner.parse(str(owner)) == owner
    assert Owner.at_start_of(f"{owner}/3f9a") == owner
    assert Owner.parse(f"{owner}/3f9a") is None


@given(st.text())
def test_other_text_is_no_owner(text: str) -> None:
    owner = Owner.parse(text)
    assert owner is None or str(owner) == text


@pytest.mark.parametrize("text", ["", "unbroken", "host/boot/12/34", "a/b/1/2/x", "host//1/2/3/"])
def test_labels_of_others_are_no_owners(text: str) -> None:
    assert Owner.parse(text) is None


def test_this_process_lives_and_its_forks_are_not_it() -> None:
    assert this_process().is_here
    assert not this_process().is_dead
    readable, writable = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writable, str(this_process()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert Owner.parse(os.read(readable, 1000).decode()) == replace(this_process(), process_id=child, begun=ANY)
    os.close(readable)
    os.close(writable)


@pytest.mark.parametrize("buried", [True, False])
def test_process_that_was_killed_is_dead(buried: bool) -> None:
    process, owner = start()
    assert not owner.is_dead
    process.kill()
    if buried:
        process.wait()
    else:  # a zombie still has its id, and its entry in /proc
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_dead
    process.wait()


def test_another_process_of_the_same_id_is_not_the_owner() -> None:
    assert replace(this_process(), begun=this_process().begun - 1).is_dead


def test_processes_of_an_earlier_boot_are_dead() -> None:
    earlier = replace(this_process(), boot="0bad0bad-0000-4000-8000-000000000000")
    assert earlier.is_dead
    assert replace(earlier, namespace=1).is_dead


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"namespace": 1}])
def test_nobody_knows_what_lives_elsewhere(elsewhere: dict[str, str | int]) -> None:
    owner = replace(this_process(), process_id=2**22, begun=1, **elsewhere)  # type: ignore[arg-type]
    assert not owner.is_here
    assert not owner.is_dead


def test_process_in_another_namespace_counts_as_alive() -> None:
    """As one in a container that shares the engine and the machine's name with us."""
    text = in_namespaces("--pid", script="from runners.owner import this_process; print(this_process())")
    owner = Owner.parse(text)
    assert owner is not None
    assert owner.host == this_process().host
    assert not owner.is_here
    assert not owner.is_dead


HIDDEN = """
import os
from runners.owner import this_process
owner = this_process()
if os.fork() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    print(os.path.exists(f"/proc/{owner.process_id}"), owner.is_here, owner.is_dead, flush=True)
    os._exit(0)
os.wait()
"""


def test_process_that_is_hidden_from_us_counts_as_alive() -> None:
    seen = in_namespaces("--pid", "--mount", before="mount -t proc -o hidepid=2 proc /proc", script=HIDDEN)
    assert seen == "False True False"


def test_folder_tells_its_owner(tmp_path: Path) -> None:
    folder = make_temporary_folder(tmp_path / "new")
    assert owner_of_folder(folder) == this_process()
    assert folder.stat().st_mode & 0o777 == 0o700
    process, _ = start()
    process.kill()
    process.wait()
    name = folder.name.replace(f"-{os.getpid():x}-", f"-{process.pid:x}-")
    other = owner_of_folder(tmp_path / name)
    assert other is not None
    assert other.is_dead


@pytest.mark.parametrize("part", [0, 2])
def test_folder_of_another_machine_or_namespace_may_be_in_use(tmp_path: Path, part: int) -> None:
    """Machines of a cluster may share the folder for temporary files."""
    parts = make_temporary_folder(tmp_path).name.removeprefix("unbroken-").split("-")
    parts[part] = "0" * len(parts[part])
    owner = owner_of_folder(tmp_path / "-".join(["unbroken", *parts]))
    assert owner is not None
    assert not owner.is_here
    assert not owner.is_dead


@pytest.mark.parametrize("name", ["unbroken-45_k9tco", "unbroken-notes", "unbroken", "tmp.V7rWkU8Vbq"])
def test_folder_of_somebody_else_has_no_owner(tmp_path: Path, name: str) -> None:
    assert owner_of_folder(tmp_path / name) is None


def start() -> tuple["subprocess.Popen[str]", Owner]:
    process = subprocess.Popen([sys.executable, "-c", TELL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    owner = Owner.parse(process.stdout.readline().strip())
    assert owner is not None
    return process, owner


def in_namespaces(*which: str, script: str, before: str = "true") -> str:
    command = ["unshare", *which, "--fork", "sh", "-c", f'{before} && exec "$0" -c "$1"', sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no namespaces can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
