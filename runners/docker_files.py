"""Files of a container: single ones through the service shell, trees as archives through the engine."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from runners.archives import BrokenArchiveError, Owner, pack, unpack
from runners.docker_engine import in_thread
from runners.service_shell import SHORT_ANSWER, ServiceShell
from tools.sandbox import SandboxError

if TYPE_CHECKING:
    from docker import APIClient


class ContainerFiles:
    """What `tools.sandbox.Sandbox` says of files."""

    def __init__(self, api: "APIClient", container: str, service: ServiceShell) -> None:
        self._api = api
        self._container = container
        self._service = service

    async def read(self, path: str, limit: int | None) -> bytes:
        """The content of a file, or its first `limit` bytes."""
        most = None if limit is None else limit + SHORT_ANSWER
        answer = await self._service.ask("read_file", _checked(path), -1 if limit is None else limit, most=most)
        _raise_for(answer.word, path)
        return answer.data

    async def write(self, path: str, data: bytes) -> None:
        """Write a file in place, which keeps its mode and its links."""
        answer = await self._service.ask("write_file", _checked(path), len(data), data=data)
        _raise_for(answer.word, path)

    async def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        answer = await self._service.ask("append_file", _checked(path), len(data), data=data, repeatable=False)
        _raise_for(answer.word, path)

    async def upload(self, source: Path, target: str) -> None:
        """Copy a file or a folder of this machine to `target`, as the user that runs commands.

        Raises OSError for what is wrong on this machine.
        """
        path = PurePosixPath(target)
        user, group = await self._service.owner()
        answer = await self._service.ask("existing", _checked(str(path.parent)))
        _raise_for(answer.word, target)
        there = answer.data.decode("utf-8", "surrogateescape").removesuffix("\n")
        missing = path.parent.relative_to(there).parts
        members = pack(source, (*missing, path.name), Owner(user, group))
        await self._in_thread(lambda stopped: self._put(there, _Guarded(members, stopped)))

    async def download(self, source: str, target: Path, limit: int | None = None) -> None:
        """Copy a file or a folder to `target` on this machine; nothing is ever written outside of that.

        Links that lead out of the copy, and what is neither file, folder nor link, are left out. More than `limit`
        bytes (see `runners.archives.unpack`) raise OSError; what was copied until then stays.
        """
        answer = await self._service.ask("kind", _checked(source))
        if answer.word != "directory":
            _raise_for("ok" if answer.word == "file" else answer.word, source)
        path = answer.data.decode("utf-8", "surrogateescape").removesuffix("\n")
        await self._in_thread(lambda stopped: self._get(path, target, limit, stopped))

    async def _in_thread(self, work: Callable[[threading.Event], None]) -> None:
        """Work in a thread that is told when nobody waits any more."""
        stopped = threading.Event()
        try:
            await in_thread(work, stopped)
        except _OwnError as error:
            raise error.reason from None
        finally:
            stopped.set()

    def _put(self, folder: str, pieces: "_Guarded") -> None:
        api: Any = self._api
        try:
            api.put_archive(self._container, folder, iter(pieces))
        except Exception:
            # What went wrong on this machine is why the engine did not get the rest.
            if isinstance(pieces.failure, OSError):
                raise _OwnError(pieces.failure) from None
            raise

    def _get(self, path: str, target: Path, limit: int | None, stopped: threading.Event) -> None:
        api: Any = self._api
        pieces, _ = api.get_archive(self._container, path)
        received = _Guarded(pieces, stopped)
        try:
            unpack(iter(received), target, limit=limit)
        except BrokenArchiveError as error:
            message = f"the copy of {path} broke off: {error}"
            raise SandboxError(message) from error
        except OSError as error:
            if received.failure is None:
                raise _OwnError(error) from error
            raise
        finally:
            pieces.close()


class _OwnError(Exception):
    """Something that went wrong on this machine, not in the engine."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class _StoppedError(Exception):
    """Nobody waits for the copy any more."""


class _Guarded:
    """Pieces of an archive, until nobody waits for them any more; `failure` is what went wrong at their source."""

    def __init__(self, pieces: Iterator[bytes], stopped: threading.Event) -> None:
        self._pieces = pieces
        self._stopped = stopped
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            for piece in self._pieces:
                yield piece
                if self._stopped.is_set():
                    raise _StoppedError
        except Exception as error:  # whatever it is, it goes on from here
            self.failure = error
            raise


_ERROR_NUMBERS = {
    "missing": errno.ENOENT,
    "directory": errno.EISDIR,
    "not a directory": errno.ENOTDIR,
    "denied": errno.EACCES,
    "full": errno.ENOSPC,
}


def _raise_for(word: str, path: str) -> None:
    if word == "special":
        raise OSError(errno.EINVAL, "a named pipe, a socket or a device, not a file with content", path)
    if word != "ok":
        number = _ERROR_NUMBERS.get(word, errno.EIO)
        raise OSError(number, os.strerror(number), path)


def _checked(path: str) -> str:
    if "\0" in path:
        raise OSError(errno.EINVAL, "a path cannot hold a NUL byte", path)
    return path
