"""The whole output of a command in a file of its sandbox, written while it arrives, by somebody else's hands."""

import asyncio
from collections.abc import Awaitable, Callable

from tools.sandbox import KEPT_FROM, KEPT_LIMIT

Append = Callable[[str, bytes], Awaitable[None]]
"""Writes bytes at the end of the file at an absolute path in the sandbox, making it and its folders.

Raises OSError for what is wrong with the file or its disk, SandboxError for what is wrong with the sandbox.
"""

CHUNK = 1024 * 1024


class KeptOutput:
    """Takes an output piece by piece and has it appended to `path`, beside the reading.

    An output that stays below `KEPT_FROM` bytes makes no file; what comes after `KEPT_LIMIT` bytes is dropped. Holds
    at most two chunks: the one that is being written, and the one that fills. Where it cannot be written, it stops.
    """

    def __init__(self, path: str, append: Append) -> None:
        self._path = path
        self._append = append
        self._taken = 0
        self._pending = bytearray()
        self._writing: asyncio.Task[None] | None = None
        self.written = 0
        """Bytes that are in the file, from the beginning of the output."""
        self.failure = ""
        """Why nothing more is written."""

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        if not self.failure:
            taken = data[: KEPT_LIMIT - self._taken]
            self._taken += len(taken)
            self._pending += taken

    async def write_full(self) -> None:
        """Let a chunk that is full be written; waits only for the one before. Raises SandboxError."""
        if len(self._pending) >= CHUNK:
            await self._write()

    async def finish(self) -> None:
        """Wait until all of it is written. Raises SandboxError."""
        if self._taken >= KEPT_FROM:
            await self._write()
            await self._write()

    async def abandon(self) -> None:
        """Write nothing more. Safe to call at any time."""
        writing, self._writing = self._writing, None
        if writing:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)

    async def _write(self) -> None:
        writing, self._writing = self._writing, None
        if writing:
            await writing
        if self._pending and not self.failure:
            chunk, self._pending = bytes(self._pending), bytearray()
            self._writing = asyncio.create_task(self._append_chunk(chunk))

    async def _append_chunk(self, chunk: bytes) -> None:
        try:
            await self._append(self._path, chunk)
            self.written += len(chunk)
        except OSError as error:
            self.failure = error.strerror or str(error)
            self._pending.clear()
