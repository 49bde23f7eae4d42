"""Commands on this machine that bubblewrap confines. Everything here runs in it; see `runners.confinement`."""

import asyncio
import os
import secrets
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from local_desk import ESCAPE, alive, assert_nothing_is_left_of_killed, begun
from sandbox_promises import SandboxPromises

from runners.confinement import Confinement, ConfinementError, check_confinement
from runners.local_sandbox import LocalSandbox
from tools.sandbox import SandboxError


def _why_not() -> str:
    try:
        check_confinement()
    except ConfinementError as error:
        return str(error)
    return ""


_REASON = _why_not()
needs_bubblewrap = pytest.mark.skipif(bool(_REASON), reason=f"{_REASON} (scripts/test_tools installs it)")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    return folder


@pytest.fixture
async def sandbox(directory: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(directory, Confinement((directory,)))
    yield opened
    await opened.close()


@pytest.fixture
def outside() -> Iterator[Path]:
    """A folder of the user's that is neither in the repository nor below /tmp."""
    with tempfile.TemporaryDirectory(prefix="unbroken-test-", dir=Path.home()) as folder:
        yield Path(folder)


async def printed(sandbox: LocalSandbox, command: str) -> str:
    return (await sandbox.shell(command, timeout=20)).output.decode()


@needs_bubblewrap
class TestConfinedSandbox(SandboxPromises):
    """Every promise of a sandbox, confined."""


# -- what can be written


@needs_bubblewrap
async def test_commands_write_to_the_repository_and_to_tmp_alone(sandbox: LocalSandbox, outside: Path):
    (outside / "mine").write_text("mine")
    places = [sandbox.working_directory, "/tmp", "/var/tmp", "/dev/shm", sandbox.scratch_directory]
    closed = [str(outside), "/etc", "/", str(Path.home()), "/sys/fs/cgroup", "/var"]
    script = "for d in {}; do : 2>/dev/null >$d/made && echo $d; done"
    assert (await printed(sandbox, script.format(" ".join([*places, *closed])))).split() == places
    answer = await printed(sandbox, f"cat {outside}/mine; echo x >{outside}/mine; rm -rf {outside}; cat {outside}/mine")
    assert answer.count("mine") >= 2
    assert (outside / "mine").read_text() == "mine"


@needs_bubblewrap
async def test_nothing_of_the_system_can_be_set(sandbox: LocalSandbox):
    """Root needs no capability for most of these; nothing is written here, only opened."""
    files = "/proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sysrq-trigger /sys/kernel/uevent_helper"
    assert await printed(sandbox, f"for f in {files}; do (: >>$f) 2>/dev/null && echo $f; done") == ""
    assert "CapEff:\t0000000000000000" in await printed(sandbox, "cat /proc/self/status")


@needs_bubblewrap
async def test_mounts_cannot_be_changed(sandbox: LocalSandbox, outside: Path):
    tries = "mount -o remount,rw / ; mount -o remount,rw,bind / ; umount /tmp"
    await printed(sandbox, f"({tries}) 2>&1; unshare -Urm sh -c '{tries}; touch {outside}/made' 2>&1")
    assert list(outside.iterdir()) == []


@needs_bubblewrap
async def test_files_that_tools_write_are_confined_as_well(sandbox: LocalSandbox, directory: Path, outside: Path):
    mine = outside / "mine"
    mine.write_text("mine")
    (directory / "file").symlink_to(mine)
    (directory / "folder").symlink_to(outside)
    for path in (mine, outside / "new", outside / "far/new", directory / "file", directory / "folder/new"):
        with pytest.raises(PermissionError, match="confined"):
            await sandbox.write_bytes(str(path), b"not mine")
    source = directory / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "new").write_text("not mine")
    with pytest.raises(PermissionError, match="confined"):
        await sandbox.upload(source, str(directory))
    assert [path.name for path in outside.iterdir()] == ["mine"]
    assert mine.read_text() == "mine"
    assert await sandbox.read_bytes(str(mine)) == b"mine"


@needs_bubblewrap
async def test_files_in_tmp_are_those_that_commands_see(sandbox: LocalSandbox):
    name = f"/tmp/{secrets.token_hex(8)}"
    await printed(sandbox, f"echo made >{name}")
    assert await sandbox.read_bytes(name) == b"made\n"
    await sandbox.write_bytes(name, b"changed")
    assert await printed(sandbox, f"cat {name}; echo $TMPDIR") == "changed/tmp\n"
    assert not Path(name).exists()


@needs_bubblewrap
async def test_only_the_folder_of_a_larger_repository_is_where_commands_start(directory: Path):
    (directory / "sub").mkdir()
    sandbox = LocalSandbox(directory / "sub", Confinement((directory,)))
    try:
        assert await printed(sandbox, "pwd; echo x >../made; echo $?") == f"{directory}/sub\n0\n"
    finally:
        await sandbox.close()


# -- ways out


@needs_bubblewrap
async def test_processes_outside_are_out_of_reach(sandbox: LocalSandbox):
    marker = f"9{secrets.randbelow(10**9):09}"
    with subprocess.Popen(["sleep", marker]) as other:  # noqa: ASYNC220
        assert marker not in await printed(sandbox, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        await printed(sandbox, "kill -9 -1; kill -9 1")
        assert other.poll() is None
        other.kill()


@needs_bubblewrap
async def test_supervisor_cannot_be_killed_from_inside(sandbox: LocalSandbox):
    assert await printed(sandbox, "kept=yes; kill -9 1; kill -STOP 1; echo $PPID") == "1\n"
    assert await printed(sandbox, "echo $kept") == "yes\n"


@needs_bubblewrap
async def test_sockets_in_run_and_tmp_are_hidden(sandbox: LocalSandbox):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/socket")
        assert Path(f"{folder}/socket").is_socket()
        script = f"ls {folder} 2>/dev/null; find /run /var/run/ /tmp -type s"
        assert await printed(sandbox, script) == ""


@needs_bubblewrap
async def test_environment_points_nowhere_outside(directory: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", "/tmp/agent")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    sandbox = LocalSandbox(directory, Confinement((directory,)))
    try:
        assert await printed(sandbox, 'echo "${SSH_AUTH_SOCK-none} $XDG_CACHE_HOME"') == "none /tmp/.cache\n"
    finally:
        await sandbox.close()


@needs_bubblewrap
@pytest.mark.parametrize("network", [True, False])
async def test_network_is_there_unless_it_is_taken_away(directory: Path, network: bool):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        sandbox = LocalSandbox(directory, Confinement((directory,), network=network))
        try:
            answer = await printed(sandbox, f"(: 2>/dev/null </dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo reached")
        finally:
            await sandbox.close()
    assert answer == ("reached\n" if network else "")


# -- the end


@needs_bubblewrap
async def test_nothing_is_left_after_a_deadline_and_after_close(sandbox: LocalSandbox):
    marker = f"9{secrets.randbelow(10**9):09}"
    assert (await sandbox.shell(f"{ESCAPE.format(marker)}; sleep {marker}", timeout=0.5)).timed_out
    assert not alive(marker)
    await printed(sandbox, f"{ESCAPE.format(marker)}; sleep {marker} &")
    terminal = await sandbox.open_terminal(f"tty; stty size; sleep {marker}", columns=90, rows=20)
    assert await terminal.read(timeout=10) in (b"/dev/pts/0\r\n", b"/dev/pts/0\r\n20 90\r\n")
    await begun(marker, 3)
    await sandbox.close()
    assert not alive(marker)
    assert not Path(sandbox.scratch_directory).exists()


@needs_bubblewrap
async def test_killed_confinement_is_replaced_and_the_shell_keeps_its_state(sandbox: LocalSandbox, directory: Path):
    await printed(sandbox, "kept=yes; echo x >/tmp/kept")
    inside = [process_id for process_id in alive(str(directory)) if _name(process_id) == "bwrap"]
    assert inside
    for process_id in inside:
        os.kill(process_id, 9)
    await asyncio.sleep(0.2)
    assert await printed(sandbox, "echo $kept; cat /tmp/kept") == "yes\nx\n"


@needs_bubblewrap
@pytest.mark.parametrize("moment", ["confined beginning", "confined command"])
async def test_nothing_is_left_of_a_harness_that_was_killed(tmp_path: Path, moment: str):
    assert_nothing_is_left_of_killed(tmp_path, f"9{secrets.randbelow(10**9):09}", moment)


# -- where it cannot be had


def test_missing_bubblewrap_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfinementError, match="apt-get install bubblewrap"):
        check_confinement()


def test_refused_bubblewrap_is_said_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ConfinementError, match="No permissions to create new namespace"):
        check_confinement()


async def test_sandbox_that_cannot_be_confined_runs_nothing(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: not today' >&2; exit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    sandbox = LocalSandbox(directory, Confinement((directory,)))
    try:
        with pytest.raises(SandboxError, match="not today"):
            await sandbox.exec("touch made", timeout=20)
        with pytest.raises(SandboxError, match="not today"):
            await sandbox.write_bytes(f"{directory}/made", b"")
    finally:
        await sandbox.close()
    assert list(directory.iterdir()) == []


async def test_whole_file_system_is_no_confinement(tmp_path: Path):
    with pytest.raises(ConfinementError, match="whole file system"):
        Confinement((Path("/"),)).command(["true"], tmp_path, [])


def _name(process_id: int) -> str:
    return Path(f"/proc/{process_id}/comm").read_text("ascii").strip()
