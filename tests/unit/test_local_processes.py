"""What becomes of the processes that a sandbox on this machine starts: at a deadline, at its end, and at ours."""

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from local_desk import ESCAPE, alive, assert_nothing_is_left_of_killed, begun

from runners.local_channel import LocalChannel
from runners.local_sandbox import LocalSandbox
from runners.supervisor import Supervisor
from tools.sandbox import SandboxError

TICK = 0.05
"""Seconds, more than the hundredth that the system rounds the beginning of a process to."""


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def marker() -> str:
    """A duration that no other process sleeps for."""
    return f"9{secrets.randbelow(10**9):09}"


async def shell(sandbox: LocalSandbox, command: str, timeout: float = 20.0) -> str:
    return (await sandbox.shell(command, timeout=timeout)).output.decode()


async def test_a_stream_that_is_given_back_right_after_its_end_breaks_nothing(tmp_path: Path):
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    supervisor = Supervisor.start(os.environ, [])
    try:
        for sent in (b"", b"x" * 1_000_000):
            channel = await LocalChannel.start(
                supervisor, ["sleep", "60"], os.environ, str(tmp_path), "", one_output=True
            )
            sending = asyncio.create_task(channel.send(sent))
            await asyncio.sleep(0)
            channel.end_of_input()
            channel.release()
            await asyncio.sleep(0.1)
            await asyncio.wait_for(sending, 20)
    finally:
        await supervisor.close()
    assert errors == []


# -- deadlines


async def test_nothing_escapes_a_deadline(sandbox: LocalSandbox, marker: str):
    result = await sandbox.shell(f"{ESCAPE.format(marker)}; sleep {marker} & sleep {marker}", timeout=0.5)
    assert result.timed_out
    assert not alive(marker)


async def test_what_earlier_commands_left_lives_on_at_a_deadline(sandbox: LocalSandbox, marker: str):
    await shell(sandbox, f"{ESCAPE.format(marker)}; (setsid sleep {marker} &); sleep {marker} &")
    before = await begun(marker, 3)
    await asyncio.sleep(TICK)
    assert (await sandbox.shell("sleep 60", timeout=0.3)).timed_out
    assert alive(marker) == before


async def test_deadline_of_an_exec_ends_its_own_processes_alone(sandbox: LocalSandbox, marker: str):
    other = f"{marker}.5"
    running = asyncio.create_task(shell(sandbox, f"(setsid sleep {other} &); sleep {other}", timeout=30))
    terminal = await sandbox.open_terminal(f"(setsid sleep {other} &); sleep {other}", columns=80, rows=24)
    await begun(other, 4)
    result = await sandbox.exec(f"(setsid sleep {marker} &); sleep {marker}", timeout=0.3)
    assert result.timed_out
    assert not alive(marker)
    assert len(alive(other)) == 4
    await terminal.close()
    assert len(alive(other)) == 2
    running.cancel()


async def test_exec_that_ends_leaves_nothing(sandbox: LocalSandbox, marker: str):
    command = f"sleep {marker} & (setsid sleep {marker} </dev/null >/dev/null 2>&1 &); echo done"
    result = await sandbox.exec(command, timeout=20)
    assert (result.output, result.exit_code) == (b"done\n", 0)
    assert not alive(marker)


async def test_bomb_of_forks_is_gone_after_its_deadline(sandbox: LocalSandbox, marker: str):
    bomb = (
        f"bomb() {{ [ $1 -gt 0 ] && {{ bomb $(($1 - 1)) & bomb $(($1 - 1)) & }}; exec sleep {marker}; }}; bomb 8; wait"
    )
    assert (await sandbox.shell(bomb, timeout=1.0)).timed_out
    assert not alive(marker)
    assert await shell(sandbox, "echo well") == "well\n"


# -- the end


async def test_nothing_is_left_after_close(sandbox: LocalSandbox, marker: str):
    await shell(sandbox, f"{ESCAPE.format(marker)}; sleep {marker} &")
    await sandbox.open_terminal(f"{ESCAPE.format(marker)}; sleep {marker}", columns=80, rows=24)
    await begun(marker, 4)
    await sandbox.close()
    assert not alive(marker)


async def test_folders_go_whatever_is_in_them(sandbox: LocalSandbox):
    deep = "import os\nfor _ in range(1500): os.mkdir('a'); os.chdir('a')"
    output = await shell(
        sandbox,
        f"cd {sandbox.scratch_directory} && mkdir closed && touch closed/file && chmod 0 closed && ln -s / out"
        f' && mkfifo pipe && {sys.executable} -c "{deep}" && echo made',
    )
    assert output == "made\n"
    await sandbox.close()
    assert not Path(sandbox.scratch_directory).exists()
    assert Path("/usr").is_dir()


async def test_closed_sandbox_starts_nothing(sandbox: LocalSandbox):
    await sandbox.close()
    with pytest.raises(SandboxError, match="closed"):
        await shell(sandbox, "true")


async def test_a_link_in_the_place_of_the_scratch_folder_is_all_that_goes(
    sandbox: LocalSandbox, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    (mine / "folder").mkdir(parents=True)
    (mine / "folder" / "file").write_text("kept")
    scratch = sandbox.scratch_directory
    done = await sandbox.shell(f"mv {scratch} {tmp_path}/moved && ln -s {mine} {scratch}", timeout=20)
    assert done.exit_code == 0
    await sandbox.close()
    assert not Path(scratch).is_symlink()
    assert (mine / "folder" / "file").read_text() == "kept"


async def test_a_command_with_a_nul_is_refused_whole(sandbox: LocalSandbox) -> None:
    with pytest.raises(ValueError, match="NUL"):
        await sandbox.exec("echo a\0PATH=/elsewhere", timeout=20)
    assert (await sandbox.exec("echo well", timeout=20)).output == b"well\n"


@pytest.mark.parametrize("stream", [3, 5])
async def test_nobody_can_take_a_request_from_the_worker_or_speak_for_it(sandbox: LocalSandbox, stream: int) -> None:
    seen = await sandbox.shell(f"cat </proc/$$/fd/{stream}; : >/proc/$$/fd/{stream}", timeout=20)
    assert seen.output.count(b"No such device or address") == 2


# -- kill_tree


async def test_tree_is_killed_by_its_id(sandbox: LocalSandbox, marker: str):
    output = await shell(sandbox, f"bash -c 'sleep {marker} & sleep {marker}; true' >/dev/null & echo $!")
    await begun(marker, 2)
    await sandbox.kill_tree(int(output))
    assert not alive(marker)
    await sandbox.kill_tree(int(output))


async def test_process_that_does_not_run_in_the_sandbox_is_not_killed(sandbox: LocalSandbox, marker: str):
    await shell(sandbox, "true")
    with subprocess.Popen(["sleep", marker]) as other:  # noqa: ASYNC220
        for process_id in (other.pid, os.getpid(), 1):
            with pytest.raises(PermissionError):
                await sandbox.kill_tree(process_id)
        assert other.poll() is None
        other.kill()


# -- an agent against the supervisor


async def test_signals_do_not_end_the_supervisor(sandbox: LocalSandbox):
    await shell(sandbox, "kept=yes")
    assert await shell(sandbox, "kill $PPID; kill -HUP $PPID; kill -INT $PPID; echo $kept") == "yes\n"


async def test_killed_supervisor_is_replaced_and_what_it_ran_is_gone(sandbox: LocalSandbox, marker: str):
    await shell(sandbox, f"kept=yes; sleep {marker} &")
    result = await sandbox.shell(f"kill -9 $PPID; sleep {marker}", timeout=20)
    assert result.exit_code == 137
    assert await shell(sandbox, "echo $kept") == "yes\n"
    assert not alive(marker)


async def test_stopped_supervisor_is_given_up(sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch, marker: str):
    monkeypatch.setattr("runners.supervisor.ANSWER_DEADLINE", 0.5)
    await shell(sandbox, f"kept=yes; sleep {marker} &")
    await shell(sandbox, "kill -STOP $PPID")
    with pytest.raises(SandboxError, match="watches over"):
        await sandbox.exec("true", timeout=20)
    assert await shell(sandbox, "echo $kept") == "yes\n"
    assert not alive(marker)


async def test_supervisor_holds_no_secret_and_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOUSE_API_KEY", "k3y-of-the-house")
    sandbox = LocalSandbox(tmp_path)
    try:
        assert "k3y-of-the-house" not in await shell(sandbox, "env; cat /proc/$PPID/environ /proc/$PPID/cmdline")
    finally:
        await sandbox.close()


# -- our own death


@pytest.mark.parametrize("moment", ["beginning", "command", "end"])
async def test_nothing_is_left_of_a_harness_that_was_killed(tmp_path: Path, marker: str, moment: str):
    assert_nothing_is_left_of_killed(tmp_path, marker, moment)
