"""Reading, writing and copying files of a sandbox on this machine.

Files are opened where the sandbox's commands run: within a confinement it is the system that refuses, whatever links
an agent makes at whatever moment; what comes out is a descriptor, which is the same everywhere.
"""

import asyncio
import errno
import os
import shutil
from pathlib import Path
from typing import Protocol

from runners import regular_files
from runners.supervisor import Supervisor

_PIECE = 1024 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Place(Protocol):
    """Where paths are looked up. Every method raises OSError."""

    async def open(self, path: str, flags: int) -> int:
        """Open a regular file, or a folder where `flags` ask for one; see `regular_files.open_file`."""
        ...

    async def make_folders(self, path: str) -> None:
        """Make a folder, and those above it."""
        ...

    async def link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of one that is there."""
        ...


class ThisMachine:
    """Paths as this process sees them."""

    async def open(self, path: str, flags: int) -> int:
        """Open a file."""
        return regular_files.open_file(path, flags)

    async def make_folders(self, path: str) -> None:
        """Make a folder."""
        regular_files.make_folders(path)

    async def link(self, path: str, target: str) -> None:
        """Make a link."""
        regular_files.make_link(path, target)


class Confined:
    """Paths as confined programs see them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def open(self, path: str, flags: int) -> int:
        """Open a file."""
        with _saying_what_is_writable(path):
            return await self._supervisor.open(path, flags)

    async def make_folders(self, path: str) -> None:
        """Make a folder."""
        with _saying_what_is_writable(path):
            await self._supervisor.make_folders(path)

    async def link(self, path: str, target: str) -> None:
        """Make a link."""
        with _saying_what_is_writable(path):
            await self._supervisor.link(path, target)


async def read(place: Place, path: str, limit: int | None) -> bytes:
    """The content of a file, or the first `limit` bytes of it."""
    pieces: list[bytes] = []
    left = limit
    descriptor = await place.open(_checked(path), os.O_RDONLY)
    try:
        # By what comes, not by the size: files of /proc have none.
        while left != 0 and (piece := os.read(descriptor, _PIECE if left is None else min(left, _PIECE))):
            pieces.append(piece)
            left = None if left is None else left - len(piece)
    finally:
        os.close(descriptor)
    return b"".join(pieces)


async def write(place: Place, path: str, data: bytes) -> None:
    """Write a file in place, which keeps its mode and its links. Without room, what it held stays."""
    descriptor = await _open_for_writing(place, path, os.O_WRONLY | os.O_CREAT)
    try:
        _take_room(descriptor, len(data))
        _write_all(descriptor, data)
        os.ftruncate(descriptor, len(data))
    finally:
        os.close(descriptor)


async def append(place: Place, path: str, data: bytes) -> None:
    """Add to the end of a file."""
    descriptor = await _open_for_writing(place, path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)


async def upload(place: Place, source: Path, target: str) -> None:
    """Copy a file or a folder to `target`: files, folders and links, with their modes; nothing else."""
    if not source.is_dir():
        await _upload_file(place, source, target)
        return
    await place.make_folders(_checked(target))
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        path = f"{target}/{entry.name}"
        if entry.is_symlink():
            await place.link(path, str(Path(entry.path).readlink()))
        elif entry.is_dir():
            await upload(place, Path(entry.path), path)
        elif entry.is_file():
            await _upload_file(place, Path(entry.path), path)
    await _copy_mode(place, source, target, os.O_RDONLY | os.O_DIRECTORY)


async def download(place: Place, source: str, target: Path) -> None:
    """Copy a file or a folder of the sandbox to `target`: files, folders and links, with their modes; nothing else."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = await place.open(_checked(source), os.O_RDONLY)
    except IsADirectoryError:
        await _download_folder(place, source, target)
        return
    with os.fdopen(descriptor, "rb") as file, target.open("wb") as copy:
        await asyncio.to_thread(shutil.copyfileobj, file, copy, _PIECE)
        _copy_attributes(os.fstat(descriptor), target)


async def _download_folder(place: Place, source: str, target: Path) -> None:
    descriptor = await place.open(source, os.O_RDONLY | os.O_DIRECTORY)
    try:
        await asyncio.to_thread(_copy_folder, descriptor, target)
    finally:
        os.close(descriptor)


def _copy_folder(descriptor: int, target: Path) -> None:
    """Copy what a folder holds, by its descriptor: its path may be another one for us."""
    target.mkdir(exist_ok=True)
    for name in os.listdir(descriptor):
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        copy = target / name
        if regular_files.is_link(status):
            regular_files.make_link(str(copy), os.readlink(name, dir_fd=descriptor))
        elif regular_files.is_content(status):
            opened = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
            try:
                if regular_files.is_folder(status):
                    _copy_folder(opened, copy)
                else:
                    with os.fdopen(opened, "rb", closefd=False) as file, copy.open("wb") as written:
                        shutil.copyfileobj(file, written, _PIECE)
            finally:
                os.close(opened)
            _copy_attributes(status, copy)


async def _upload_file(place: Place, source: Path, target: str) -> None:
    descriptor = await _open_for_writing(place, target, os.O_WRONLY | os.O_CREAT)
    with source.open("rb") as file, os.fdopen(descriptor, "wb") as copy:
        copy.truncate()
        await asyncio.to_thread(shutil.copyfileobj, file, copy, _PIECE)
        copy.flush()
        _copy_attributes(os.fstat(file.fileno()), descriptor)


async def _copy_mode(place: Place, source: Path, target: str, flags: int) -> None:
    descriptor = await place.open(target, flags)
    try:
        _copy_attributes(source.stat(), descriptor)
    finally:
        os.close(descriptor)


def _copy_attributes(status: os.stat_result, target: int | Path) -> None:
    os.chmod(target, status.st_mode & 0o7777)  # noqa: PTH101 - of a descriptor as well
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


async def _open_for_writing(place: Place, path: str, flags: int) -> int:
    try:
        return await place.open(_checked(path), flags)
    except FileNotFoundError:
        await place.make_folders(os.path.dirname(path))  # noqa: PTH120 - as it is spelled
        return await place.open(path, flags)


def _take_room(descriptor: int, length: int) -> None:
    """Have the system promise the room, before anything is overwritten. Raises OSError where there is none."""
    before = os.fstat(descriptor).st_size
    if length <= before or not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(descriptor, 0, length)
    except OSError as error:
        if error.errno in _NO_ROOM:
            os.ftruncate(descriptor, before)
            raise


def _write_all(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _checked(path: str) -> str:
    if "\0" in path:
        raise OSError(errno.EINVAL, "a path cannot hold a NUL byte", path)
    return path


class _saying_what_is_writable:  # noqa: N801
    """Turns the system's word for a confined write elsewhere into one that says what can be written."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if isinstance(error, OSError) and error.errno == errno.EROFS:
            text = "Permission denied: commands are confined, and can write in the repository and in /tmp alone"
            raise PermissionError(errno.EACCES, text, self._path) from error
        if isinstance(error, OSError):
            error.filename = self._path
