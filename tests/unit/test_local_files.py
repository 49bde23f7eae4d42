"""Files of a sandbox on this machine, where a path is not what it should be."""

import os
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from runners.local_sandbox import LocalSandbox


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[LocalSandbox]:
    opened = LocalSandbox(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def special(tmp_path: Path) -> list[Path]:
    """A named pipe, a link to it, a socket, and a device."""
    pipe, link, place = tmp_path / "pipe", tmp_path / "link", tmp_path / "socket"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(tmp_path)  # the path of a socket is short
        listener.bind("socket")
    return [pipe, link, place, Path("/dev/zero")]


async def test_what_is_no_file_is_neither_read_nor_written(sandbox: LocalSandbox, special: list[Path]):
    for path in special:
        with pytest.raises(OSError, match="not a file with content"):
            await sandbox.read_bytes(str(path))
        with pytest.raises(OSError, match="not a file with content"):
            await sandbox.write_bytes(str(path), b"data")


async def test_file_of_the_system_without_a_size_is_read(sandbox: LocalSandbox):
    assert Path("/proc/self/status").stat().st_size == 0
    assert b"\nState:" in await sandbox.read_bytes("/proc/self/status")
    assert len(await sandbox.read_bytes("/proc/self/status", limit=5)) == 5


async def test_path_with_a_nul_byte_is_refused(sandbox: LocalSandbox):
    with pytest.raises(OSError, match="NUL"):
        await sandbox.read_bytes("/a\0b")


async def test_file_below_a_file_cannot_be_written(sandbox: LocalSandbox, tmp_path: Path):
    (tmp_path / "file").write_text("data")
    for path in ("file/below", "file/far/below"):
        with pytest.raises(NotADirectoryError):
            await sandbox.write_bytes(f"{tmp_path}/{path}", b"")


async def test_file_stays_as_it_was_where_there_is_no_room(sandbox: LocalSandbox, tmp_path: Path):
    file = tmp_path / "file"
    file.write_bytes(b"as it was")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            await sandbox.write_bytes(str(file), b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_bytes() == b"as it was"


async def test_links_hard_and_symbolic_stay_when_a_file_is_written(sandbox: LocalSandbox, tmp_path: Path):
    file, hard, link = tmp_path / "file", tmp_path / "hard", tmp_path / "link"
    file.write_bytes(b"long before")
    hard.hardlink_to(file)
    link.symlink_to("file")
    await sandbox.write_bytes(str(link), b"after")
    assert (file.read_bytes(), hard.read_bytes(), link.is_symlink()) == (b"after", b"after", True)


async def test_copies_leave_out_what_is_no_file(sandbox: LocalSandbox, tmp_path: Path):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "file").write_bytes(b"data")
    (source / "sub").chmod(0o750)
    os.mkfifo(source / "sub" / "pipe")
    await sandbox.upload(source, f"{tmp_path}/there")
    await sandbox.download(f"{tmp_path}/there", tmp_path / "back")
    for copy in (tmp_path / "there", tmp_path / "back"):
        assert sorted(path.name for path in copy.rglob("*")) == ["file", "sub"]
        assert (copy / "sub").stat().st_mode & 0o777 == 0o750


async def test_download_of_what_is_missing_makes_nothing(sandbox: LocalSandbox, tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        await sandbox.download("/nonexistent", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
