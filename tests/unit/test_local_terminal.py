"""Programs on a pseudo-terminal of this machine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runners import local_terminal
from runners.local_sandbox import LocalSandbox
from runners.local_terminal import LocalTerminal


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


async def until(terminal: LocalTerminal, wanted: bytes) -> bytes:
    """What is written until `wanted` has come."""
    seen = b""
    async with asyncio.timeout(20):
        while wanted not in seen:
            seen += await terminal.read(timeout=1)
    return seen


async def ended(terminal: LocalTerminal) -> int:
    async with asyncio.timeout(20):
        while terminal.exit_code is None:
            await terminal.read(timeout=0.05)
    return terminal.exit_code


async def test_program_has_a_screen_of_the_size_that_was_asked_for(sandbox: LocalSandbox):
    terminal = await sandbox.open_terminal("tty; stty size; echo $TERM; pwd; exit 3", columns=97, rows=31)
    lines = (await until(terminal, sandbox.working_directory.encode())).decode().splitlines()
    assert lines[0].startswith("/dev/")
    assert lines[1:4] == ["31 97", "xterm", sandbox.working_directory]
    assert await ended(terminal) == 3


async def test_keys_reach_the_program_and_a_signal_comes_of_them(sandbox: LocalSandbox, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    directory = str(tmp_path / "sub")
    terminal = await sandbox.open_terminal(
        "read -p 'name? ' n; echo \"hi $n\"; cat", columns=80, rows=24, directory=directory
    )
    await until(terminal, b"name? ")
    await terminal.write(b"you\r")
    await until(terminal, b"hi you")
    await terminal.write(b"\x03")
    assert await ended(terminal) == 130
    await terminal.write(b"nobody reads this")
    assert await terminal.read(timeout=0.1) in (b"", b"^C")


async def test_reading_waits_no_longer_than_it_should(sandbox: LocalSandbox):
    terminal = await sandbox.open_terminal("sleep 60", columns=80, rows=24)
    assert await terminal.read(timeout=0.05) == b""
    assert terminal.exit_code is None


async def test_newest_output_is_kept_in_bounded_memory(sandbox: LocalSandbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(local_terminal, "KEPT", 10_000)
    terminal = await sandbox.open_terminal("seq 1 20000; echo the end; sleep 60", columns=80, rows=24)
    seen = b""
    async with asyncio.timeout(30):
        while b"the end" not in seen:
            await asyncio.sleep(0.2)
            seen = await terminal.read(timeout=1)
            assert len(seen) <= 10_000


async def test_keys_that_nobody_reads_are_refused_at_last(sandbox: LocalSandbox):
    terminal = await sandbox.open_terminal("stty raw -echo; echo ready; sleep 60", columns=80, rows=24)
    await until(terminal, b"ready")
    await terminal.write(b"x" * (local_terminal.UNSENT - 65536))
    await terminal.write(b"x" * 65536)
    with pytest.raises(BlockingIOError, match="does not read"):
        await terminal.write(b"x" * 65536)


async def test_folder_that_is_missing_is_an_answer(sandbox: LocalSandbox):
    with pytest.raises(FileNotFoundError):
        await sandbox.open_terminal("true", columns=80, rows=24, directory="/nonexistent")
    assert (await sandbox.exec("echo well", timeout=20)).output == b"well\n"


async def test_closing_twice_is_fine(sandbox: LocalSandbox):
    terminal = await sandbox.open_terminal("sleep 60", columns=80, rows=24)
    await terminal.close()
    await terminal.close()
    assert terminal.exit_code == 137
