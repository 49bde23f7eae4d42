"""An output that is kept in a file while it arrives: bounded, in order, and honest about a disk that is full."""

import asyncio
import errno
import os
from pathlib import Path

import pytest
from shell_desk import open_desk

from runners.kept_output import CHUNK, KeptOutput
from runners.shell import PersistentShell
from tools.sandbox import KEPT_FROM, KEPT_LIMIT, SandboxError


class Disk:
    """Takes so many bytes, and then none."""

    def __init__(self, room: int = 10 * KEPT_LIMIT, fails: Exception | None = None) -> None:
        self.chunks: list[bytes] = []
        self.room = room
        self.fails = fails or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.turns = asyncio.Semaphore(0)

    async def append(self, path: str, data: bytes) -> None:
        assert path == "/kept"
        await asyncio.sleep(0)
        if sum(map(len, self.chunks)) + len(data) > self.room:
            raise self.fails
        self.chunks.append(data)

    async def append_in_turn(self, path: str, data: bytes) -> None:
        await self.turns.acquire()
        await self.append(path, data)


async def keep(disk: Disk, *pieces: bytes) -> KeptOutput:
    kept = KeptOutput("/kept", disk.append)
    for piece in pieces:
        kept.add(piece)
        await kept.write_full()
    await kept.finish()
    return kept


async def test_chunks_make_up_the_output_in_order() -> None:
    disk = Disk()
    pieces = [bytes([number % 251]) * 70_000 for number in range(60)]
    kept = await keep(disk, *pieces)
    assert b"".join(disk.chunks) == b"".join(pieces)
    assert kept.written == 60 * 70_000
    assert all(CHUNK <= len(chunk) < CHUNK + 70_000 for chunk in disk.chunks[:-1])


@pytest.mark.parametrize(("size", "chunks"), [(0, []), (KEPT_FROM - 1, []), (KEPT_FROM, [KEPT_FROM])])
async def test_it_begins_at_a_size(size: int, chunks: list[int]) -> None:
    disk = Disk()
    kept = await keep(disk, b"x" * size)
    assert [len(chunk) for chunk in disk.chunks] == chunks
    assert kept.written == sum(chunks)


async def test_it_ends_at_a_limit() -> None:
    disk = Disk()
    kept = await keep(disk, *[b"x" * 5_000_000] * 15)
    assert kept.written == sum(map(len, disk.chunks)) == KEPT_LIMIT
    assert kept.failure == ""


async def test_a_full_disk_ends_it_and_says_so() -> None:
    disk = Disk(room=3 * CHUNK)
    kept = await keep(disk, *[b"x" * CHUNK] * 10)
    assert (kept.written, kept.failure) == (3 * CHUNK, "No space left on device")


async def test_a_sandbox_that_fails_is_not_a_full_disk() -> None:
    with pytest.raises(SandboxError):
        await keep(Disk(room=0, fails=SandboxError("gone")), b"x" * KEPT_FROM)


async def test_reading_goes_on_for_one_chunk_and_then_waits() -> None:
    disk = Disk()
    kept = KeptOutput("/kept", disk.append_in_turn)
    for _ in range(2):
        kept.add(b"x" * CHUNK)
    await kept.write_full()
    kept.add(b"x" * CHUNK)
    waits = asyncio.create_task(kept.write_full())
    await asyncio.sleep(0.01)
    assert not waits.done()
    disk.turns.release()
    await waits
    await kept.abandon()
    assert sum(map(len, disk.chunks)) == 2 * CHUNK


# -- in a shell


async def test_a_file_holds_what_was_printed(tmp_path: Path) -> None:
    async with open_desk() as (_, shell):
        result = await shell.run("seq 300000", 20, None, f"{tmp_path}/kept")
        assert result.kept == (tmp_path / "kept").stat().st_size
        assert (tmp_path / "kept").read_text() == "".join(f"{number}\n" for number in range(1, 300_001))


async def test_a_file_that_cannot_be_written_does_not_harm_the_command(tmp_path: Path) -> None:
    async with open_desk() as (_, shell):
        result = await shell.run("seq 300000; exit 3", 20, None, f"{tmp_path}/nowhere/kept")
        assert (result.exit_code, result.kept, result.not_kept) == (3, 0, "No such file or directory")
        assert result.output.endswith(b"\n300000\n")


async def test_a_sandbox_that_fails_meanwhile_ends_the_command(tmp_path: Path) -> None:
    async with open_desk() as (desk, _):

        async def fail(path: str, data: bytes) -> None:
            raise SandboxError("gone")

        shell = PersistentShell(desk.open_channel, desk.kill_command, fail)
        with pytest.raises(SandboxError, match="gone"):
            await shell.run("yes", 20, None, f"{tmp_path}/kept")
        await shell.close()


async def test_a_command_that_is_cancelled_leaves_nobody_writing(tmp_path: Path) -> None:
    async with open_desk() as (_, shell):
        running = asyncio.create_task(shell.run("yes", 20, None, f"{tmp_path}/kept"))
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        size = (tmp_path / "kept").stat().st_size
        await asyncio.sleep(0.2)
        assert (tmp_path / "kept").stat().st_size == size
        assert (await shell.run("echo well", 20)).output == b"well\n"
